"""The Basic Encoding Rules, as far as LDAP needs them (X.690; RFC 4511 §5.1). No I/O."""

from __future__ import annotations

from collections.abc import Iterator

#: Bytes of an element's head at most, as far as `head` reads it.
HEAD = 6
BOOLEAN, INTEGER, OCTETS, ENUMERATED, SEQUENCE = 0x01, 0x02, 0x04, 0x0A, 0x30


class Malformed(Exception):
    """What came is not BER."""


def element(tag: int, *contents: bytes) -> bytes:
    """One element of a one-byte tag."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A small number, 0 to 127."""
    return element(tag, bytes((value,)))


def head(data: bytes | bytearray) -> tuple[int, int, int] | None:
    """Tag, start and end of the first element's content; None when its head is not all there.

    The end may lie behind what is there. Raises Malformed.
    """
    if len(data) < 2:
        return None
    tag, size = data[0], data[1]
    if tag & 0x1F == 0x1F or size == 0x80 or size > 0x84:
        raise Malformed
    if size < 0x80:
        return tag, 2, 2 + size
    start = 2 + (size & 0x7F)
    if len(data) < start:
        return None
    return tag, start, start + int.from_bytes(data[2:start], "big")


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in `data`, which must hold whole ones. Raises Malformed."""
    at = 0
    while at < len(data):
        found = head(data[at : at + HEAD])
        if found is None or at + found[2] > len(data):
            raise Malformed
        tag, start, end = found
        yield tag, data[at + start : at + end]
        at += end
