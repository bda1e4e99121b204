"""`service=dns`: a query for `request` over UDP, or TCP on a tcp service (RFC 1035).

As ldirectord asks: an address gives a PTR query, a name one for A; `receive` is searched in the
text of every A and PTR record of the answer. Not as ldirectord: without `receive` any record of
any type will do (there such a server was never up); the name is complete, no search list is
appended; without `request` the root is asked for, and an answer without error passes.

A reply counts when identifier and question are ours. One that was cut is asked for again over TCP.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
from collections.abc import Iterator

from lvsd.checks.connection import connect
from lvsd.checks.datagram import Datagrams
from lvsd.checks.probe import Failed, LocalFault, Question, quoted
from lvsd.checks.receive import Receive
from lvsd.core.model import Check, Protocol

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_A, _PTR, _IN = 1, 12, 1
_RESPONSE, _CUT, _WANT_RECURSION = 0x8000, 0x0200, 0x0100
#: RFC 1035 §4.1.1 and RFC 2136 §2.2.
_STATUS = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def dns(check: Check) -> Question:
    """The question over what carries the service."""
    return DnsTcp(check) if check.protocol is Protocol.TCP else Dns(check)


class _Cut(Exception):
    """The reply did not fit into a datagram."""


class Dns(Datagrams):
    """Over UDP."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        self._receive = Receive(check)
        self._asked = _question(check.request)
        self._identifier = 0

    def render(self, source: tuple[str, int]) -> bytes:
        """A query with an identifier of its own."""
        self._identifier = int.from_bytes(os.urandom(2), "big")
        return _HEADER.pack(self._identifier, _WANT_RECURSION, 1, 0, 0, 0) + self._asked

    def judge(self, data: bytes) -> str | None:
        """The reply, if it is one to this query."""
        if len(data) < _HEADER.size:
            return None
        identifier, flags, *counts = _HEADER.unpack_from(data)
        echoed = data[_HEADER.size : _HEADER.size + len(self._asked)]
        if identifier != self._identifier or not flags & _RESPONSE:
            return None
        status = flags & 0x0F
        # Some servers leave the question out of a reply that reports an error.
        if echoed.lower() != self._asked.lower() and not (status and not counts[0]):
            return None
        if status:
            raise Failed(f"status {_STATUS.get(status, status)}")
        return self._answered(data, counts[1], bool(flags & _CUT))

    def _answered(self, data: bytes, count: int, cut: bool) -> str:
        if not self.check.request and not self._receive:
            return "answered"
        try:
            for text in _records(data, _HEADER.size + len(self._asked), count):
                if not self._receive or (text is not None and self._receive.matches(text)):
                    return f"answer {quoted(text)}" if text else "answered"
        except (struct.error, IndexError) as error:
            if not cut:
                raise Failed("malformed answer") from error
        if cut:
            raise _Cut
        if not count:
            raise Failed("empty answer")
        raise self._receive.mismatch("answer")

    async def ask(self) -> str:
        """Over UDP and, when the reply was cut, over TCP."""
        try:
            return await super().ask()
        except _Cut:
            return await self._over_tcp()

    async def _over_tcp(self) -> str:
        async with connect(self.check) as connection:
            query = self.render(connection.source)
            await connection.send(struct.pack("!H", len(query)) + query)
            heard = b""
            while len(heard) < 2 or len(heard) < 2 + int.from_bytes(heard[:2], "big"):
                data = await connection.receive()
                if not data:
                    raise Failed(f"connection closed {'early' if heard else 'without an answer'}")
                heard += data
        reply = heard[2 : 2 + int.from_bytes(heard[:2], "big")]
        try:
            verdict = self.judge(reply)
        except _Cut:
            raise Failed("malformed answer") from None
        if verdict is None:
            raise Failed(f'reply is not DNS: "{quoted(heard[:40])}"')
        return verdict


class DnsTcp(Dns):
    """Over TCP."""

    async def ask(self) -> str:
        """At once over TCP."""
        return await self._over_tcp()


def _question(request: bytes) -> bytes:
    """The question section. Raises LocalFault for what cannot be a name."""
    name, kind = request.decode("ascii", "replace"), _A
    with contextlib.suppress(ValueError):
        name, kind = ipaddress.ip_address(name).reverse_pointer, _PTR
    labels = [label.encode("ascii", "replace") for label in name.removesuffix(".").split(".")]
    labels = [] if labels == [b""] else labels
    if any(not 1 <= len(label) <= 63 for label in labels) or len(name) > 253:
        raise LocalFault(f'request "{quoted(request)}" is no name')
    packed = b"".join(bytes([len(label)]) + label for label in labels)
    return packed + b"\0" + struct.pack("!HH", kind, _IN)


def _records(data: bytes, at: int, count: int) -> Iterator[bytes | None]:
    """The answer records: the text of an A or PTR, None for others.

    Raises struct.error or IndexError where the message ends early.
    """
    for _ in range(count):
        _, at = _name(data, at)
        kind, _class, _ttl, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + length > len(data):
            raise IndexError(at)
        if kind == _A and length == 4:
            yield ".".join(map(str, data[at : at + 4])).encode()
        elif kind == _PTR:
            yield _name(data, at)[0]
        else:
            yield None
        at += length


def _name(data: bytes, at: int) -> tuple[bytes, int]:
    """A name, perhaps compressed (RFC 1035 §4.1.4), and where the text behind it starts."""
    labels: list[bytes] = []
    end, jumps = 0, 0
    while length := data[at]:
        if length & 0xC0 == 0xC0:
            end = end or at + 2
            at = (length & 0x3F) << 8 | data[at + 1]
            jumps += 1
            if jumps > 128:
                raise IndexError(at)
            continue
        labels.append(data[at + 1 : at + 1 + length])
        at += 1 + length
        if len(labels) > 128:
            raise IndexError(at)
    return b".".join(labels), end or at + 1
