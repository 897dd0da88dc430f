"""Holds the layouts of this verifier against the ASN.1 of FORMAT.md, field by field: name, tag, optional or not."""

import re

import papers

LAYOUTS = {
    "Head": papers.HEAD,
    "Range": papers.RANGE,
    "EpochGaps": papers.EPOCH_GAPS,
    "Label": papers.LABEL,
    "Signed": papers.SIGNED,
    "ParcelStatement": papers.STATEMENT,
    "CustodyEntry": papers.CUSTODY,
    "Manifest": papers.MANIFEST,
    "FileEntry": papers.FILE_ENTRY,
    "Envelope": papers.ENVELOPE,
    "Footer": papers.FOOTER,
    "Receipt": papers.RECEIPT,
    "GapReport": papers.GAP_REPORT,
    "ReceiptBatch": papers.BATCH,
    "Waybill": papers.WAYBILL,
    "WaybillLine": papers.LINE,
    "Approval": papers.APPROVAL,
    "Volume": papers.VOLUME,
    "Piece": papers.PIECE,
    "Endorsement": papers.ENDORSEMENT,
    "Request": papers.REQUEST,
    "Rollover": papers.ROLLOVER,
    "TrustList": papers.TRUST_LIST,
    "HeadStatement": papers.HEAD_STATEMENT,
    "HeadLink": papers.LINK,
    "LogStart": papers.LOG_START,
    "Record": papers.RECORD,
    "Local": papers.LOCAL,
    "Introduction": papers.INTRODUCTION,
    "NextNumber": papers.NEXT,
    "Pulse": papers.PULSE,
    "FolderBeacon": papers.FOLDER_BEACON,
    "BackupHead": papers.BACKUP_HEAD,
    "BackupFoot": papers.BACKUP_FOOT,
}
PRIMITIVES = {"INTEGER": 0x02, "OCTET": 0x04, "UTF8String": 0x0C, "BOOLEAN": 0x01, "SEQUENCE": 0x30}


def definitions(page):
    """Every type of the page: its name, and what stands behind the arrow."""
    blocks = re.findall(r"^```asn1\n(.*?)^```", page, re.M | re.S)
    text = re.sub(r"--[^\n]*", "", "\n".join(blocks))
    return {
        name: " ".join(body.split())
        for name, body in re.findall(r"^(\w+)\s*::=\s*(.*?)(?=^\w+\s*::=|\Z)", text, re.M | re.S)
    }


def tag(word, types):
    """The universal tag of a type."""
    first = re.match(r"\w+", word)[0]
    if first in PRIMITIVES:
        return PRIMITIVES[first]
    return tag(types[first], types)


def differences(page):
    types = definitions(page)
    out = [f"{name} has no layout" for name, body in types.items() if body.startswith("SEQUENCE {") and name not in LAYOUTS]
    for name, layout in LAYOUTS.items():
        inside = re.match(r"SEQUENCE \{(.*)\}\Z", types.get(name, ""))
        if not inside:
            out.append(f"{name} is not on the page")
            continue
        stated = []
        for field in re.split(r",(?![^(]*\))", inside[1]):
            field = field.strip()
            match = re.match(r"(\w+)\s+(?:\[(\d+)\]\s+IMPLICIT\s+)?(.*)\Z", field)
            word, place, kind = match[1], match[2], match[3]
            universal = tag(kind, types)
            number = universal if place is None else (0xA0 if universal == 0x30 else 0x80) | int(place)
            stated.append((word, number, "OPTIONAL" in kind))
        read = [(field.name, field.tag, field.optional) for field in layout]
        if stated != read:
            out.append(f"{name}: the page says {stated}, the verifier reads {read}")
    return out
