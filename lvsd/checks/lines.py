"""Lines of a dialogue as they arrive, and the three-digit replies of SMTP, FTP and NNTP. No I/O.

The methods are generators in the manner of `stream.Talk`: they yield bytes to send (b"" for none)
or a Tls to go over to, and are sent what arrives (b"" at the end of the stream), so a stream and a
coroutine can both drive them. Memory is bounded: a whole dialogue may hear `LIMIT` bytes, beyond
them it fails.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TypeVar

from lvsd.checks.probe import Failed, quoted
from lvsd.checks.tls import Tls

#: Bytes of one dialogue. No greeting, banner or capability list comes near.
LIMIT = 64 << 10

_CODE = re.compile(rb"([1-5][0-9]{2})(?:[ -].*)?", re.DOTALL)

_T = TypeVar("_T")
Step = Generator[bytes | Tls, bytes, _T]


class Lines:
    """What one server said so far. `name` is the protocol's, for reasons."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._heard = 0

    def line(self, command: bytes = b"") -> Step[bytes]:
        """Send `command`; the next line, without its end. Raises Failed when there is none."""
        while command or b"\n" not in self._rest:
            data = yield command
            command = b""
            self._take(data)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.removesuffix(b"\r")

    def reply(self, command: bytes = b"") -> Step[tuple[int, bytes]]:
        """Send `command`; code and last line of the reply (RFC 5321 §4.2, RFC 959 §4.2)."""
        line = yield from self.line(command)
        if not _CODE.fullmatch(line):
            raise self.strange(line)
        code = line[:3]
        while line[3:4] == b"-" or line[:3] != code:
            line = yield from self.line()
        return int(code), line

    def expect(self, kinds: str, what: str, command: bytes = b"") -> Step[int]:
        """As `reply`, for a code that begins with one of the digits `kinds`; else Failed."""
        code, line = yield from self.reply(command)
        if str(code)[0] not in kinds:
            raise Failed(f"{what} refused: {quoted(line)}")
        return code

    def secure(self, tls: Tls) -> Step[None]:
        """Go over to TLS. What came ahead of it may be anybody's: Failed (RFC 3207 §6)."""
        if self._rest:
            raise Failed(f'text ahead of TLS: "{quoted(self._rest[:40])}"')
        yield tls

    def strange(self, line: bytes) -> Failed:
        """The failure of a line that the protocol does not know."""
        return Failed(f'reply is not {self._name}: "{quoted(line[:40])}"')

    def _take(self, data: bytes) -> None:
        if not data:
            if self._rest:
                raise self.strange(self._rest)
            after = "early" if self._heard else "without an answer"
            raise Failed(f"connection closed {after}")
        self._heard += len(data)
        if self._heard > LIMIT:
            raise Failed(f"answer larger than {LIMIT >> 10} KiB")
        self._rest += data
