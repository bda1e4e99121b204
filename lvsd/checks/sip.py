"""`service=sip`: OPTIONS for `login`, over UDP or TCP as the service has it (RFC 3261 §11).

Passes on status 200, as in ldirectord; provisional replies (1xx) are waited out, which it does
not. Branch, tag and Call-ID are fresh for each request, so no server takes it for a repetition.
"""

from __future__ import annotations

import os
import re

from lvsd.checks.connection import connect
from lvsd.checks.datagram import Datagrams
from lvsd.checks.probe import Failed, Question, quoted
from lvsd.core.model import Check, Protocol

#: Bytes of all replies to one request.
LIMIT = 64 << 10

_STATUS = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2}) ?([^\r\n]*)\r?\n")
_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?\n", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")


def sip(check: Check) -> Question:
    """The question over what carries the service."""
    return SipTcp(check) if check.protocol is Protocol.TCP else Sip(check)


class Sip(Datagrams):
    """Over UDP."""

    transport = b"UDP"

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        self._call = b""

    def render(self, source: tuple[str, int]) -> bytes:
        """A request of its own."""
        self._call = os.urandom(8).hex().encode()
        host, port = source
        literal = f"[{host}]" if ":" in host else host
        return (
            b"OPTIONS sip:%(who)s SIP/2.0\r\n"
            b"Via: SIP/2.0/%(transport)s %(here)s;branch=z9hG4bK%(call)s\r\n"
            b"Max-Forwards: 70\r\n"
            b"To: <sip:%(who)s>\r\n"
            b"From: <sip:%(who)s>;tag=%(call)s\r\n"
            b"Call-ID: %(call)s\r\n"
            b"CSeq: 1 OPTIONS\r\n"
            b"Contact: <sip:%(who)s>\r\n"
            b"Accept: application/sdp\r\n"
            b"Content-Length: 0\r\n\r\n"
        ) % {
            b"who": self.check.login,
            b"transport": self.transport,
            b"here": f"{literal}:{port}".encode(),
            b"call": self._call,
        }

    def judge(self, data: bytes) -> str | None:
        """The final reply to this call."""
        status = _STATUS.match(data)
        call = _CALL_ID.search(data)
        if status is None or call is None or call[1] != self._call or status[1][:1] == b"1":
            return None
        if status[1] != b"200":
            raise Failed(f"status {quoted(status[1] + b' ' + status[2])}")
        return "status 200"


class SipTcp(Sip):
    """Over TCP, where replies follow each other in one stream."""

    transport = b"TCP"

    async def ask(self) -> str:
        """One request, and replies until a final one."""
        self._strange = 0
        async with connect(self.check) as connection:
            await connection.send(self.render(connection.source))
            heard, total, body = bytearray(), 0, 0
            while data := await connection.receive():
                total += len(data)
                if total > LIMIT:
                    raise Failed(f"answer larger than {LIMIT >> 10} KiB")
                heard += data
                while True:
                    skipped = min(body, len(heard))
                    del heard[:skipped]
                    body -= skipped
                    if not heard.startswith(b"SIP/2.0 "[: len(heard)]):
                        raise Failed(f'reply is not SIP: "{quoted(bytes(heard[:40]))}"')
                    end = _HEAD_END.search(heard)
                    if end is None:
                        break
                    head = bytes(heard[: end.end()])
                    if verdict := self.judge(head):
                        return verdict
                    length = _LENGTH.search(head)
                    del heard[: len(head)]
                    body = int(length[1]) if length else 0
            raise Failed(f"connection closed {'early' if total else 'without an answer'}")
