"""Bundles, evidence and the other files of FORMAT.md, each walked by the steps of its section."""

import struct

from digests import Tree, consistent, h
from papers import CROSSINGS, ENVELOPE, OBJECT_MAX, Refused, Signed, parse

SEALED_CHUNK = 65_536 + 16
CHUNKS_MAX = 2**32 - 1


class Cursor:
    """A file's bytes, taken from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count, part):
        out = self.data[self.at : self.at + count]
        if len(out) != count:
            raise Refused("cut-short", part)
        self.at += count
        return out

    def part(self, part, limit=OBJECT_MAX):
        (length,) = struct.unpack(">I", self.take(4, part))
        if length > limit:
            raise Refused("too-large", part)
        return self.take(length, part)

    def end(self):
        if self.at != len(self.data):
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
    return footer["root"], card


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
    payload = cursor.take(envelope["payloadBytes"], "payload")
    tree = Tree(envelope["suite"])
    for start in range(0, len(payload), SEALED_CHUNK):
        tree.leaf(payload[start : start + SEALED_CHUNK])
    # 7.1.5, 7.1.6
    footer_bytes = cursor.part("footer")
    root, card = footer_of(trust, envelope, envelope_bytes, footer_bytes)
    if root != tree.root():
        raise Refused("footer-mismatch", "payload")
    # 7.1.7
    cursor.end()
    return {"envelope": envelope, "statement": statement, "digest": digest, "entries": entries, "keys": [*keys, card]}


def evidence(trust, data):
    """8.1"""
    cursor = Cursor(data)
    if cursor.take(8, "magic") != b"TRIPROOF":
        raise Refused("not-evidence")
    envelope_bytes, footer_bytes = cursor.part("envelope"), cursor.part("footer")
    (count,) = struct.unpack(">H", cursor.take(2, "receipts"))
    if count > 64:
        raise Refused("too-large", "receipts")
    receipts = [cursor.part("receipt") for _ in range(count)]
    cursor.end()
    envelope = envelope_of(envelope_bytes)
    statement, digest, entries, keys = journey_of(trust, envelope)
    _, card = footer_of(trust, envelope, envelope_bytes, footer_bytes)
    told = []
    for receipt_bytes in receipts:
        receipt = one_receipt(trust, receipt_bytes)
        if receipt["parcel"] != statement["parcel"] or receipt["statement"] != digest:
            raise Refused("disagree")
        told.append(receipt)
    return {
        "envelope": envelope,
        "statement": statement,
        "digest": digest,
        "entries": entries,
        "receipts": told,
        "keys": [*keys, card],
    }


def one_receipt(trust, data):
    """Section 9."""
    return trust.verify(Signed("receipt", data), "node")[0]


def head_statement(trust, data, node=None, target=None):
    """12.1: what verifies by itself."""
    stated, _ = trust.verify(Signed("head statement", data), "node")
    if node is not None and (stated["node"], stated["target"]) != (node, target):
        raise Refused("disagree")
    head = stated["head"]
    if len(stated["links"]) > 4:
        raise Refused("over-limit", "links")
    if len(stated["starts"]) > 2:
        raise Refused("over-limit", "starts")
    for link in stated["links"]:
        start = link["from"]
        if len(link["proof"]) > 128:
            raise Refused("over-limit", "proof")
        if start["log"] != head["log"] or not consistent(
            stated["suite"], start["size"], start["root"], head["size"], head["root"], link["proof"]
        ):
            raise Refused("bad-proof")
    if head["log"] == 1:
        if stated["starts"]:
            raise Refused("disagree")
    else:
        log_starts(trust, stated["starts"], stated["node"], head["log"])
    return stated


def log_starts(trust, papers, node, log):
    """12.2: the same words, by the node and by an operator who is named in them."""
    if len(papers) != 2:
        raise Refused("disagree")
    bodies, roles = set(), set()
    for data in papers:
        signed = Signed("log start", data)
        start, card = trust.verify(signed, role=None)
        if (start["node"], start["log"]) != (node, log):
            raise Refused("disagree")
        if card.holder != start["node" if card.role == "node" else "person"]:
            raise Refused("wrong-signer", "log start")
        roles.add(card.role)
        bodies.add(signed.bytes)
    if roles != {"node", "operator"} or len(bodies) != 1:
        raise Refused("disagree")
