"""Bundles, evidence and the other files of FORMAT.md, each walked by the steps of its section."""

import datetime
import io
import struct
import unicodedata

import heads
from digests import Tree, h
from papers import CROSSINGS, ENVELOPE, MANIFEST, OBJECT_MAX, USES, Refused, Signed, parse, public

SEALED_CHUNK = 65_536 + 16
CHUNKS_MAX = 2**32 - 1


class Cursor:
    """A file's bytes, taken from the front: of bytes, or of an open file, which is never held as a whole."""

    def __init__(self, source):
        self.file = source if hasattr(source, "read") else io.BytesIO(source)

    def take(self, count, part):
        out = self.file.read(count)
        if len(out) != count:
            raise Refused("cut-short", part)
        return out

    def part(self, part, limit=OBJECT_MAX):
        (length,) = struct.unpack(">I", self.take(4, part))
        if length > limit:
            raise Refused("too-large", part)
        return self.take(length, part)

    def end(self):
        if self.file.read(1):
            raise Refused("trailing")


def journey(trust, statement_bytes, custody):
    """6.1. Gives the statement, its digest, and the entries."""
    # 6.1.1
    if len(custody) > 8:
        raise Refused("over-limit", "number of custody entries")
    # 6.1.2
    signed = Signed("parcel statement", statement_bytes)
    statement, card = trust.verify(signed, "origin")
    digest = link = signed.digest()
    entries, zone, keys = [], None, [card]
    # 6.1.3
    for data in custody:
        signed = Signed("custody entry", data)
        entry, card = trust.verify(signed, "node")
        if entry["statement"] != digest or entry["previous"] != link:
            raise Refused("disagree")
        begins, ends = CROSSINGS[entry["crossing"]]
        if begins != card.zone or (zone is not None and zone != begins):
            raise Refused("disagree")
        zone = ends
        link = h(Signed("parcel statement", statement_bytes).suite, data)
        entries.append(entry)
        keys.append(card)
    return statement, digest, entries, keys


def envelope_of(data):
    """7.1.2"""
    envelope = parse("envelope", data, ENVELOPE)
    if envelope["version"] != 1:
        raise Refused("version", "envelope")
    payload = envelope["payloadBytes"]
    if payload > CHUNKS_MAX * SEALED_CHUNK:
        raise Refused("too-large", "payload")
    if payload < 20 or 1 <= payload % SEALED_CHUNK <= 16:
        raise Refused("footer-mismatch", "stated payload length")
    return envelope


def journey_of(trust, envelope):
    """7.1.3"""
    statement, digest, entries, keys = journey(trust, envelope["statement"], envelope["custody"])
    if not entries or entries[0]["node"] != statement["origin"]:
        raise Refused("disagree")
    last = entries[-1]
    if last["node"] != envelope["source"] or last["crossing"] != envelope["crossing"]:
        raise Refused("disagree")
    return statement, digest, entries, keys


def footer_of(trust, envelope, envelope_bytes, footer_bytes):
    """7.1.5, 7.1.6 but for the root, which it gives."""
    signed = Signed("footer", footer_bytes)
    if signed.signer != envelope["signer"] or signed.suite != envelope["suite"]:
        raise Refused("footer-mismatch", "envelope's signer")
    footer, card = trust.verify(signed)
    if card.holder != envelope["source"]:
        raise Refused("wrong-signer", "footer")
    if footer["envelope"] != h(envelope["suite"], envelope_bytes):
        raise Refused("footer-mismatch", "envelope")
    if footer["payloadBytes"] != envelope["payloadBytes"]:
        raise Refused("footer-mismatch", "payload")
    return footer["root"], card, signed


def bundle(trust, data):
    """7.1"""
    cursor = Cursor(data)
    # 7.1.1
    if cursor.take(8, "magic") != b"TRILOCK1":
        raise Refused("not-a-bundle")
    envelope_bytes = cursor.part("envelope")
    # 7.1.2
    envelope = envelope_of(envelope_bytes)
    # 7.1.3
    statement, digest, entries, keys = journey_of(trust, envelope)
    # 7.1.4
    tree, left = Tree(envelope["suite"]), envelope["payloadBytes"]
    while left:
        chunk = cursor.take(min(left, SEALED_CHUNK), "payload")
        tree.leaf(chunk)
        left -= len(chunk)
    # 7.1.5, 7.1.6
    footer_bytes = cursor.part("footer")
    root, card, signed = footer_of(trust, envelope, envelope_bytes, footer_bytes)
    if root != tree.root():
        raise Refused("footer-mismatch", "payload")
    # 7.1.7
    cursor.end()
    return {
        "envelope": envelope,
        "statement": statement,
        "digest": digest,
        "entries": entries,
        "keys": [*keys, card],
        "footer": signed,
        "id": h(envelope["suite"], envelope_bytes),
    }


def evidence(trust, data):
    """8.1"""
    # 8.1.1
    if data[:8] != b"TRIPROOF":
        raise Refused("not-evidence")
    cursor = Cursor(data[8:])
    try:
        envelope_bytes, footer_bytes = cursor.part("envelope"), cursor.part("footer")
        (count,) = struct.unpack(">H", cursor.take(2, "receipts"))
        receipts = [cursor.part("receipt") for _ in range(count if count <= 64 else 0)]
        if count <= 64:
            cursor.end()
    except Refused:
        raise Refused("malformed", "evidence") from None
    if count > 64:
        raise Refused("over-limit", "number of receipts")
    # 8.1.2
    envelope = envelope_of(envelope_bytes)
    statement, digest, entries, keys = journey_of(trust, envelope)
    _, card, signed = footer_of(trust, envelope, envelope_bytes, footer_bytes)
    # 8.1.3
    told, signers = [], []
    for receipt_bytes in receipts:
        receipt, signer = trust.verify(Signed("receipt", receipt_bytes), "node")
        if receipt["parcel"] != statement["parcel"] or receipt["statement"] != digest:
            raise Refused("disagree")
        told.append(receipt)
        signers.append(signer)
    return {
        "envelope": envelope,
        "statement": statement,
        "digest": digest,
        "entries": entries,
        "receipts": told,
        "receipt_keys": signers,
        "id": h(envelope["suite"], envelope_bytes),
        "keys": [*keys, card],
        "footer": signed,
    }


def one_receipt(trust, data):
    """9.1.1"""
    return trust.verify(Signed("receipt", data), "node")[0]


def gap_report(trust, data):
    """9.1.2"""
    return trust.verify(Signed("gap report", data), "node")[0]


def batch(trust, data):
    """9.1.3"""
    signed = Signed("receipt batch", data)
    read, _ = trust.verify(signed, "source")
    heads.statement(trust, read["stated"], read["source"], read["target"])
    if len(read["receipts"]) > 1_000:
        raise Refused("over-limit", "receipts")
    told = [one_receipt(trust, each) for each in read["receipts"]]
    for each in read["gapReports"]:
        gap_report(trust, each)
    return {**read, "told": told}


def waybill(trust, data):
    """10.1.1, and the limits of section 10. Gives what it says and its digest."""
    signed = Signed("waybill", data)
    bill, _ = trust.verify(signed, "source")
    if len(bill["lines"]) > 65_536:
        raise Refused("over-limit", "lines")
    names = [line_name(line) for line in bill["lines"]]
    if len(set(names)) != len(names) or sum(line["size"] for line in bill["lines"]) >= 2**64:
        raise Refused("disagree")
    heads.statement(trust, bill["stated"], bill["source"], bill["target"])
    return bill, signed


def line_name(line):
    return line["id"].hex() + (".bundle" if line["kind"] == 1 else ".receipts")


def approval(trust, data):
    """10.1.3, as far as it can be said without the waybill."""
    return trust.verify(Signed("approval", data), "person", role="approver")[0]


def volume(trust, data):
    """10.3.1, and of the other steps what can be said without the waybill."""
    said, card = trust.verify(Signed("volume", data), "person", role=None)
    if card.role == "node":
        raise Refused("wrong-signer", "volume")
    if not 1 <= said["number"] <= said["count"]:
        raise Refused("disagree")
    if len(said["pieces"]) > 66_560:
        raise Refused("over-limit", "pieces")
    shape(said)
    return said


def sectors_of(size):
    return -(-size // 2_048)


def shape(said):
    """10.4: the numbers of the parity. Gives S, K, B, R; nothing where there is none."""
    blocks, recovery = said["blocks"], said["recovery"]
    if blocks == recovery == 0:
        return None
    count = sum(sectors_of(piece["size"]) for piece in said["pieces"])
    chunks = -(-count // 16)
    if not (1 <= count <= 1 << 26 and 1 <= blocks <= chunks and recovery >= 16 and recovery % 16 == 0):
        raise Refused("disagree")
    data = 16 * -(-chunks // blocks)
    if recovery > data or data + (1 << (recovery - 1).bit_length()) > 32_768 or count + blocks * recovery > 1 << 27:
        raise Refused("disagree")
    return count, data, blocks, recovery


def piece_name(bill, piece):
    """10.3.5: the file of a piece, where its line is on the waybill."""
    if piece["line"] >= len(bill["lines"]):
        raise Refused("disagree", "volume")
    whole = line_name(bill["lines"][piece["line"]])
    return whole if piece["part"] == 0 else f"{whole}.{piece['part']:03}"


def volume_of(trust, data, bill, digest):
    """10.3.1 to 10.3.6: what lies in a trip's folder, by name."""
    said = volume(trust, data)
    if (said["waybill"], said["trip"], said["person"]) != (digest, bill["trip"], bill["exporter"]):
        raise Refused("disagree", "volume")
    names = [piece_name(bill, piece) for piece in said["pieces"]]
    if any(after <= before for before, after in zip(names, names[1:])):
        raise Refused("disagree", "volume")
    for piece in said["pieces"]:
        line = bill["lines"][piece["line"]]
        if piece["part"] == 0:
            fits = (piece["offset"], piece["size"], piece["digest"]) == (0, line["size"], line["digest"])
        else:
            fits = piece["part"] <= 999 and piece["size"] > 0 and piece["offset"] + piece["size"] <= line["size"]
        if not fits:
            raise Refused("disagree", "volume")
    if said["count"] == 1:
        reached = [None] * len(bill["lines"])
        for piece in said["pieces"]:
            if (reached[piece["line"]] or 0) != piece["offset"]:
                raise Refused("disagree", "volume")
            reached[piece["line"]] = piece["offset"] + piece["size"]
        if reached != [line["size"] for line in bill["lines"]]:
            raise Refused("disagree", "volume")
    return said, dict(zip(names, said["pieces"]))


def parity_names(said):
    """10.4: the files of the parity."""
    found = shape(said)
    if found is None:
        return []
    _, _, blocks, recovery = found
    files = -(-blocks * recovery * 2_048 // ((4 << 30) - 65_536))
    return [f"parity.{file + 1:03}" for file in range(files)] + ["0.sectors", "m.sectors", "z.sectors"]


def request(trust, data):
    """Section 11, but for the clock."""
    read, card = trust.verify(Signed("request", data), "person", role=None)
    if card.role == "node":
        raise Refused("wrong-signer", "request")
    if len(read["arguments"]) > 64:
        raise Refused("over-limit", "arguments")
    return read


def rollover(trust, data):
    """4.2: one key follows another."""
    signed = Signed("rollover", data)
    # 4.2.1
    said, _ = trust.verify(signed, "node")
    # 4.2.2
    old = trust.cards.get(said["old"])
    if old is None:
        raise Refused("unknown-key", "rollover")
    if (old.holder, old.role, old.use) != (said["node"], "node", USES[said["use"]]):
        raise Refused("wrong-signer", "rollover")
    # 4.2.3
    if old.use == "sign" and signed.signer != said["old"]:
        raise Refused("wrong-signer", "rollover")
    # 4.2.4
    try:
        public(said["key"], old.use, old.suite)
    except ValueError:
        raise Refused("disagree") from None
    if h(old.suite, said["key"]) == said["old"]:
        raise Refused("disagree")
    # 4.2.5
    if said["until"] < said["at"] or said["until"] >= 253402300800000:
        raise Refused("disagree")
    # 4.2.6
    day = datetime.datetime.fromtimestamp(said["at"] // 1000, datetime.timezone.utc).strftime("%Y-%m-%d")
    for card in filter(None, (old, trust.cards.get(signed.signer))):
        if card.words.get("Until", day) < day:
            raise Refused("disagree")
    # 4.2.7
    known = trust.cards.get(h(old.suite, said["key"]))
    if known is not None and (known.holder, known.role, known.use) != (old.holder, old.role, old.use):
        raise Refused("disagree")
    return said


def is_path(path):
    """Section 6: relative, of ordinary parts."""
    parts = path.split("/")
    return (
        0 < len(path.encode()) <= 512
        and "\\" not in path
        and not any(unicodedata.category(letter) == "Cc" for letter in path)
        and not any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
        and len(parts) <= 32
    )


def manifest(data):
    """6.2: what is sealed with the content, once it is in clear."""
    read = parse("manifest", data, MANIFEST, 12 << 20)
    # 6.2.1
    if read["version"] != 1:
        raise Refused("version", "manifest")
    # 6.2.2
    if len(read["files"]) > 50_000:
        raise Refused("over-limit", "number of files")
    if len(read["labels"]) > 32:
        raise Refused("over-limit", "number of labels")
    if any(len(label["value"].encode()) > 256 for label in read["labels"]):
        raise Refused("over-limit", "length of a label")
    # 6.2.3
    paths = [file["path"] for file in read["files"]]
    above = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
    if "/" in read["name"] or not is_path(read["name"]) or not all(map(is_path, paths)):
        raise Refused("disagree")
    if not read["folder"] and paths != [read["name"]]:
        raise Refused("disagree")
    if len(set(paths)) != len(paths) or above & set(paths) or sum(file["size"] for file in read["files"]) >= 2**64:
        raise Refused("disagree")
    return read


def endorsement(trust, data):
    """10.2, as far as it can be said without the rule file."""
    read, card = trust.verify(Signed("endorsement of rules", data), "person", role=None)
    if card.role not in ("security", "approver"):
        raise Refused("wrong-signer", "endorsement of rules")
    return read


def introduction(trust, data):
    """13.1: the signed part of a beacon."""
    read, _ = trust.verify(Signed("link key", data), "source")
    return read


def folder_beacon(trust, data):
    """13.2"""
    read, _ = trust.verify(Signed("folder beacon", data), "source")
    if len(read["pulse"]["next"]) > 8:
        raise Refused("over-limit", "epochs")
    return read


def backup(trust, data):
    """12a.1"""
    cursor = Cursor(data)
    if cursor.take(8, "magic") != b"TRILBACK":
        raise Refused("not-a-bundle")
    signed = Signed("head of a backup", cursor.part("head"))
    head, _ = trust.verify(signed, "node")
    tree, read = Tree(head["suite"]), 0
    while True:
        (length,) = struct.unpack(">I", cursor.take(4, "payload"))
        if length > 65_536:
            raise Refused("too-large", "chunk")
        chunk = cursor.take(length + 16, "payload")
        tree.leaf(chunk)
        read += len(chunk)
        if length < 65_536:
            break
    foot_signed = Signed("foot of a backup", cursor.part("foot"))
    if foot_signed.signer != signed.signer:
        raise Refused("footer-mismatch", "signer of the head")
    foot, card = trust.verify(foot_signed)
    if card.holder != head["node"]:
        raise Refused("wrong-signer", "foot of a backup")
    if foot["head"] != h(head["suite"], signed.data):
        raise Refused("footer-mismatch", "head")
    if foot["bytes"] != read or foot["root"] != tree.root():
        raise Refused("footer-mismatch", "payload")
    cursor.end()
    return head
