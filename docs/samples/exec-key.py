#!/usr/bin/env python3
"""A sample for `ferry --key exec:PROGRAM`: signs with OpenSSL and a key file. Put your Ukey or signature server in its place.

Reads one line of JSON: {"trilock": 1, "op": "sign", "suite": "std" | "gm", "key": KEY ID, "digest": HEX | null, "message": BASE64}.
Suite std: Ed25519 over the message. Suite gm: SM2 over `digest`, which is SM3(Z, message) with the user id
1234567812345678; a device that makes the digest itself takes the message. The signature is DER.
Answers one line: {"signature": BASE64}, or {"error": WORD, "message": TEXT} with a word such as no-device, no-key,
wrong-pin, cancelled, locked, failed.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile

ASKED_MAX = 256 * 1024


def answer(**words):
    print(json.dumps(words), flush=True)
    sys.exit(0)


asked = json.loads(sys.stdin.readline(ASKED_MAX))
key = os.environ.get("EXEC_KEY_FILE", "")
if asked.get("trilock") != 1 or asked.get("op") != "sign":
    answer(error="unknown", message="only version 1 and op sign are known")
if not os.path.exists(key):
    answer(error="no-device", message="EXEC_KEY_FILE names no key file")
command = ["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin"]
if asked["suite"] == "gm":
    command += ["-digest", "sm3", "-pkeyopt", "distid:1234567812345678"]
with tempfile.NamedTemporaryFile() as message:
    message.write(base64.b64decode(asked["message"]))
    message.flush()
    done = subprocess.run([*command, "-in", message.name], stdin=subprocess.DEVNULL, capture_output=True)
if done.returncode != 0:
    answer(error="failed", message=done.stderr.decode(errors="replace")[:200])
answer(signature=base64.b64encode(done.stdout).decode())
