"""Heads of ledgers that a neighbour was told of, and the papers that begin a log anew (FORMAT.md 12.1 and 12.2)."""

from digests import consistent
from papers import Refused, Signed


def statement(trust, data, node=None, target=None):
    """12.1: what a statement proves by itself."""
    # 12.1.1
    stated, card = trust.verify(Signed("ledger head", data))
    if card.holder != (node or stated["node"]) or stated["node"] != card.holder:
        raise Refused("wrong-signer", "ledger head")
    # 12.1.2
    links, starts, head = stated["links"], stated["starts"], stated["head"]
    if len(links) > 4 or len(starts) > 2 or any(len(link["proof"]) > 128 for link in links):
        raise Refused("contradiction", "form")
    # 12.1.3
    for link in links:
        start = link["from"]
        if start["log"] != head["log"] or not consistent(
            stated["suite"], start["size"], start["root"], head["size"], head["root"], link["proof"]
        ):
            raise Refused("contradiction", "proof")
    # 12.1.4
    if head["log"] != 1:
        try:
            log_starts(trust, starts, stated["node"], head["log"])
        except Refused:
            raise Refused("contradiction", "log") from None
    # 12.1.5
    if target is not None and stated["target"] != target:
        raise Refused("disagree")
    return stated


def one_start(trust, data):
    """12.2, of one of the two papers."""
    start, card = trust.verify(Signed("start of a log", data), role=None)
    if card.holder != {"node": start["node"], "operator": start["person"]}.get(card.role):
        raise Refused("wrong-signer", "start of a log")
    return start


def log_starts(trust, papers, node, log):
    """12.2: the same words, signed by the node and by an operator who is named in them."""
    signers, bodies, start = set(), set(), None
    for data in papers:
        signed = Signed("start of a log", data)
        start, card = trust.verify(signed, role=None)
        named = {"node": start["node"], "operator": start["person"]}.get(card.role)
        if card.holder != named or (start["node"], start["log"]) != (node, log):
            raise Refused("contradiction", "log")
        signers.add(card.role)
        bodies.add(signed.bytes)
    if signers != {"node", "operator"} or len(bodies) != 1:
        raise Refused("contradiction", "log")
    return start
