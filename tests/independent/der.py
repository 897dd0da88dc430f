"""Strict DER (X.690) as FORMAT.md section 1 asks: one encoding, and everything else refused.

A layout is a list of fields in order. What is read is a dict; nothing is ever encoded anew.
"""

import re


class Malformed(Exception):
    """Not the one encoding of anything that FORMAT.md knows."""


class Reader:
    """Walks the bytes of one SEQUENCE."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def done(self):
        return self.at == len(self.data)

    def peek(self):
        return None if self.done() else self.data[self.at]

    def take(self, tag):
        """The content behind this very tag."""
        data, at = self.data, self.at
        if at + 2 > len(data) or data[at] != tag:
            raise Malformed("another tag")
        length = data[at + 1]
        at += 2
        if length >= 0x80:
            count = length & 0x7F
            if count == 0 or count > 4 or at + count > len(data):
                raise Malformed("length")
            length = int.from_bytes(data[at : at + count], "big")
            if length < 0x80 or length >> (8 * (count - 1)) == 0:
                raise Malformed("a length that is not minimal")
            at += count
        if at + length > len(data):
            raise Malformed("length beyond the end")
        self.at = at + length
        return data[at : at + length]


def number_of(content):
    """An INTEGER (0..18446744073709551615)."""
    if not content:
        raise Malformed("an INTEGER of no bytes")
    if content[0] >= 0x80:
        raise Malformed("negative")
    if len(content) > 1 and content[0] == 0 and content[1] < 0x80:
        raise Malformed("needless zero")
    if len(content) > 9 or (len(content) == 9 and content[0] != 0):
        raise Malformed("over 64 bits")
    return int.from_bytes(content, "big")


def text_of(content):
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None


NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}\Z")


def name_of(content):
    text = text_of(content)
    if not NAME.match(text):
        raise Malformed("not a name")
    return text


def fixed(count):
    def of(content):
        if len(content) != count:
            raise Malformed(f"not {count} bytes")
        return content

    return of


def flag_of(content):
    if content not in (b"\x00", b"\xff"):
        raise Malformed("BOOLEAN")
    return content == b"\xff"


def code(table):
    def of(content):
        value = number_of(content)
        if value not in table:
            raise Malformed("a code outside its table")
        return value

    return of


def below(limit):
    def of(content):
        value = number_of(content)
        if value > limit:
            raise Malformed("over the range of the field")
        return value

    return of


class Field:
    """One field: its name, its tag, what reads its content, and whether it may be absent."""

    def __init__(self, name, tag, of, optional=False):
        self.name, self.tag, self.of, self.optional = name, tag, of, optional


def number(name, optional=False):
    return Field(name, 0x02, number_of, optional)


def codes(name, table, optional=False):
    return Field(name, 0x02, code(table), optional)


def octets(name, count=None):
    return Field(name, 0x04, fixed(count) if count else bytes)


def name(field, optional=False):
    return Field(field, 0x0C, name_of, optional)


def text(field, optional=False):
    return Field(field, 0x0C, text_of, optional)


def boolean(field):
    return Field(field, 0x01, flag_of)


def tagged(field, place, of):
    """[place] IMPLICIT, optional, primitive."""
    return Field(field, 0x80 | place, of, True)


def group(field, layout, place=None):
    """A SEQUENCE within; [place] IMPLICIT OPTIONAL where a place is given."""
    return Field(field, 0x30 if place is None else 0xA0 | place, lambda c: fields(c, layout), place is not None)


def many(field, tag, of):
    """SEQUENCE OF."""

    def all_of(content):
        reader, out = Reader(content), []
        while not reader.done():
            out.append(of(reader.take(tag)))
        return out

    return Field(field, 0x30, all_of)


def fields(content, layout):
    """The content of a SEQUENCE by its layout, with nothing behind the last field."""
    reader, out = Reader(content), {}
    for field in layout:
        if field.optional and reader.peek() != field.tag:
            out[field.name] = None
        else:
            out[field.name] = field.of(reader.take(field.tag))
    if not reader.done():
        raise Malformed("a field too many")
    return out


def whole(data, layout):
    """A SEQUENCE that fills its bytes."""
    reader = Reader(data)
    content = reader.take(0x30)
    if not reader.done():
        raise Malformed("bytes behind the object")
    return fields(content, layout)
