# Trilock 三闸. `make help` lists what can be done here.
#
# One target folder and the dev profile serve demo and test, so that the second costs no second build.

CARGO ?= cargo
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PROGRAMS := internet-node extranet-node intranet-node ferry
ZONES := internet extranet intranet
DESTDIR ?=
PREFIX ?= /usr

# Passed on to the demo where set, on the command line or in the environment (never exported here: an unset variable
# would arrive as an empty one):  SUITE=std|gm   CARRIER=diode|folder   INPUT=DIR   KEEP=1

.PHONY: help demo test bench soak fuzz spike disguise fmt lint doc units deny prerequisites packages python install man

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## Three nodes on loopback, a parcel all the way in and its answer all the way out (SUITE, CARRIER, INPUT, KEEP)
	$(CARGO) build -q $(addprefix -p ,$(PROGRAMS))
	$(CARGO) run -q -p tests --bin demo

test: prerequisites ## Form, lints, docs, every test, the units, the dependencies
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory doc
	$(CARGO) build -q $(addprefix -p ,$(PROGRAMS))
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "== tests (nextest)"; $(CARGO) nextest run --workspace; \
		echo "== tests in docs"; $(CARGO) test -q --workspace --doc; \
	else \
		echo "== tests (cargo test; cargo-nextest is not installed)"; $(CARGO) test --workspace; \
	fi
	$(MAKE) --no-print-directory units
	$(MAKE) --no-print-directory deny

lint:
	@echo "== form"; $(CARGO) fmt --all --check
	@echo "== lints"; $(CARGO) clippy -q --workspace --all-targets -- -D warnings

doc:
	@echo "== docs"; RUSTDOCFLAGS="-D warnings" $(CARGO) doc -q --workspace --no-deps

fmt: ## Formats every crate
	$(CARGO) fmt --all

bench: ## Figures beside their baselines, in one run; they go into docs/measurements.md
	$(CARGO) build --release -q $(addprefix -p ,$(PROGRAMS))
	$(CARGO) build --release -q -p tests --bin link-end
	$(CARGO) run --release -q -p tests --bin bench

soak: prerequisites ## The long variants of the tests: thousands of kills, power cuts, lossy wires, hours of mutants
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		TRILOCK_SOAK=1 $(CARGO) nextest run --profile soak --release --workspace --no-fail-fast; \
	else \
		TRILOCK_SOAK=1 $(CARGO) test --release --workspace --no-fail-fast; \
	fi
	$(MAKE) --no-print-directory fuzz

fuzz: ## Every decoder and parser under libFuzzer, led by coverage: TRILOCK_FUZZ_SECONDS each (15)
	$(CARGO) run -q -p tests --bin fuzz

spike: ## One boundary point into each document of the sample office: all must be stopped
	$(CARGO) run -q -p tests --bin spike

disguise: ## The files of FOLDER that carry coordinates, in every disguise (without FOLDER: the project's own set)
	$(CARGO) run --release -q -p tests --bin disguise -- $(FOLDER)

# systemd-analyze knows no binaries that are not installed; that one line is expected on a build machine.
units: ## The systemd units: well formed, and at most 2.0 on systemd's own scale of exposure
	@if ! command -v systemd-analyze >/dev/null; then echo "== units: SKIPPED, systemd-analyze is not installed"; exit 0; fi; \
	echo "== units"; \
	for zone in $(ZONES); do \
		unit=systemd/trilock-$$zone.service; \
		words=$$(systemd-analyze verify "$$PWD/$$unit" 2>&1 | grep -v 'is not executable: No such file' || true); \
		if [ -n "$$words" ]; then echo "$$words"; exit 1; fi; \
		systemd-analyze security --offline=yes --threshold=20 "$$PWD/$$unit" | tail -1 | LC_ALL=C sed 's/[^ -~]*$$//; s/^[^ -~]* *//'; \
	done

# The first `make deny` on a machine compiles cargo-deny, which takes some minutes.
deny: ## Licences, bans and sources of the dependencies; advisories where their database can be reached
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
		echo "== cargo-deny is not installed; compiling it once (cargo install cargo-deny --locked)"; \
		if ! $(CARGO) install cargo-deny --locked; then \
			echo "== dependencies: SKIPPED, cargo-deny could not be installed"; exit 0; \
		fi; \
	fi; \
	echo "== dependencies: bans, licences, sources"; \
	$(CARGO) deny --log-level error check bans licenses sources; \
	echo "== dependencies: advisories"; \
	if $(CARGO) deny --log-level error fetch db >/dev/null 2>&1; then \
		$(CARGO) deny --log-level error check advisories; \
	else \
		echo "SKIPPED: the advisory database cannot be reached from here. Run \`make deny\` on a machine that can before a release."; \
	fi

# What tests use beyond Rust: openssl (second opinion on signatures), ip and nft (lossy wires in network namespaces),
# mkfs.ext4 and mount (disks that fail and lose power), mkfs.vfat, mkfs.exfat, mkfs.udf and xorriso (media),
# fusefat, exfat-fuse, fuseiso and mtools (media where the kernel has no driver), smbd, smbclient and bindfs (shares),
# setpriv (accounts of apps),
# systemd-analyze (units), python3 (the example of docs/upstream-apps.md).
# Installed by itself where this is Debian-like and root, one by one where one of them is not to be had; what is absent
# is named, and the tests that need it say that they were skipped.
prerequisites: packages python

packages:
	@absent=""; \
	for pair in openssl:openssl ip:iproute2 nft:nftables mkfs.ext4:e2fsprogs mount:mount mkfs.vfat:dosfstools mkfs.exfat:exfatprogs mkfs.udf:udftools xorriso:xorriso \
		fusefat:fusefat mount.exfat-fuse:exfat-fuse fuseiso:fuseiso mcopy:mtools \
		smbd:samba smbclient:smbclient bindfs:bindfs \
		setpriv:util-linux systemd-analyze:systemd cc:gcc python3:python3; do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v "$${pair%%:*}" >/dev/null || absent="$$absent $${pair##*:}"; \
	done; \
	if [ -z "$$absent" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "== installing$$absent"; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq || true; \
		if apt-get install -y -qq --no-install-recommends $$absent >/dev/null; then exit 0; fi; \
		wanted="$$absent"; absent=""; \
		for package in $$wanted; do \
			apt-get install -y -qq --no-install-recommends "$$package" >/dev/null || absent="$$absent $$package"; \
		done; \
		if [ -z "$$absent" ]; then exit 0; fi; \
	fi; \
	echo "== not installed:$$absent. Tests that need them are skipped and say so."

# A Python that knows SM4-GCM, in the target folder, where the machine's own does not and the registry answers at once.
PYTHON_FOLDER := $(or $(CARGO_TARGET_DIR),target)/python
KNOWS_SM4_GCM := from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes; \
	Cipher(algorithms.SM4(bytes(16)), modes.GCM(bytes(12))).encryptor()
python: packages
	@for python in $(PYTHON_FOLDER)/bin/python3 python3; do \
		if "$$python" -c "$(KNOWS_SM4_GCM)" >/dev/null 2>&1; then exit 0; fi; \
	done; \
	if python3 -m venv $(PYTHON_FOLDER) >/dev/null 2>&1 && \
		$(PYTHON_FOLDER)/bin/python3 -m pip install -q --retries 0 --timeout 5 'cryptography>=50' >/dev/null 2>&1; then exit 0; fi; \
	echo "== no python3 with cryptography 50 here, and none could be installed. The test that needs it is skipped and says so."

man: ## Man pages of ferry into MAN (target/man)
	$(CARGO) run -q -p ferry -- man $(or $(MAN),target/man)

install: ## Programs, units, rules and manual into DESTDIR (as root for /); touches no config that is there
	$(CARGO) build --release $(addprefix -p ,$(filter-out ferry,$(PROGRAMS)))
	@# By itself: in one call with the nodes it would be compiled with their features, keys that open bundles among them.
	$(CARGO) build --release -p ferry
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d \
		$(DESTDIR)$(PREFIX)/lib/tmpfiles.d $(DESTDIR)$(PREFIX)/share/doc/trilock $(DESTDIR)$(PREFIX)/share/trilock/rules
	install -m 0755 $(addprefix target/release/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin/
	target/release/ferry man $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 systemd/trilock-*.service $(DESTDIR)$(PREFIX)/lib/systemd/system/
	install -m 0644 systemd/trilock.sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/trilock.conf
	install -m 0644 systemd/trilock.tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/trilock.conf
	install -m 0644 config/*.toml $(DESTDIR)$(PREFIX)/share/trilock/
	install -m 0644 config/rules/*.toml $(DESTDIR)$(PREFIX)/share/trilock/rules/
	install -d $(DESTDIR)$(PREFIX)/share/doc/trilock/samples
	install -m 0644 docs/samples/* $(DESTDIR)$(PREFIX)/share/doc/trilock/samples/
	install -m 0644 README.md README.zh-CN.md CHANGELOG.md LICENSE docs/*.md docs/*.json protocol/FORMAT.md $(DESTDIR)$(PREFIX)/share/doc/trilock/
