"""`service=imap` and `service=imaps`: a greeting and, with `login=`, LOGIN (RFC 3501).

The greeting must be `* OK` or `* PREAUTH`. Unlike ldirectord's library this connects to the port
that is configured. Login and password go as quoted strings, or as literals when they are not ASCII.
"""

from __future__ import annotations

from lvsd.checks.lines import Lines, Step
from lvsd.checks.probe import Failed, quoted
from lvsd.checks.stream import Dialogue, Parting, Talk
from lvsd.checks.tls import Tls
from lvsd.core.model import Check


class Imap(Dialogue):
    """The plain one."""

    def talk(self) -> Talk:
        """Greeting, LOGIN, LOGOUT."""
        lines = Lines("IMAP")
        greeting = yield from lines.line()
        word = greeting[2:].split(b" ")[0].upper()
        if not greeting.startswith(b"* ") or word not in (b"OK", b"PREAUTH", b"BYE"):
            raise lines.strange(greeting)
        if word == b"BYE":
            raise Failed(f"connection refused: {quoted(greeting)}")
        if self.starttls:
            yield from self._done(lines, b"a0 ", b"a0 STARTTLS\r\n", "STARTTLS")
            yield from lines.secure(self.starttls)
        if self.check.login:
            yield from self._log_in(lines)
        yield Parting(b"a2 LOGOUT\r\n")
        return "logged in" if self.check.login else "greeted"

    def _log_in(self, lines: Lines) -> Step[None]:
        pieces = _pieces(b"a1 LOGIN ", self.check.login, b" ", self.check.passwd, b"\r\n")
        for piece in pieces[:-1]:  # a literal waits for the server's go-ahead
            line = yield from lines.line(piece)
            while line.startswith(b"* "):
                line = yield from lines.line()
            if not line.startswith(b"+"):
                raise Failed(f"login refused: {quoted(line)}")
        yield from self._done(lines, b"a1 ", pieces[-1], "login")

    @staticmethod
    def _done(lines: Lines, tag: bytes, command: bytes, what: str) -> Step[None]:
        """Send a command or its last piece; the answer with its tag must be OK."""
        line = yield from lines.line(command)
        while line.startswith(b"* "):
            line = yield from lines.line()
        if not line.startswith(tag):
            raise lines.strange(line)
        if not line.removeprefix(tag).upper().startswith(b"OK"):
            raise Failed(f"{what} refused: {quoted(line.removeprefix(tag))}")


def _pieces(before: bytes, login: bytes, between: bytes, passwd: bytes, end: bytes) -> list[bytes]:
    """The command in the pieces in which it is sent: one more for each literal (RFC 3501 §4.3)."""
    pieces = [before]
    for word, after in ((login, between), (passwd, end)):
        if word.isascii():
            escaped = word.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            pieces[-1] += b'"%s"%s' % (escaped, after)
        else:
            pieces[-1] += b"{%d}\r\n" % len(word)
            pieces.append(word + after)
    return pieces


class Imaps(Imap):
    """The same inside TLS."""

    def __init__(self, check: Check) -> None:
        super().__init__(check, Tls(check))
