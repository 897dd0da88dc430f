"""The two verification equations, in whole numbers: Ed25519 (RFC 8032, strict) and SM2 with SM3 (GM/T 0003, 0009).

Only verification, with public keys and public messages: nothing here has to be constant in time. The test of this
folder has the same signatures checked by OpenSSL as well.
"""

import hashlib

from digests import sm3

# ---- Ed25519 ---------------------------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def ed_add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def ed_double(p):
    a, b, c = p[0] * p[0] % P, p[1] * p[1] % P, 2 * p[2] * p[2] % P
    h = a + b
    e = h - (p[0] + p[1]) ** 2 % P
    g = a - b
    f = c + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def ed_point(data):
    """A point from its one canonical encoding, or None."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * ROOT % P
    if v * x * x % P != u:
        return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def ed_bytes(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def ed_small(p):
    """Whether eight times the point is nothing."""
    for _ in range(3):
        p = ed_double(p)
    return p[0] == 0 and p[1] == p[2]


def table(point, add, neutral):
    out = [neutral]
    for _ in range(15):
        out.append(add(out[-1], point))
    return out


def joint(a, table_a, b, table_b, add, double, neutral):
    """a A + b B, four bits at a time."""
    out = neutral
    for shift in range(252, -1, -4):
        out = double(double(double(double(out))))
        if (a >> shift) & 15:
            out = add(out, table_a[(a >> shift) & 15])
        if (b >> shift) & 15:
            out = add(out, table_b[(b >> shift) & 15])
    return out


ED_BASE = table(ed_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little")), ed_add, NEUTRAL)
_ed_keys = {}


def ed25519(public, message, signature):
    """RFC 8032 5.1.7, and neither key nor R of small order, S below the order, everything in its canonical form."""
    if len(signature) != 64:
        return False
    if public not in _ed_keys:
        point = ed_point(public)
        if point is None or ed_small(point):
            return False
        _ed_keys[public] = table((P - point[0], point[1], 1, P - point[3]), ed_add, NEUTRAL)
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    commitment = ed_point(r)
    if commitment is None or ed_small(commitment):
        return False
    k = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
    return ed_bytes(joint(s, ED_BASE, k, _ed_keys[public], ed_add, ed_double, NEUTRAL)) == r


# ---- SM2 -------------------------------------------------------------------------------------------------------------

Q = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = Q - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0
USER = b"1234567812345678"
INFINITY = (1, 1, 0)


def w_double(p):
    x, y, z = p
    if z == 0 or y == 0:
        return INFINITY
    delta, gamma = z * z % Q, y * y % Q
    beta = x * gamma % Q
    alpha = 3 * (x - delta) * (x + delta) % Q
    out = (alpha * alpha - 8 * beta) % Q
    return (out, (alpha * (4 * beta - out) - 8 * gamma * gamma) % Q, ((y + z) ** 2 - gamma - delta) % Q)


def w_add(p, q):
    if p[2] == 0:
        return q
    if q[2] == 0:
        return p
    zp, zq = p[2] * p[2] % Q, q[2] * q[2] % Q
    u, v = p[0] * zq % Q, q[0] * zp % Q
    s, t = p[1] * zq * q[2] % Q, q[1] * zp * p[2] % Q
    if u == v:
        return w_double(p) if s == t else INFINITY
    h, r = (v - u) % Q, (t - s) % Q
    h2 = h * h % Q
    h3, m = h * h2 % Q, u * h2 % Q
    x = (r * r - h3 - 2 * m) % Q
    return (x, (r * (m - x) - s * h3) % Q, h * p[2] * q[2] % Q)


W_BASE = table((GX, GY, 1), w_add, INFINITY)
_sm2_keys = {}


def on_curve(x, y):
    return x < Q and y < Q and (y * y - (x * x * x + A * x + B)) % Q == 0


def sm2_numbers(signature):
    """r and s from SEQUENCE { r, s } in its one canonical form, or None."""
    out, at = [], 2
    if len(signature) < 8 or signature[0] != 0x30 or signature[1] >= 0x80 or signature[1] != len(signature) - 2:
        return None
    for _ in range(2):
        if at + 2 > len(signature) or signature[at] != 2:
            return None
        content = signature[at + 2 : at + 2 + signature[at + 1]]
        if not 1 <= signature[at + 1] <= 33 or len(content) != signature[at + 1] or content[0] >= 0x80:
            return None
        if len(content) > 1 and content[0] == 0 and content[1] < 0x80:
            return None
        out.append(int.from_bytes(content, "big"))
        at += 2 + len(content)
    return out if at == len(signature) else None


def sm2(public, message, signature):
    """GM/T 0003.2 section 7, with the user id of GM/T 0009. The key is x | y."""
    if public not in _sm2_keys:
        x, y = int.from_bytes(public[:32], "big"), int.from_bytes(public[32:], "big")
        if not on_curve(x, y):
            return False
        words = [A, B, GX, GY, x, y]
        za = sm3(b"\x00\x80" + USER + b"".join(word.to_bytes(32, "big") for word in words))
        _sm2_keys[public] = (za, table((x, y, 1), w_add, INFINITY))
    numbers = sm2_numbers(signature)
    if numbers is None or not all(1 <= value < N for value in numbers):
        return False
    r, s = numbers
    t = (r + s) % N
    if t == 0:
        return False
    za, key = _sm2_keys[public]
    e = int.from_bytes(sm3(za + message), "big")
    point = joint(s, W_BASE, t, key, w_add, w_double, INFINITY)
    if point[2] == 0:
        return False
    x = point[0] * pow(point[2], Q - 3, Q) % Q
    return (e + x) % N == r
