"""H of either suite, tree digests and proofs over them (FORMAT.md sections 2 and 5; RFC 9162, section 2.1)."""

import hashlib
import struct

STD, GM = 1, 2


def _has_sm3():
    try:
        hashlib.new("sm3")
        return True
    except ValueError:
        return False


HAS_SM3 = _has_sm3()


def _rotate(x, n):
    n %= 32
    return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF


def sm3_plain(data):
    """SM3 (GB/T 32905) in plain words, for a Python whose OpenSSL was built without it. Slow."""
    v = [0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E]
    data = data + b"\x80" + b"\x00" * ((55 - len(data)) % 64) + struct.pack(">Q", 8 * len(data))
    for start in range(0, len(data), 64):
        w = list(struct.unpack(">16I", data[start : start + 64]))
        for j in range(16, 68):
            x = w[j - 16] ^ w[j - 9] ^ _rotate(w[j - 3], 15)
            w.append(x ^ _rotate(x, 15) ^ _rotate(x, 23) ^ _rotate(w[j - 13], 7) ^ w[j - 6])
        a, b, c, d, e, f, g, h = v
        for j in range(64):
            early = j < 16
            s = _rotate(a, 12)
            s1 = _rotate((s + e + _rotate(0x79CC4519 if early else 0x7A879D8A, j)) & 0xFFFFFFFF, 7)
            s2 = s1 ^ s
            t1 = ((a ^ b ^ c if early else (a & b) | (a & c) | (b & c)) + d + s2 + (w[j] ^ w[j + 4])) & 0xFFFFFFFF
            t2 = ((e ^ f ^ g if early else (e & f) | (~e & g)) + h + s1 + w[j]) & 0xFFFFFFFF
            a, b, c, d = t1, a, _rotate(b, 9), c
            e, f, g, h = t2 ^ _rotate(t2, 9) ^ _rotate(t2, 17), e, _rotate(f, 19), g
        v = [x ^ y for x, y in zip(v, (a, b, c, d, e, f, g, h))]
    return struct.pack(">8I", *v)


def sm3(data):
    return hashlib.new("sm3", data).digest() if HAS_SM3 else sm3_plain(data)


def sha256(data):
    return hashlib.sha256(data).digest()


def h(suite, data):
    return sm3(data) if suite == GM else sha256(data)


class Tree:
    """A Merkle root over leaves as they come; holds one digest a level."""

    def __init__(self, suite):
        self.suite = suite
        self.stack = []
        self.size = 0

    def leaf(self, data):
        self.digest(h(self.suite, b"\x00" + data))

    def digest(self, digest):
        """A leaf of which only the digest is known."""
        level = 0
        while self.stack and self.stack[-1][0] == level:
            digest = h(self.suite, b"\x01" + self.stack.pop()[1] + digest)
            level += 1
        self.stack.append((level, digest))
        self.size += 1

    def root(self):
        if not self.stack:
            return h(self.suite, b"")
        out = self.stack[-1][1]
        for _, digest in reversed(self.stack[:-1]):
            out = h(self.suite, b"\x01" + digest + out)
        return out


def tree_digest(suite, data, leaf_bytes=65_536):
    tree = Tree(suite)
    for start in range(0, len(data), leaf_bytes):
        tree.leaf(data[start : start + leaf_bytes])
    return tree.root()


def consistent(suite, first, first_root, second, second_root, proof):
    """RFC 9162, 2.1.4.2. An empty log is the beginning of every one, and equal sizes need equal roots; no proof for both."""
    if first > second:
        return False
    if first == 0:
        return not proof and first_root == h(suite, b"")
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = h(suite, b"\x01" + c + fr), h(suite, b"\x01" + c + sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = h(suite, b"\x01" + sr + c)
        fn, sn = fn >> 1, sn >> 1
    return fr == first_root and sr == second_root and sn == 0


def included(suite, leaf, index, size, proof, root):
    """RFC 9162, 2.1.3.2. `leaf` is the leaf's digest."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = h(suite, b"\x01" + p + r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = h(suite, b"\x01" + r + p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root
