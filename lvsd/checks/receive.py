"""`receive=`: the regular expression that an answer must match, compiled once.

An expression that repeats something can take seconds, or for ever, on a page that happens to suit
it. Python's engine looks for signals while it searches (`PyErr_CheckSignals` in sre), so a timer
ends such a search: that real server fails, and nobody else waits for it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

from lvsd.checks.probe import Failed, LocalFault, quoted
from lvsd.core.model import Check

#: Processor seconds of one search. The engine looks at the clock now and then only: in the worst
#: case (a body of 1 MiB in one line) after some seconds.
LIMIT = 0.2

_REPEATS = re.compile(rb"[*+{]")

Found = re.Match[bytes] | None
Search = Callable[[bytes | bytearray], Found]


class Receive:
    """Searches bytes. False when `receive` is empty, and then everything matches.

    Raises LocalFault when it is no regular expression.
    """

    def __init__(self, check: Check) -> None:
        self.shown = quoted(check.receive)
        #: Where the expression is found; None when there is none. Raises Failed after LIMIT.
        self.search: Search | None = None
        try:
            if check.receive:
                pattern = re.compile(check.receive)
                self.search = (
                    _Bounded(pattern) if _REPEATS.search(check.receive) else pattern.search
                )
        except (re.error, OverflowError) as error:
            raise LocalFault(f"receive is not a regular expression: {error}") from error

    def __bool__(self) -> bool:
        return self.search is not None

    def matches(self, text: bytes | bytearray) -> bool:
        """Whether the expression is found in `text`. Raises Failed when that takes too long."""
        return self.search is None or self.search(text) is not None

    def mismatch(self, what: str) -> Failed:
        """The failure of an answer without a match."""
        return Failed(f'{what} does not match "{self.shown}"')


class _TooLong(Exception):
    """Raised by the signal in the middle of a search."""


class _Bounded:
    """A search that ends. Works in the main thread, where signals arrive: checks live there."""

    _searching = False

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        signal.signal(signal.SIGPROF, _stop)

    def __call__(self, text: bytes | bytearray) -> Found:
        _Bounded._searching = True
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        try:
            return self._pattern.search(text)
        except _TooLong:
            raise Failed(
                f'"{quoted(self._pattern.pattern)}" takes too long on this answer'
            ) from None
        finally:
            _Bounded._searching = False
            signal.setitimer(signal.ITIMER_PROF, 0)


def _stop(number: int, frame: object) -> None:
    if _Bounded._searching:  # else it has just ended by itself
        raise _TooLong
