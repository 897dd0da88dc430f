#!/usr/bin/env python3
"""Verifies what Trilock signs, from protocol/FORMAT.md alone: shares no code with the crates and asks nobody.

    verify.py --trust DIR PATH...            files, folders, media: a JSON line each, and a summary
    verify.py --trust DIR --delivered PATH   the same, and what is missing of each delivery is named
    verify.py --trust DIR --ledger DIR       a node's ledger, held against every head found under PATH...
    verify.py --vectors DIR                  every frozen vector ends as it says
    verify.py --module FORMAT.md             the layouts read here are the ASN.1 of the page
    verify.py --dump DIR --trust DIR PATH    what OpenSSL needs to check every signature that stands in the file

Exit codes: 0 everything holds, 1 something does not, 2 wrong usage. Python 3.8 or later, the standard library only.
"""

import argparse
import base64
import json
import os
import sys

import asof
import der
import files
import heads
import ledger
import links
import module
from digests import Tree, h
from papers import OBJECTS, RECORD, SIGNED, Refused, Signed, Trust, parse

# A paper is read as a whole: evidence has at most 66 objects. Bundles and backups are read piece by piece, of any size.
PAPER_MAX = 67 << 20
# 50,000 lines of a digest, two spaces, a path of 512 bytes and a line's end.
LISTING_MAX = 50_000 * (64 + 2 + 512 + 1)
STREAMED = ("bundle", "backup")


def trust_of(folder):
    """Section 3: every `*.pem` in the folder that does not begin with a dot; a card that is none is an error."""
    trust = Trust()
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if entry.endswith(".pem") and not entry.startswith(".") and not (os.path.isdir(path) and not os.path.islink(path)):
            if os.path.islink(path) or not os.path.isfile(path):
                raise ValueError(f"{entry} is no plain file")
            with open(path, "rb") as file:
                trust.add(file.read())
    return trust


def signed_kind(data):
    """Which signed object a file is: its form tells."""
    try:
        body = der.whole(data, SIGNED)["body"]
    except der.Malformed:
        return None
    for what in ("waybill", "receipt batch", "receipt", "approval", "gap report", "ledger head", *OBJECTS):
        try:
            der.whole(body, OBJECTS[what][2])
            return what
        except der.Malformed:
            continue
    return None


SINGLE = {
    "waybill": lambda trust, data: files.waybill(trust, data)[0],
    "receipt batch": files.batch,
    "receipt": files.one_receipt,
    "approval": files.approval,
    "volume": files.volume,
    "gap report": files.gap_report,
    "ledger head": heads.statement,
    "request": files.request,
    "rollover": files.rollover,
    "trust list": lambda trust, data: trust.verify(Signed("trust list", data), "person", role="key-admin")[0],
    "link key": files.introduction,
    "folder beacon": files.folder_beacon,
    "start of a log": heads.one_start,
    "endorsement of rules": files.endorsement,
    "bundle": files.bundle,
    "evidence": files.evidence,
    "backup": files.backup,
    "checkpoint": lambda trust, data: ledger.checkpoint(trust, data)[0],
}


MAGICS = {b"TRILOCK1": "bundle", b"TRIPROOF": "evidence", b"TRILBACK": "backup"}


def kind_of(data):
    if data[:8] in MAGICS:
        return MAGICS[data[:8]]
    if data.startswith(b"trilock/"):
        return "checkpoint"
    return signed_kind(data)


def prove(trust, what, data):
    # 4: a statement, an entry, a foot say nothing without what they belong to.
    if what not in SINGLE:
        raise Refused("unknown")
    return SINGLE[what](trust, data)


class Joined:
    """Files read one behind the other."""

    def __init__(self, paths):
        self.files = [open(path, "rb") for path in paths]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self.files:
            file.close()

    def read(self, count):
        out = b""
        for file in self.files:
            out += file.read(count - len(out))
            if len(out) == count:
                break
        return out


def tree_of(suite, paths):
    """Size and tree digest (section 5) of files one behind the other."""
    tree, size = Tree(suite), 0
    with Joined(paths) as whole:
        while leaf := whole.read(65_536):
            tree.leaf(leaf)
            size += len(leaf)
    return size, tree.root()


class Run:
    """One verification of many files."""

    def __init__(self, trust):
        self.trust = trust
        self.rows = []
        self.parcels = {}
        self.hops = {}
        self.receipts = {}
        self.beside = []
        self.ledgers = []
        self.passed_over = 0

    def file(self, path):
        if os.path.islink(path) or not os.path.isfile(path):
            return self.row(path, None, Refused("link"))
        what = None
        try:
            with open(path, "rb") as file:
                head = file.read(8)
                file.seek(0)
                data, what = file, kind_of(head) if head in MAGICS else None
                if what not in STREAMED:
                    if os.fstat(file.fileno()).st_size > PAPER_MAX:
                        raise Refused("too-large", "file")
                    data = file.read()
                    what = kind_of(data)
                proven = prove(self.trust, what, data)
            if what == "request" and path.endswith(".sig"):
                self.listing(path, proven, data)
        except Refused as refused:
            return self.row(path, what, refused)
        row = self.row(path, what, None)
        row["notes"] = asof.notes(self.trust, what, proven, data)
        if what in ("bundle", "evidence"):
            links = [h(1, entry) for entry in proven["envelope"]["custody"]]
            told = self.parcels.setdefault(proven["statement"]["parcel"], [])
            told.append((row, proven["digest"], links, (proven["envelope"]["bundle"], proven["id"])))
            self.hops.setdefault(proven["statement"]["parcel"], []).append(proven)
        elif what == "receipt":
            self.parcels.setdefault(proven["parcel"], []).append((row, proven["statement"], [], None))
            self.receipts.setdefault(proven["parcel"], []).append(proven)
        elif what == "waybill" and not proven["lines"]:
            row["said"] = "an empty waybill: nothing more comes under its number"
        elif what == "receipt batch":
            self.beside += [(row, receipt) for receipt in proven["told"]]
        row["proven"], row["data"] = proven, data if what == "ledger head" else None
        return row

    def listing(self, path, said, data):
        """11.2: the listing that lies beside its signature."""
        card = self.trust.cards[Signed("request", data).signer]
        signed = [each["value"] for each in said["arguments"] if each["name"] == "listing"]
        if said["action"] != "intake" or card.role != "operator":
            raise Refused("wrong-signer", "listing")
        beside = path[: -len(".sig")]
        if os.path.islink(beside) or not os.path.isfile(beside):
            raise Refused("missing", "listing")
        if os.path.getsize(beside) > LISTING_MAX:
            raise Refused("too-large", "listing")
        with open(beside, "rb") as file:
            if signed[:1] != [h(1, file.read()).hex()]:
                raise Refused("altered", "listing")

    def row(self, path, what, refused):
        row = {"path": path, "what": what, "ok": refused is None, "cause": str(refused) if refused else None, "notes": []}
        self.rows.append(row)
        return row

    def folder(self, path):
        names = sorted(os.listdir(path))
        if "waybill" in names:
            return self.trip(path, names)
        if "ledger.json" in names:
            self.ledgers.append(path)
        for entry in names:
            inside = os.path.join(path, entry)
            if os.path.islink(inside):
                self.row(inside, None, Refused("link"))
            elif os.path.isdir(inside):
                self.folder(inside)
            elif self.ours(inside):
                self.file(inside)
            else:
                self.passed_over += 1

    @staticmethod
    def ours(path):
        if path.endswith((".bundle", ".receipts", ".proof", ".head")):
            return True
        with open(path, "rb") as file:
            head = file.read(8)
        return head in (b"TRILOCK1", b"TRIPROOF") or (head[:1] == b"0" and head[1:2] in (b"\x81", b"\x82", b"\x83", b"\x84"))

    def trip(self, path, names):
        """10.1"""
        inside = {entry: self.file(os.path.join(path, entry)) for entry in names if self.of_trip(entry)}
        notes = []
        try:
            self.check_trip(path, names, inside, notes)
        except Refused as refused:
            self.row(path, "trip", refused)["notes"] = notes
        else:
            self.row(path, "trip", None)["notes"] = notes

    @staticmethod
    def of_trip(entry):
        return entry == "waybill" or entry.endswith((".bundle", ".receipts"))

    def check_trip(self, path, names, inside, notes):
        # 10.1.1
        with open(os.path.join(path, "waybill"), "rb") as file:
            bill, signed = files.waybill(self.trust, file.read())
        number = os.path.basename(os.path.abspath(path))
        if number.isdigit() and int(number) != bill["trip"]:
            raise Refused("disagree", "trip")
        # 10.3
        here, known = bill["lines"], set()
        if "volume" in names:
            here, known = self.volume(path, bill, signed)
        # 10.1.2
        for line in here:
            row = inside.get(files.line_name(line))
            if row is None:
                raise Refused("missing", files.line_name(line))
            if not row["ok"]:
                raise Refused("broken", files.line_name(line))
            proven = row["proven"]
            proven = proven.get("envelope", proven)
            told = (proven.get("bundle") or proven.get("batch"), proven["epoch"], proven["sequence"])
            way = (proven["crossing"], proven["source"], proven["target"])
            if tree_of(signed.suite, [row["path"]]) != (line["size"], line["digest"]):
                raise Refused("altered", files.line_name(line))
            if told != (line["id"], line["epoch"], line["sequence"]) or way != (
                bill["crossing"],
                bill["source"],
                bill["target"],
            ):
                raise Refused("disagree", files.line_name(line))
        # 10.1.3, 10.1.4
        people, keys = set(), set()
        approvals = os.path.join(path, "approvals")
        for entry in sorted(os.listdir(approvals)) if os.path.isdir(approvals) else ():
            if not entry.endswith(".approval") or entry.startswith(".") or os.path.islink(os.path.join(approvals, entry)):
                continue
            with open(os.path.join(approvals, entry), "rb") as file:
                data = file.read()
            if len(data) > 4_096:
                raise Refused("too-large", "approval")
            said = files.approval(self.trust, data)
            if said["waybill"] != signed.digest() or said["trip"] != bill["trip"]:
                raise Refused("disagree", "approval")
            if said["person"] in (bill["exporter"], bill["carrier"]):
                raise Refused("wrong-signer", "approval")
            signer = Signed("approval", data).signer
            if said["person"] not in people and signer not in keys:
                people.add(said["person"])
                keys.add(signer)
                notes += asof.notes(self.trust, "approval", said, data)
        if len(people) < bill["approvals"]:
            raise Refused("missing", "approval")
        # 10.1.5
        known |= {"waybill", "approvals", "copy-2", "copy-3", "SHA256SUMS", "README.txt", *map(files.line_name, here)}
        strange = [entry for entry in names if entry not in known and not entry.startswith(".")]
        if strange:
            raise Refused("stranger", strange[0])

    def volume(self, path, bill, signed):
        """10.3: the lines that lie here whole, and the names of all that belongs here. Parts are joined where all are here."""
        with open(os.path.join(path, "volume"), "rb") as file:
            said, pieces = files.volume_of(self.trust, file.read(), bill, signed.digest())
        joined = {}
        for entry, piece in pieces.items():
            if piece["part"] == 0:
                continue
            inside = os.path.join(path, entry)
            if os.path.islink(inside) or not os.path.isfile(inside):
                raise Refused("missing", entry)
            if tree_of(signed.suite, [inside]) != (piece["size"], piece["digest"]):
                raise Refused("altered", entry)
            joined.setdefault(piece["line"], []).append((piece["offset"], piece["size"], inside))
        for place, parts in joined.items():
            line = bill["lines"][place]
            if sum(size for _, size, _ in parts) != line["size"]:
                continue
            paths = [inside for _, _, inside in sorted(parts)]
            if tree_of(signed.suite, paths) != (line["size"], line["digest"]):
                raise Refused("altered", files.line_name(line))
            with Joined(paths) as whole:
                files.bundle(self.trust, whole)
        here = [bill["lines"][piece["line"]] for piece in pieces.values() if piece["part"] == 0]
        return here, {"volume", *pieces, *files.parity_names(said)}

    def compare(self):
        """8.2: all papers of one parcel tell of one statement, each way is the beginning of the longest, and no two
        envelopes bear the id of one bundle."""
        whole = 0
        # A batch tells of many parcels: those that have papers of their own are asked for.
        for row, receipt in self.beside:
            if receipt["parcel"] in self.parcels:
                self.parcels[receipt["parcel"]].append((row, receipt["statement"], [], None))
                self.receipts.setdefault(receipt["parcel"], []).append(receipt)
        for parcel, told in self.parcels.items():
            _, statement, longest, _ = max(told, key=lambda each: len(each[2]))
            sealed = {}
            for _, _, _, bundle in filter(lambda each: each[3], told):
                sealed.setdefault(bundle[0], set()).add(bundle[1])
            fits = [
                each[1] == statement
                and longest[: len(each[2])] == each[2]
                and (each[3] is None or len(sealed[each[3][0]]) == 1)
                for each in told
            ]
            for (row, _, _, _), good in zip(told, fits):
                if not good:
                    row["ok"], row["cause"] = False, "disagree"
            apart = [row["path"] for (row, _, _, _), good in zip(told, fits) if not good]
            print(json.dumps({"parcel": parcel.hex(), "papers": len(told), "one_statement": all(fits), "apart": apart}))
            whole += all(fits)
        return whole


def missing_of(hops, alone):
    """8.3: what is not there of one delivery."""
    out = []
    longest = max(hops, key=lambda hop: len(hop["entries"]), default=None)
    receipts = alone + [receipt for hop in hops for receipt in hop.get("receipts", [])]
    for place, entry in enumerate(longest["entries"] if longest else [], 1):
        here = [hop["envelope"] for hop in hops if len(hop["entries"]) == place]
        if not here:
            out.append(f"evidence of hop {place} ({entry['node']})")
        elif not any((r["bundle"], r["node"]) == (e["bundle"], e["target"]) for r in receipts for e in here):
            out.append(f"receipt of {here[0]['target']} for hop {place}")
    known = {hop["envelope"]["bundle"] for hop in hops}
    out += sorted({f"evidence of bundle {r['bundle'].hex()}" for r in receipts if r["bundle"] not in known})
    target = longest["statement"]["target"] if longest else None
    ended = [r for r in receipts if r["outcome"] in (3, 4) or (r["outcome"] == 2 and target in (None, r["node"]))]
    if not ended:
        out.append("a receipt that says how it ended")
    return out


def heads_of(rows, ledgers, node):
    """12.3.5: every head of one node's ledger that the papers hold, and that neighbours' ledgers say they witnessed."""
    out = {}

    def take(head):
        if out.setdefault((head["log"], head["size"]), head["root"]) != head["root"]:
            raise Refused("contradiction", "root")

    def stated(data):
        body = Signed("ledger head", data).body()
        if body["node"] == node:
            take(body["head"])
            for link in body["links"]:
                take(link["from"])
        elif body["target"] == node and body["held"]:
            take(body["held"])

    for row in rows:
        proven = row.get("proven")
        if proven is None:
            continue
        for receipt in [proven] if row["what"] == "receipt" else proven.get("told", proven.get("receipts", [])):
            if receipt["node"] == node:
                take(receipt["head"])
        if row["what"] in ("waybill", "receipt batch"):
            stated(proven["stated"])
        elif row["what"] == "ledger head":
            stated(row["data"])
        elif row["what"] == "checkpoint" and proven["node"] == node:
            take(proven)
    for folder in ledgers:
        for record in ledger.records(folder):
            if record["event"] == 38 and record["peer"] == node and record["head"]:
                take(record["head"])
    return out


def shown(row):
    return {key: row[key] for key in ("path", "what", "ok", "cause", "notes", "said") if key in row}


def vectors(folder):
    trust = trust_of(os.path.join(folder, "trust"))
    wrong = count = 0
    for entry in sorted(os.listdir(folder)):
        if not entry.endswith(".vector"):
            continue
        with open(os.path.join(folder, entry), encoding="utf-8") as file:
            head, body = file.read().split("\n\n", 1)
        words = dict(line.split(": ", 1) for line in head.splitlines())
        what = words.get("kind", "bundle")
        try:
            found = "ok"
            vector(trust, what, base64.b64decode(body))
        except Refused as refused:
            found = str(refused)
        count += 1
        if found != words["expect"]:
            wrong += 1
            print(json.dumps({"vector": entry, "found": found, "expect": words["expect"]}))
    print(json.dumps({"summary": {"checked": count, "failed": wrong}}))
    return 1 if wrong or not count else 0


def vector(trust, what, data):
    if what == "ledger record":
        if parse("ledger record", data, RECORD, 4 << 10)["version"] != 1:
            raise Refused("malformed", "ledger record")
    elif what == "exchange frame":
        links.exchange_frame(data)
    elif what == "manifest":
        files.manifest(data)
    else:
        prove(trust, what, data)


def dump(trust, path, into):
    """Every signature of a file as OpenSSL wants it: NAME.msg, NAME.sig, NAME.pem."""
    with open(path, "rb") as file:
        data = file.read()
    what = kind_of(data)
    read = prove(trust, what, data)
    pieces = []
    if what in ("bundle", "evidence"):
        pieces.append(("statement", Signed("parcel statement", read["envelope"]["statement"])))
        pieces += [
            (f"custody-{place}", Signed("custody entry", entry))
            for place, entry in enumerate(read["envelope"]["custody"], 1)
        ]
        pieces.append(("footer", read["footer"]))
    elif what != "checkpoint" and what != "backup":
        pieces.append((what.replace(" ", "-"), Signed(what, data)))
    for name, signed in pieces:
        card = trust.cards[signed.signer]
        pem = base64.encodebytes(card.spki).decode().replace("\n", "")
        lines = "\n".join(pem[at : at + 64] for at in range(0, len(pem), 64))
        parts = {
            "msg": b"trilock-v1-" + signed.domain.encode() + b"\x00" + signed.bytes,
            "sig": signed.signature,
            "pem": f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n".encode(),
        }
        for suffix, content in parts.items():
            with open(os.path.join(into, f"{name}.{suffix}"), "wb") as file:
                file.write(content)
        print(json.dumps({"part": name, "suite": signed.suite}))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trust")
    parser.add_argument("--ledger")
    parser.add_argument("--delivered", action="store_true")
    parser.add_argument("--vectors")
    parser.add_argument("--dump")
    parser.add_argument("--module")
    parser.add_argument("paths", nargs="*")
    asked = parser.parse_args()
    if asked.vectors:
        return vectors(asked.vectors)
    if asked.module:
        with open(asked.module, encoding="utf-8") as file:
            found = module.differences(file.read())
        print("\n".join(found) or f"{len(module.LAYOUTS)} types are as the page says")
        return 1 if found else 0
    if not asked.trust or not (asked.paths or asked.ledger):
        parser.error("--trust and something to verify are needed")
    trust = trust_of(asked.trust)
    if asked.dump:
        return dump(trust, asked.paths[0], asked.dump)
    run = Run(trust)
    for path in asked.paths:
        (run.folder if os.path.isdir(path) else run.file)(path)
    for row in run.rows:
        print(json.dumps(shown(row)))
    whole = run.compare()
    failed = sum(not row["ok"] for row in run.rows)
    for parcel in sorted(run.parcels) if asked.delivered else ():
        missing = missing_of(run.hops.get(parcel, []), run.receipts.get(parcel, []))
        failed += bool(missing)
        print(json.dumps({"parcel": parcel.hex(), "complete": not missing, "missing": missing}))
    summary = {"checked": len(run.rows), "failed": failed, "parcels": whole, "passed_over": run.passed_over}
    if asked.ledger:
        try:
            inside = os.path.join(asked.ledger, "ledger")
            own = os.path.join(inside if os.path.isdir(inside) else asked.ledger, "checkpoint")
            node = ledger.checkpoint(trust, ledger.read(own, ledger.NOTE_MAX))[0]["node"]
            logs = ledger.folder(trust, asked.ledger, heads_of(run.rows, run.ledgers, node))
            print(json.dumps({"ledger": node, "ok": True, "records": [log["records"] for log in logs]}))
        except (Refused, OSError) as refused:
            failed += 1
            print(json.dumps({"ledger": asked.ledger, "ok": False, "cause": str(refused)}))
    print(json.dumps({"summary": summary}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
