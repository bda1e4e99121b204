"""`service=simpletcp`: sends `request`, closes its half, and wants a line that matches `receive`.

As in ldirectord `\\n` in the request stands for a newline and nothing else is escaped; an
expression sees one line at a time, its end included. Without `receive` any line will do. On a udp
service the same goes in a datagram.
"""

from __future__ import annotations

import re

from lvsd.checks.datagram import Datagrams
from lvsd.checks.probe import Failed, Question
from lvsd.checks.receive import Receive
from lvsd.checks.stream import Dialogue, Last, Talk
from lvsd.core.model import Check, Protocol

#: Bytes of an answer that are looked at.
LIMIT = 1 << 20


def simple(check: Check) -> Question:
    """The question over what carries the service."""
    return SimpleUdp(check) if check.protocol is Protocol.UDP else SimpleTcp(check)


def request(check: Check) -> bytes:
    """What is sent."""
    return check.request.replace(b"\\n", b"\n")


class SimpleTcp(Dialogue):
    """Over TCP."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        self._receive = Receive(check)
        self._request = Last(request(check))

    def talk(self) -> Talk:
        """Send, then read line by line until one matches."""
        rest, heard = b"", 0
        data = yield self._request
        while data:
            heard += len(data)
            *lines, rest = (rest + data).split(b"\n")
            if any(self._receive.matches(line + b"\n") for line in lines):
                return "line received"
            if heard > LIMIT:
                raise Failed(f"answer larger than {LIMIT >> 20} MiB without a line that matches")
            data = yield b""
        if rest and self._receive.matches(rest):
            return "line received"
        if not heard:
            raise Failed("connection closed without an answer")
        raise self._receive.mismatch("answer")


class SimpleUdp(Datagrams):
    """In a datagram."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        self._receive = Receive(check)

    def render(self, source: tuple[str, int]) -> bytes:
        """What is sent; an empty datagram cannot be, so a newline stands for it."""
        return request(self.check) or b"\n"

    def judge(self, data: bytes) -> str | None:
        """The lines of one datagram."""
        if any(map(self._receive.matches, re.findall(rb"[^\n]*\n|[^\n]+", data))):
            return "line received"
        raise self._receive.mismatch("answer")
