"""`service=nntp`: a greeting that begins with 2 (RFC 3977 §5.1). Nothing is sent."""

from __future__ import annotations

from lvsd.checks.lines import Lines
from lvsd.checks.stream import Dialogue, Talk


class Nntp(Dialogue):
    """Passes when the server greets, posting allowed or not."""

    def talk(self) -> Talk:
        """Wait for the greeting."""
        code = yield from Lines("NNTP").expect("2", "connection")
        return f"greeting {code}"
