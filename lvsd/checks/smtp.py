"""`service=smtp` and `service=submission`: a greeting and an accepted EHLO, or HELO (RFC 5321).

As ldirectord asks: it calls itself `localhost.localdomain`, falls back to HELO, and takes leave
with QUIT, so that the server's log stays clean. `receive` means nothing here. With `starttls` there
is a second hello, inside TLS (RFC 3207).
"""

from __future__ import annotations

from lvsd.checks.lines import Lines, Step
from lvsd.checks.stream import Dialogue, Parting, Talk

_NAME = b"localhost.localdomain"


class Smtp(Dialogue):
    """Passes when the server greets and accepts our hello."""

    def talk(self) -> Talk:
        """Greeting, hello, QUIT."""
        lines = Lines("SMTP")
        yield from lines.expect("2", "connection")
        yield from self._hello(lines)
        if self.starttls:
            yield from lines.expect("2", "STARTTLS", b"STARTTLS\r\n")
            yield from lines.secure(self.starttls)
            yield from self._hello(lines)
        yield Parting(b"QUIT\r\n")
        return "hello accepted"

    @staticmethod
    def _hello(lines: Lines) -> Step[None]:
        code, _ = yield from lines.reply(b"EHLO %s\r\n" % _NAME)
        if code // 100 != 2:
            yield from lines.expect("2", "HELO", b"HELO %s\r\n" % _NAME)
