"""`service=pop` and `service=pops`: a greeting and, with `login=`, USER and PASS (RFC 1939).

Without a login ldirectord counts every server as up, dead ones too; here the greeting must come.
"""

from __future__ import annotations

from lvsd.checks.lines import Lines, Step
from lvsd.checks.probe import Failed, quoted
from lvsd.checks.stream import Dialogue, Parting, Talk
from lvsd.checks.tls import Tls
from lvsd.core.model import Check


class Pop(Dialogue):
    """The plain one."""

    def talk(self) -> Talk:
        """Greeting, login, QUIT."""
        lines = Lines("POP3")
        yield from self._ok(lines, b"", "connection")
        if self.starttls:  # RFC 2595 §4
            yield from self._ok(lines, b"STLS\r\n", "STLS")
            yield from lines.secure(self.starttls)
        if self.check.login:
            yield from self._ok(lines, b"USER %s\r\n" % self.check.login, "user")
            yield from self._ok(lines, b"PASS %s\r\n" % self.check.passwd, "login")
        yield Parting(b"QUIT\r\n")
        return "logged in" if self.check.login else "greeted"

    @staticmethod
    def _ok(lines: Lines, command: bytes, what: str) -> Step[None]:
        line = yield from lines.line(command)
        if line.startswith(b"-ERR"):
            raise Failed(f"{what} refused: {quoted(line)}")
        if not line.startswith(b"+OK"):
            raise lines.strange(line)


class Pops(Pop):
    """The same inside TLS."""

    def __init__(self, check: Check) -> None:
        super().__init__(check, Tls(check))
