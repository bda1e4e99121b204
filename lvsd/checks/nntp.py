"""`service=nntp`: a greeting that begins with 2 (RFC 3977 §5.1).

Nothing is sent, but for STARTTLS (RFC 4642) where `starttls` asks for it.
"""

from __future__ import annotations

from lvsd.checks.lines import Lines
from lvsd.checks.stream import Dialogue, Talk


class Nntp(Dialogue):
    """Passes when the server greets, posting allowed or not."""

    def talk(self) -> Talk:
        """Wait for the greeting."""
        lines = Lines("NNTP")
        code = yield from lines.expect("2", "connection")
        if self.starttls:
            yield from lines.expect("3", "STARTTLS", b"STARTTLS\r\n")
            yield from lines.secure(self.starttls)
        return f"greeting {code}"
