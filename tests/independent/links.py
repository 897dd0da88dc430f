"""Frames of the gateway exchange (FORMAT.md section 14)."""

import struct

from der import NAME
from papers import CROSSINGS, KINDS, PRIORITIES, Refused

LENGTHS = {1: (16, 63), 2: (42, 42), 3: (8, 8), 4: (9, 8 + 262_144), 5: (0, 0), 6: (0, 0), 7: (4, 4)}


def exchange_frame(data):
    if len(data) < 5:
        raise Refused("malformed", "exchange frame")
    kind, length = struct.unpack_from(">BI", data)
    least, most = LENGTHS.get(kind, (1, 0))
    body = data[5:]
    if not least <= length <= most or len(body) != length:
        raise Refused("malformed", "exchange frame")
    good = True
    if kind == 1:
        name = body[15:].decode("ascii", "replace")
        good = body[2] in (1, 2, 3) and body[3] in CROSSINGS and body[4] in CROSSINGS and NAME.match(name)
    elif kind == 2:
        (size,) = struct.unpack_from(">Q", body, 34)
        good = body[16] in KINDS and body[17] in PRIORITIES and size > 0
    if not good:
        raise Refused("malformed", "exchange frame")
