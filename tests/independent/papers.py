"""Every signed object of FORMAT.md: its layout, its domain, its limit, and the steps of 4.1 that each one passes."""

import base64
import re

import curves
import der
from der import boolean, codes, group, many, name, number, octets, tagged, text
from digests import GM, STD, h

# Section 15.
SUITES = {STD: "std", GM: "gm"}
CROSSINGS = {1: (1, 2), 2: (2, 1), 3: (2, 3), 4: (3, 2), 5: (2, 2)}  # zones: from, into
PRIORITIES, KINDS, VERDICTS, OUTCOMES = range(1, 4), range(1, 3), range(1, 5), range(1, 6)
REASONS = range(1, 25)
EVENTS = [*range(1, 45), *range(48, 54), 60, 61]
ZONES = {"internet": 1, "extranet": 2, "intranet": 3}
USES = {1: "sign", 2: "seal", 3: "link"}
ROLES = ("node", "operator", "approver", "security", "key-admin", "auditor")

OBJECT_MAX = 1 << 20
CARD_MAX = 16 << 10


class Refused(Exception):
    """Something that does not verify: one word for what is wrong, and where."""

    def __init__(self, word, what=""):
        super().__init__(f"{word} {what}".strip())


# Layouts, in the order of FORMAT.md.

VERSION = der.Field("version", 0x02, der.below(255))
HEAD = [number("log"), number("size"), octets("root", 32)]
RANGE = [number("from"), number("to")]
EPOCH_GAPS = [
    number("epoch"),
    number("through"),
    many("missing", 0x30, lambda content: der.fields(content, RANGE)),
]
LABEL = [name("name"), text("value")]

SIGNED = [codes("suite", SUITES), octets("signer", 32), octets("body"), octets("signature")]
STATEMENT = [
    VERSION,
    octets("parcel", 16),
    name("origin"),
    name("route"),
    name("target"),
    name("parcelType"),
    codes("priority", PRIORITIES),
    number("accepted"),
    octets("manifest", 32),
]
CUSTODY = [
    VERSION,
    octets("statement", 32),
    octets("previous", 32),
    name("node"),
    codes("crossing", CROSSINGS),
    text("rules"),
    codes("verdict", VERDICTS),
    number("at"),
]
ENVELOPE = [
    VERSION,
    codes("suite", SUITES),
    octets("bundle", 16),
    codes("crossing", CROSSINGS),
    number("epoch"),
    number("sequence"),
    name("source"),
    name("target"),
    codes("priority", PRIORITIES),
    number("payloadBytes"),
    number("sealed"),
    octets("signer", 32),
    octets("recipient", 32),
    octets("wrappedKey"),
    octets("keptKey"),
    octets("statement"),
    many("custody", 0x04, bytes),
]
FOOTER = [VERSION, octets("envelope", 32), octets("root", 32), number("payloadBytes")]
RECEIPT = [
    VERSION,
    octets("parcel", 16),
    octets("statement", 32),
    name("node"),
    codes("outcome", OUTCOMES),
    codes("reason", REASONS, optional=True),
    octets("bundle", 16),
    codes("crossing", CROSSINGS),
    number("epoch"),
    number("sequence"),
    number("at"),
    group("head", HEAD),
]
GAP_REPORT = [
    VERSION,
    name("node"),
    codes("crossing", CROSSINGS),
    number("at"),
    many("epochs", 0x30, lambda content: der.fields(content, EPOCH_GAPS)),
]
BATCH = [
    VERSION,
    octets("batch", 16),
    codes("crossing", CROSSINGS),
    name("source"),
    name("target"),
    number("epoch"),
    number("sequence"),
    number("at"),
    octets("stated"),
    many("receipts", 0x04, bytes),
    many("gapReports", 0x04, bytes),
    many("withdrawn", 0x30, lambda content: der.fields(content, EPOCH_GAPS)),
]
LINE = [
    codes("kind", KINDS),
    octets("id", 16),
    number("size"),
    octets("digest", 32),
    number("epoch"),
    number("sequence"),
]
WAYBILL = [
    VERSION,
    number("trip"),
    codes("crossing", CROSSINGS),
    name("source"),
    name("target"),
    name("medium"),
    name("carrier"),
    name("exporter"),
    der.Field("approvals", 0x02, der.below(255)),
    number("at"),
    octets("stated"),
    many("lines", 0x30, lambda content: der.fields(content, LINE)),
]
APPROVAL = [VERSION, octets("waybill", 32), number("trip"), name("person"), number("at")]
PIECE = [number("line"), number("part"), number("offset"), number("size"), octets("digest", 32)]
VOLUME = [
    VERSION,
    octets("waybill", 32),
    number("trip"),
    name("person"),
    number("at"),
    der.Field("number", 0x02, der.below(255)),
    der.Field("count", 0x02, der.below(255)),
    number("blocks"),
    number("recovery"),
    many("pieces", 0x30, lambda content: der.fields(content, PIECE)),
]
ENDORSEMENT = [
    VERSION,
    codes("crossing", CROSSINGS),
    text("rules"),
    octets("digest", 32),
    name("person"),
    number("at"),
]
REQUEST = [
    VERSION,
    octets("id", 32),
    name("node"),
    name("action"),
    name("person"),
    number("at"),
    many("arguments", 0x30, lambda content: der.fields(content, LABEL)),
]
ROLLOVER = [
    VERSION,
    name("node"),
    codes("use", USES),
    octets("old", 32),
    octets("key"),
    number("at"),
    number("until"),
]
TRUST_LIST = [VERSION, name("person"), number("at"), many("cards", 0x04, der.fixed(32))]
FILE_ENTRY = [
    text("path"),
    tagged("original", 0, bytes),
    number("size"),
    octets("digest", 32),
    boolean("executable"),
    number("modified"),
]
MANIFEST = [
    octets("salt", 32),
    VERSION,
    text("name"),
    boolean("folder"),
    many("files", 0x30, lambda content: der.fields(content, FILE_ENTRY)),
    many("labels", 0x30, lambda content: der.fields(content, LABEL)),
]
LINK = [group("from", HEAD), many("proof", 0x04, der.fixed(32))]
HEAD_STATEMENT = [
    VERSION,
    name("node"),
    name("target"),
    codes("suite", SUITES),
    number("turn"),
    number("at"),
    group("head", HEAD),
    many("links", 0x30, lambda content: der.fields(content, LINK)),
    group("held", HEAD, place=0),
    many("starts", 0x04, bytes),
]
LOG_START = [VERSION, name("node"), number("log"), group("previous", HEAD), name("person"), number("at")]
RECORD = [
    VERSION,
    number("at"),
    codes("event", EVENTS),
    tagged("parcel", 0, der.fixed(16)),
    tagged("bundle", 1, der.fixed(16)),
    tagged("origin", 2, der.name_of),
    tagged("route", 3, der.name_of),
    tagged("parcelType", 4, der.name_of),
    tagged("peer", 5, der.name_of),
    tagged("crossing", 6, der.code(CROSSINGS)),
    tagged("epoch", 7, der.number_of),
    tagged("sequence", 8, der.number_of),
    tagged("through", 9, der.number_of),
    tagged("digest", 10, der.fixed(32)),
    tagged("outcome", 11, der.code(OUTCOMES)),
    tagged("reason", 12, der.code(REASONS)),
    tagged("person", 13, der.name_of),
    tagged("trip", 14, der.number_of),
    tagged("bytes", 15, der.number_of),
    tagged("local", 16, der.fixed(32)),
    group("head", HEAD, place=17),
    tagged("medium", 18, der.name_of),
]
LOCAL = [
    text("name", optional=True),
    many("labels", 0x30, lambda content: der.fields(content, LABEL)),
]
INTRODUCTION = [
    VERSION,
    codes("crossing", CROSSINGS),
    name("source"),
    name("target"),
    codes("suite", SUITES),
    der.Field("epoch", 0x02, der.below(2**32 - 1)),
    number("started"),
    octets("wrapped"),
]
NEXT = [number("epoch"), number("next")]
PULSE = [number("at"), many("next", 0x30, lambda content: der.fields(content, NEXT)), group("head", HEAD)]
FOLDER_BEACON = [
    VERSION,
    codes("crossing", CROSSINGS),
    name("source"),
    name("target"),
    der.Field("epoch", 0x02, der.below(2**32 - 1)),
    number("number"),
    group("pulse", PULSE),
]
BACKUP_HEAD = [
    VERSION,
    codes("suite", SUITES),
    octets("id", 16),
    name("node"),
    number("at"),
    der.Field("stateVersion", 0x02, der.below(2**32 - 1)),
    group("ledger", HEAD),
    octets("recipient", 32),
    octets("wrappedKey"),
]
BACKUP_FOOT = [VERSION, octets("head", 32), octets("root", 32), number("bytes")]

# What is signed: section 4. Name in words: domain, limit of the whole, layout of the body.
OBJECTS = {
    "parcel statement": ("parcel-statement", OBJECT_MAX, STATEMENT),
    "custody entry": ("custody-entry", OBJECT_MAX, CUSTODY),
    "footer": ("footer", OBJECT_MAX, FOOTER),
    "receipt": ("receipt", OBJECT_MAX, RECEIPT),
    "receipt batch": ("receipt-batch", OBJECT_MAX, BATCH),
    "gap report": ("gap-report", OBJECT_MAX, GAP_REPORT),
    "waybill": ("waybill", 10 << 20, WAYBILL),
    "approval": ("approval", OBJECT_MAX, APPROVAL),
    "volume": ("volume", 10 << 20, VOLUME),
    "endorsement of rules": ("endorsement", 4 << 10, ENDORSEMENT),
    "request": ("request", OBJECT_MAX, REQUEST),
    "rollover": ("rollover", 4 << 10, ROLLOVER),
    "trust list": ("trust-list", OBJECT_MAX, TRUST_LIST),
    "link key": ("link-key", 800, INTRODUCTION),
    "folder beacon": ("folder-beacon", 4096, FOLDER_BEACON),
    "ledger head": ("head", 32 << 10, HEAD_STATEMENT),
    "start of a log": ("log-start", 4 << 10, LOG_START),
    "head of a backup": ("backup-head", OBJECT_MAX, BACKUP_HEAD),
    "foot of a backup": ("backup-foot", OBJECT_MAX, BACKUP_FOOT),
}


def parse(what, data, layout, limit=OBJECT_MAX):
    """Canonical DER within its limit, or a refusal by the object's name."""
    if len(data) > limit:
        raise Refused("too-large", what)
    try:
        return der.whole(data, layout)
    except der.Malformed:
        raise Refused("malformed", what) from None


class Signed:
    """A signed object as it was received; nothing of it is believed yet."""

    def __init__(self, what, data):
        self.what, self.data = what, data
        self.domain, self.limit, self.layout = OBJECTS[what]
        # 4.1.1, 4.1.2
        read = parse(what, data, SIGNED, self.limit)
        self.suite, self.signer = read["suite"], read["signer"]
        self.bytes, self.signature = read["body"], read["signature"]

    def digest(self):
        return h(self.suite, self.data)

    def body(self):
        """4.1.6"""
        return parse(self.what, self.bytes, self.layout, self.limit)


# ---- key cards: section 3 --------------------------------------------------------------------------------------------

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
ED25519, X25519 = bytes.fromhex("302a300506032b6570032100"), bytes.fromhex("302a300506032b656e032100")
SM2 = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")
WORDS = ("Zone", "Holder", "Role", "Use", "Suite", "From", "Until", "Fingerprint")


def public(spki, use, suite):
    """The key inside an SPKI in its one encoding: section 3."""
    kinds = {"sign": (ED25519, SM2), "seal": (X25519, SM2), "link": (ED25519, ED25519)}[use]
    start = kinds[suite - 1]
    if not spki.startswith(start) or len(spki) != len(start) + (64 if start == SM2 else 32):
        raise ValueError("the key is of another kind than its use and suite")
    key = spki[len(start) :]
    if start == SM2 and not curves.on_curve(int.from_bytes(key[:32], "big"), int.from_bytes(key[32:], "big")):
        raise ValueError("the key is no point of the curve")
    if start == ED25519:
        point = curves.ed_point(key)
        if point is None or curves.ed_small(point):
            raise ValueError("the key is no point of its curve, or of small order")
    return key


class Card:
    """Who holds a key, and what it may do."""

    def __init__(self, data):
        if len(data) > CARD_MAX:
            raise ValueError("a card over its limit")
        head, _, rest = data.decode("utf-8").partition("-----BEGIN PUBLIC KEY-----")
        words = {}
        for line in filter(None, (line.strip() for line in head.splitlines())):
            word, _, value = line.partition(":")
            if word not in WORDS or word in words:
                raise ValueError(f"the word {word} is unknown or repeated")
            words[word] = value.strip()
        body, end, behind = rest.partition("-----END PUBLIC KEY-----")
        if not end or behind.strip():
            raise ValueError("no public key, or more than one")
        self.words = words
        self.spki = base64.b64decode("".join(body.split()), validate=True)
        self.holder = der.name_of(words["Holder"].encode())
        self.zone, self.role, self.use = ZONES[words["Zone"]], words["Role"], words["Use"]
        self.suite = {"std": STD, "gm": GM}[words["Suite"]]
        if self.role not in ROLES or self.use not in ("sign", "seal", "link"):
            raise ValueError("a role or use that is none")
        if not all(DAY.match(words[word]) for word in ("From", "Until") if word in words or word == "From"):
            raise ValueError("a day that is none")
        self.first, self.last = words["From"], words.get("Until")
        self.public = public(self.spki, self.use, self.suite)
        self.id = h(self.suite, self.spki)
        if words["Fingerprint"].replace(" ", "") != self.id.hex():
            raise ValueError("the fingerprint is another key's")


class Trust:
    """The cards that somebody put into a folder, and what was verified with them."""

    def __init__(self):
        self.cards = {}
        self.seen = {}

    def add(self, data):
        card = Card(data)
        known = self.cards.setdefault(card.id, card)
        if any(known.words.get(word) != card.words.get(word) for word in WORDS if word != "Fingerprint"):
            raise ValueError("two cards of one key that say different things")
        return card

    def _holds(self, signed, card):
        """4.1.5, remembered: the same statement stands in many files."""
        message = b"trilock-v1-" + signed.domain.encode() + b"\x00" + signed.bytes
        key = (card.id, h(STD, message), signed.signature)
        if key not in self.seen:
            verify = curves.sm2 if card.suite == GM else curves.ed25519
            self.seen[key] = verify(card.public, message, signed.signature)
        return self.seen[key]

    def verify(self, signed, holder=None, role="node"):
        """4.1, steps 3 to 7. `holder` is the field of the body that names who signs. Gives the body and the card."""
        card = self.cards.get(signed.signer)
        # 4.1.3
        if card is None:
            raise Refused("unknown-key", signed.what)
        if card.use != "sign":
            raise Refused("wrong-signer", signed.what)
        # 4.1.4
        if card.suite != signed.suite:
            raise Refused("wrong-suite", signed.what)
        # 4.1.5
        if not self._holds(signed, card):
            raise Refused("bad-signature", signed.what)
        # 4.1.6
        body = signed.body()
        # 4.1.7
        if body["version"] != 1:
            raise Refused("version", signed.what)
        # 4.1.8
        if (role and card.role != role) or (holder and body[holder] != card.holder):
            raise Refused("wrong-signer", signed.what)
        return body, card
