"""As of when a signature counts (FORMAT.md 8.4): what the days on cards and the first witness say of it."""

import datetime

from papers import Signed

YEAR_10000 = 253402300800000


def day(at):
    """The day of a moment, by UTC. What no card can bear lies after every day of a card."""
    if at >= YEAR_10000:
        return "9999-12-31+"
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=at)).strftime("%Y-%m-%d")


def within(card, at):
    return card.first <= day(at) and (card.last is None or day(at) <= card.last)


def doubt(card, at, others):
    """What is in doubt about a signature, or None. `others` are the cards and times of those who name it."""
    # 8.4.1
    if day(at) < card.first:
        return "early"
    # 8.4.2
    if card.last is None:
        return None
    # 8.4.3
    if day(at) > card.last:
        return "late"
    # 8.4.4
    for other, seen in others:
        if other.holder != card.holder and within(other, seen) and day(seen) <= card.last:
            return None
    return "unwitnessed"


def notes(trust, what, proven, data):
    """Of every signature in a file that was proven."""
    out = []

    def ask(words, card, at, others=()):
        word = doubt(card, at, others)
        if word and f"{word} {words}" not in out:
            out.append(f"{word} {words}")

    def card(kind, signed):
        return trust.cards[Signed(kind, signed).signer]

    if what in ("bundle", "evidence"):
        way(proven, ask)
    elif what == "receipt batch":
        by = card(what, data)
        ask("batch", by, proven["at"])
        ask("ledger head", *head_of(trust, proven["stated"]))
        for kind in ("receipt", "gap report"):
            for signed in proven["receipts" if kind == "receipt" else "gapReports"]:
                ask(kind, card(kind, signed), Signed(kind, signed).body()["at"], [(by, proven["at"])])
    elif what == "waybill":
        ask("waybill", card(what, data), proven["at"])
        ask("ledger head", *head_of(trust, proven["stated"]))
    elif what in ALONE:
        words, time = ALONE[what]
        at = proven["pulse"]["at"] if what == "folder beacon" else proven[time]
        ask(words, card(what, data), at)
    return out


# What it is called, and the field that says when.
ALONE = {
    "receipt": ("receipt", "at"),
    "gap report": ("gap report", "at"),
    "approval": ("countersignature", "at"),
    "ledger head": ("ledger head", "at"),
    "request": ("request", "at"),
    "volume": ("volume", "at"),
    "rollover": ("rollover", "at"),
    "trust list": ("trust list", "at"),
    "start of a log": ("start of a log", "at"),
    "endorsement of rules": ("endorsement", "at"),
    "link key": ("introduction", "started"),
    "folder beacon": ("folder beacon", "pulse"),
}


def head_of(trust, data):
    signed = Signed("ledger head", data)
    return trust.cards[signed.signer], signed.body()["at"]


def way(proven, ask):
    envelope, statement, entries = proven["envelope"], proven["statement"], proven["entries"]
    origin, *hops, sealer = proven["keys"]
    receipts = list(zip(proven.get("receipts", []), proven.get("receipt_keys", [])))
    numbers = [envelope[word] for word in ("bundle", "crossing", "epoch", "sequence")]
    for_it = [
        (card, said["at"])
        for said, card in receipts
        if [said[word] for word in ("bundle", "crossing", "epoch", "sequence")] == numbers
    ]
    passed = [(card, entry["at"]) for entry, card in zip(entries, hops)]
    ask("foot", sealer, envelope["sealed"], for_it)
    ask("statement", origin, statement["accepted"], passed + [(card, said["at"]) for said, card in receipts])
    for place, (card, at) in enumerate(passed, 1):
        ask(f"hop {place}", card, at, passed[place:] + for_it)
    for said, card in receipts:
        ask("receipt", card, said["at"])
