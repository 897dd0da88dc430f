"""A ledger's folder: segments, the root over all records, the signed checkpoint (FORMAT.md section 12)."""

import base64
import os
import re
import struct
import zlib

import curves
import heads
from der import Malformed, NAME
from digests import GM, STD, Tree, h
from papers import LOCAL, RECORD, Refused, parse
from der import whole

RECORD_MAX, LOCAL_MAX, NOTE_MAX, SEGMENT_MAX = 4 << 10, 16 << 10, 1_024, 256 << 20
SEGMENT = re.compile(r"([0-9a-f]{16})\.(seg|damaged|sealed)\Z")
HOLE_MAX = 1 << 22
# The smallest frame there can be, and what is spent at most on finding places again.
FRAME_MIN, LOOKING_MAX = 20, 256 << 20
# Stands where nobody knows a digest any more.
UNKNOWN = bytes(32)


def segments(folder):
    """12.3.1: the segment files in order: first record, whether set aside, bytes."""
    found = []
    for entry in os.listdir(folder):
        match = SEGMENT.match(entry)
        if match:
            found.append((int(match[1], 16), match[2] != "seg", entry))
    return sorted(found)


def frame(data, at):
    """The record and local part of the frame at a place, and where the next one begins; or None."""
    if at + 8 > len(data):
        return None
    length, (crc,) = length_at(data, at), struct.unpack_from(">I", data, at + 4)
    if length is None or at + 8 + length > len(data):
        return None
    end = at + 8 + length
    payload = data[at + 8 : end]
    if zlib.crc32(data[at : at + 4] + payload) != crc:
        return None
    (inner,) = struct.unpack_from(">I", payload)
    record, local = payload[4 : 4 + inner], payload[4 + inner :]
    if len(record) != inner or len(record) > RECORD_MAX or 0 < len(local) < 32:
        return None
    try:
        read = whole(record, RECORD)
        if read["version"] != 1:
            return None
        if local:
            if len(local) - 32 > LOCAL_MAX:
                return None
            whole(local[32:], LOCAL)
    except Malformed:
        return None
    return record, read, local, end


def frames(data, first, is_at):
    """Every record of a segment: its bytes, what they say, its local part; None for one that cannot be read. Then
    whether the segment was read to its end. `is_at` says whether a record is the one at a place, by its digest."""
    headed = data.startswith(b"TRILOCKL" + struct.pack(">Q", first))
    at, out, looking = 16 if headed else 0, [], [LOOKING_MAX]
    while at < len(data) or not headed:
        found = frame(data, at) if headed else None
        if found is not None:
            out.append(found[:3])
            at = found[3]
            continue
        # The length may still be right: then one record is lost, or a few in a row, and not the rest.
        index = first + len(out)
        steps = by_length(data, at) if headed else None
        if steps is None or not counts(data, steps[1], index + steps[0], is_at):
            over = over_the_hole(data, at, index, 1 if headed else 0, is_at, looking)
            if over is not None:
                place, at = over
                headed = True
                out += [None] * (place - index)
                continue
        if steps is None:
            return out, False
        out.append(None)
        at += 8 + length_at(data, at)
    return out, True


def by_length(data, at):
    """The next whole record, if the lengths are right: how many frames on, and where."""
    for steps in range(1, 65):
        length = length_at(data, at)
        if length is None:
            return None
        at += 8 + length
        if frame(data, at) is not None:
            return steps, at
    return None


def counts(data, at, first, is_at):
    """Is one of the 8 records from here on at its place, if the first has this one?"""
    for place in range(first, first + 8):
        found = frame(data, at)
        if found is None:
            return False
        if is_at(place, found[0]):
            return True
        at = found[3]
    return False


def length_at(data, at):
    """The length of the payload of the frame at a place, where there can be such a frame."""
    if at + 4 > len(data):
        return None
    (length,) = struct.unpack_from(">I", data, at)
    return length if FRAME_MIN - 8 <= length <= 4 + RECORD_MAX + 32 + LOCAL_MAX else None


def over_the_hole(data, at, index, least, is_at, looking):
    """12.3.2: the next whole record whose digest stands in level-0, and its place."""
    for passed in range(1, 1 << 20):
        if at + passed > len(data) or looking[0] < 0:
            return None
        length = length_at(data, at + passed)
        if length is None:
            continue
        looking[0] -= 8 + length
        found = frame(data, at + passed)
        if found is None:
            continue
        most = max(passed // FRAME_MIN, 1)
        looking[0] -= most * (8 + length)
        if looking[0] < 0:
            return None
        best = None
        for place in range(index + least, index + most + 1):
            if is_at(place, found[0]):
                fits = fitting(data, at + passed, place, is_at)
                if best is None or fits > best[0]:
                    best = (fits, place)
        if best is not None:
            return best[1], at + passed
    return None


def fitting(data, at, place, is_at):
    """How many records in a row, at most 8, are those of these places."""
    for many in range(8):
        found = frame(data, at)
        if found is None or not is_at(place + many, found[0]):
            return many
        at = found[3]
    return 8


def kept_leaves(folder):
    """The digests of level-0, where there is one."""
    path = os.path.join(folder, "level-0")
    return read(path, 1 << 40) if os.path.exists(path) else b""


def by_leaves(leaves, suites):
    """Whether a record is the one at a place, by its digest."""
    last = [None, ()]

    def is_at(place, record):
        # It is asked of one record for many places.
        if last[0] != record:
            last[:] = record, [h(suite, b"\x00" + record) for suite in suites]
        return leaves[32 * place : 32 * place + 32] in last[1]

    return is_at


def records(folder):
    """What every record of a ledger's folder says that can be read. Whether the ledger holds is another question."""
    is_at = by_leaves(kept_leaves(folder), (STD, GM))
    for first, _, entry in segments(folder):
        for found in frames(read(os.path.join(folder, entry), SEGMENT_MAX), first, is_at)[0]:
            if found is not None:
                yield found[1]


def checkpoint(trust, data, node=None):
    """The note: whose ledger, its log, size and root, and the card of the key that signed it."""
    if len(data) > NOTE_MAX:
        raise Refused("too-large", "checkpoint")
    try:
        text, _, signatures = data.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError:
        raise Refused("malformed", "checkpoint") from None
    lines = text.split("\n")
    match = re.match(r"trilock/([^/]+)(?:/([1-9][0-9]*))?\Z", lines[0])
    if len(lines) != 3 or not match or not NAME.match(match[1]) or match[2] == "1":
        raise Refused("malformed", "checkpoint")
    size = lines[1]
    if not re.match(r"(0|[1-9][0-9]{0,19})\Z", size) or int(size) >= 2**64:
        raise Refused("malformed", "checkpoint")
    root = decoded(lines[2])
    if root is None or len(root) != 32:
        raise Refused("malformed", "checkpoint")
    told = {"node": match[1], "log": int(match[2] or 1), "size": int(size), "root": root}
    if node is not None and told["node"] != node:
        raise Refused("disagree")
    message = (text + "\n").encode()
    for line in signatures.split("\n"):
        start = "\u2014 " + lines[0] + " "
        signature = decoded(line[len(start) :]) if line.startswith(start) else None
        for card in trust.cards.values() if signature else ():
            if card.holder != told["node"] or card.use != "sign":
                continue
            if card.suite == GM:
                kind, public, verify = b"\xfftrilock-sm2-sm3", card.spki, curves.sm2
            else:
                kind, public, verify = b"\x01", card.public, curves.ed25519
            key_id = h(card.suite, lines[0].encode() + b"\n" + kind + public)[:4]
            if signature[:4] == key_id and verify(card.public, message, signature[4:]):
                return told, card
    raise Refused("bad-signature", "checkpoint")


def decoded(text):
    try:
        out = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return out if base64.b64encode(out).decode() == text else None


def read(path, limit):
    if os.path.getsize(path) > limit:
        raise Refused("too-large", os.path.basename(path))
    with open(path, "rb") as file:
        return file.read()


def one_log(trust, folder, held):
    """12.3: one log by itself. `held` are heads that others hold: (log, size) to root."""
    # 12.3.0
    told, card = checkpoint(trust, read(os.path.join(folder, "checkpoint"), NOTE_MAX))
    try:
        found = in_suite(card.suite, folder, told, held)
    except Refused as refused:
        # A ledger keeps the suite it was begun in.
        try:
            found = in_suite(STD if card.suite == GM else GM, folder, told, held)
        except Refused:
            raise refused from None
    return {**found, "key": card}


class Kept(Tree):
    """The tree of a ledger. Above a leaf that nobody knows any more (32 zeros) stands what the levels keep."""

    def __init__(self, suite, folder):
        super().__init__(suite)
        self.folder = folder
        self.levels = {}

    def kept(self, level, index):
        if level not in self.levels:
            path = os.path.join(self.folder, f"level-{level}")
            self.levels[level] = read(path, 1 << 40) if os.path.exists(path) else b""
        return self.levels[level][32 * index : 32 * index + 32] or UNKNOWN

    def digest(self, digest):
        level, index = 0, self.size
        while self.stack and self.stack[-1][0] == level:
            left = self.stack.pop()[1]
            level, index = level + 1, index >> 1
            if UNKNOWN in (left, digest):
                digest = self.kept(level, index)
            else:
                digest = h(self.suite, b"\x01" + left + digest)
        self.stack.append((level, digest))
        self.size += 1


def in_suite(suite, folder, told, held):
    """12.3.1 to 12.3.6, in one suite."""
    # 12.3.1
    tree, reported, before, unreadable, first, roots = Kept(suite, folder), 0, 0, 0, None, {}
    leaves = kept_leaves(folder)
    is_at = by_leaves(leaves, (suite,))
    found = segments(folder)
    if not found:
        raise Refused("no-ledger")
    wanted = {size for (log, size) in held if log == told["log"]} | {told["size"]}

    def push(record, aside):
        nonlocal unreadable
        index = tree.size
        stands = leaves[32 * index : 32 * index + 32]
        leaf = h(suite, b"\x00" + record) if record is not None else None
        if leaf is None or (aside and stands and stands != leaf):
            unreadable += 1
            tree.digest(stands or UNKNOWN)
        elif stands and stands != leaf:
            raise Refused("record", str(index))
        else:
            tree.digest(leaf)
        if tree.size in wanted:
            roots[tree.size] = tree.root()

    roots[0] = tree.root()
    for place, (start, aside, entry) in enumerate(found):
        if start < tree.size or start - tree.size > HOLE_MAX:
            raise Refused("records-missing", str(tree.size))
        while tree.size < start:
            push(None, True)
        stored, whole_segment = frames(read(os.path.join(folder, entry), SEGMENT_MAX), start, is_at)
        for one in stored:
            # 12.3.2, 12.3.3
            if one is not None:
                record, body, local = one
                first = first or body
                if local and h(suite, local) != body["local"]:
                    raise Refused("local-part", str(tree.size))
                if body["event"] == 36 and body["sequence"] is not None and body["through"] is not None:
                    lost = body["through"] - body["sequence"] + 1
                    if body["head"] is None:
                        reported += lost
                    elif first["event"] == 49 and body["head"] == first["head"]:
                        before += lost
            push(one[0] if one else None, aside)
        # A torn tail of the newest segment is a write that never was acknowledged.
        if not whole_segment and place + 1 < len(found) and found[place + 1][0] < tree.size:
            raise Refused("records-missing", str(tree.size))
    # 12.3.4
    if tree.size < told["size"]:
        raise Refused("records-missing", str(tree.size))
    if roots.get(told["size"]) != told["root"]:
        raise Refused("root")
    # 12.3.5
    for (log, size), root in held.items():
        if log == told["log"] and size > tree.size:
            raise Refused("tail-cut", str(size))
        if log == told["log"] and roots[size] != root:
            raise Refused("rewritten", str(size))
    # 12.3.6
    if len(leaves) // 32 > tree.size:
        raise Refused("tail-cut", str(len(leaves) // 32))
    unreported = max(unreadable - reported, 0)
    return {**told, "records": tree.size, "first": first, "unreported": unreported, "reportsBefore": before}


def folder(trust, path, held=None):
    """12.3 and 12.4: every log, oldest first, and that each begins where the one before it ended."""
    inside = os.path.join(path, "ledger")
    path = inside if os.path.isdir(inside) else path
    former = os.path.join(path, "former")
    names = os.listdir(former) if os.path.isdir(former) else []
    logs = [os.path.join(former, entry) for entry in sorted((e for e in names if e.isdigit()), key=int)] + [path]
    before, out = None, []
    for log in logs:
        found = one_log(trust, log, held or {})
        if before is None and found["log"] != 1:
            raise Refused("disagree")
        if before is not None:
            follows(trust, log, before, found)
            # 12.3.6: a restore reports what it found lost in the log that follows.
            if before["unreported"] > found["reportsBefore"]:
                raise Refused("unreported-loss", str(before["unreported"]))
        before = found
        out.append(found)
    if before["unreported"]:
        raise Refused("unreported-loss", str(before["unreported"]))
    missing = {log for (log, _) in held or {}} - {log["log"] for log in out}
    if missing:
        raise Refused("log-missing", str(min(missing)))
    return out


def follows(trust, path, before, found):
    """12.4"""
    if before["records"] != before["size"]:
        raise Refused("disagree")
    papers = [read(os.path.join(path, entry), 4 << 10) for entry in ("start-by-node", "start-by-operator")]
    start = heads.log_starts(trust, papers, found["node"], found["log"])
    was = {"log": before["log"], "size": before["size"], "root": before["root"]}
    first = found["first"]
    if start["previous"] != was or first is None or first["event"] != 49:
        raise Refused("disagree")
    if first["head"] != was or first["person"] != start["person"]:
        raise Refused("disagree")
