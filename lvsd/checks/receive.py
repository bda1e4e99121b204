"""`receive=`: the regular expression that an answer must match, compiled once."""

from __future__ import annotations

import re

from lvsd.checks.probe import Failed, LocalFault, quoted
from lvsd.core.model import Check


class Receive:
    """Searches bytes. False when `receive` is empty, and then everything matches.

    Raises LocalFault when it is no regular expression.
    """

    def __init__(self, check: Check) -> None:
        self.shown = quoted(check.receive)
        self.pattern: re.Pattern[bytes] | None = None
        try:
            if check.receive:
                self.pattern = re.compile(check.receive)
        except (re.error, OverflowError) as error:
            raise LocalFault(f"receive is not a regular expression: {error}") from error

    def __bool__(self) -> bool:
        return self.pattern is not None

    def matches(self, text: bytes | bytearray) -> bool:
        """Whether the expression is found in `text`."""
        return self.pattern is None or self.pattern.search(text) is not None

    def mismatch(self, what: str) -> Failed:
        """The failure of an answer without a match."""
        return Failed(f'{what} does not match "{self.shown}"')
