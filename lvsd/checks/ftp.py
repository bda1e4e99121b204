"""`service=ftp`: a login and, with `receive=`, the content of the file `request` (RFC 959).

As ldirectord asks: USER, PASS, CWD /, TYPE I, RETR, QUIT. Without `receive` the login must succeed
(there every server, dead ones too, counts as up). The data connection is passive and goes to the
server under check, whatever address its reply names; on IPv6 by EPSV (RFC 2428). With `starttls`
the login is inside TLS (AUTH TLS, RFC 4217); the file still comes in the clear.
"""

from __future__ import annotations

import re

from lvsd.checks.connection import Connection, connect
from lvsd.checks.coroutine import Coroutine
from lvsd.checks.lines import Lines, Step
from lvsd.checks.probe import Failed, quoted
from lvsd.checks.receive import Receive
from lvsd.checks.tls import Tls
from lvsd.core.model import Check

#: Bytes of a file; a longer one is judged by its beginning.
LIMIT = 1 << 20

_PASSIVE = re.compile(rb"227 [^(0-9]*\(?[0-9]+,[0-9]+,[0-9]+,[0-9]+,([0-9]{1,3}),([0-9]{1,3})")
_EXTENDED = re.compile(rb"229 [^(]*\(([!-~])\1\1([0-9]{1,5})\1\)")


class Ftp(Coroutine):
    """Passes when the account is accepted and the file, if any is wanted, matches."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        self._receive = Receive(check)
        self._starttls = Tls(check) if check.starttls else None

    async def ask(self) -> str:
        """Log in, fetch, judge."""
        lines = Lines("FTP")
        async with connect(self.check) as control:
            await control.converse(self._log_in(lines))
            verdict = "logged in"
            if self._receive:
                verdict = await self._fetch(control, lines)
            await control.send(b"QUIT\r\n")
            return verdict

    def _log_in(self, lines: Lines) -> Step[None]:
        yield from lines.expect("2", "connection")
        if self._starttls:
            yield from lines.expect("2", "AUTH TLS", b"AUTH TLS\r\n")
            yield from lines.secure(self._starttls)
        code = yield from lines.expect("23", "user", b"USER %s\r\n" % self.check.login)
        if code // 100 == 3:
            yield from lines.expect("2", "login", b"PASS %s\r\n" % self.check.passwd)

    async def _fetch(self, control: Connection, lines: Lines) -> str:
        port = await control.converse(self._prepare(lines))
        async with connect(self.check, port) as data:
            retrieve = b"RETR %s\r\n" % self.check.request
            await control.converse(lines.expect("1", "file", retrieve))
            content = bytearray()
            while len(content) < LIMIT and (piece := await data.receive()):
                content += piece
        if len(content) < LIMIT:
            await control.converse(lines.expect("2", "transfer"))
        if not self._receive.matches(content):
            raise self._receive.mismatch("file")
        return "file matches"

    def _prepare(self, lines: Lines) -> Step[int]:
        """Everything before the transfer; the port of the data connection."""
        yield from lines.reply(b"CWD /\r\n")
        yield from lines.expect("2", "type", b"TYPE I\r\n")
        extended = self.check.address.version == 6
        _, line = yield from lines.reply(b"EPSV\r\n" if extended else b"PASV\r\n")
        found = (_EXTENDED if extended else _PASSIVE).match(line)
        if found is None:
            raise Failed(f"passive mode refused: {quoted(line)}")
        port = int(found[2]) if extended else int(found[1]) * 256 + int(found[2])
        if not 1 <= port <= 65535:
            raise Failed(f"passive mode with a bad port: {quoted(line)}")
        return port
