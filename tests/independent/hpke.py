#!/usr/bin/env python3
"""RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256) with HKDF-SHA256, as far as the key and nonce of the first message.

    hpke.py AEAD_ID SECRET ENC INFO       (hex; prints key and nonce in hex)

Checks itself against RFC 9180, A.1.1 first. What opens the ciphertext then is somebody else's AES.
"""

import hashlib
import hmac
import struct
import sys

P = 2**255 - 19


def x25519(scalar, point):
    """RFC 7748, section 5."""
    k = int.from_bytes(scalar, "little") & ~7 & ~(1 << 255) | 1 << 254
    x1 = int.from_bytes(point, "little") & (1 << 255) - 1
    r0, r1 = (1, 0), (x1, 1)
    for t in range(254, -1, -1):
        if (k >> t) & 1:
            r0, r1 = add(x1, r0, r1), double(r1)
        else:
            r0, r1 = double(r0), add(x1, r0, r1)
    return (r0[0] * pow(r0[1], P - 2, P) % P).to_bytes(32, "little")


def double(p):
    a, b = (p[0] + p[1]) ** 2 % P, (p[0] - p[1]) ** 2 % P
    e = a - b
    return (a * b % P, e * (a + 121665 * e) % P)


def add(x1, p, q):
    """The sum of two points whose difference is the point x1."""
    da, cb = (q[0] - q[1]) * (p[0] + p[1]), (q[0] + q[1]) * (p[0] - p[1])
    return ((da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P)


def extract(salt, suite, label, ikm):
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()


def expand(prk, suite, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out, count = out + block, count + 1
    return out[:length]


def key_and_nonce(aead, secret, enc, info):
    kem = b"KEM" + struct.pack(">H", 0x0020)
    public = x25519(secret, (9).to_bytes(32, "little"))
    shared = x25519(secret, enc)
    shared = expand(extract(b"", kem, b"eae_prk", shared), kem, b"shared_secret", enc + public, 32)
    suite = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, aead)
    context = b"\x00" + extract(b"", suite, b"psk_id_hash", b"") + extract(b"", suite, b"info_hash", info)
    prk = extract(shared, suite, b"secret", b"")
    return shared, expand(prk, suite, b"key", context, 16 if aead == 1 else 32), expand(prk, suite, b"base_nonce", context, 12)


def known_answer():
    """RFC 9180, A.1.1."""
    shared, key, nonce = key_and_nonce(
        1,
        bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"),
        bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"),
        bytes.fromhex("4f6465206f6e2061204772656369616e2055726e"),
    )
    assert shared.hex() == "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc", shared.hex()
    assert key.hex() == "4531685d41d65f03dc48f6b8302c05b0", key.hex()
    assert nonce.hex() == "56d890e5accaaf011cff4b7d", nonce.hex()


if __name__ == "__main__":
    known_answer()
    _, key, nonce = key_and_nonce(int(sys.argv[1]), *map(bytes.fromhex, sys.argv[2:5]))
    print(key.hex(), nonce.hex())
