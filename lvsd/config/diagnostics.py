"""What is wrong with a configuration, and where.

Reading never stops at the first mistake. Every part of the reader adds to one `Report`, and only
the very end raises `ConfigError` with all of it. Lines and columns count from 1; a column is
that of the offending value, in characters.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import field

from lvsd.core.record import dataclass

#: Errors shown for one file before "and N more".
LIMIT = 50
#: Characters of one text: what it quotes may be megabytes, and is cut in the middle.
LONGEST = 500


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file."""

    file: str
    line: int = 1
    column: int = 1

    def at(self, offset: int) -> Place:
        """The place `offset` characters further right."""
        return Place(self.file, self.line, self.column + offset)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning. `severity` is "error" or "warning"."""

    file: str
    line: int
    column: int
    severity: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.text}"


class ConfigError(Exception):
    """A configuration that can't be used: all its errors, and the warnings met on the way."""

    def __init__(
        self, errors: tuple[Diagnostic, ...], warnings: tuple[Diagnostic, ...] = ()
    ) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors
        self.warnings = warnings


class BadValue(Exception):
    """A value that has no meaning; `offset` is the fault's distance from the value's start."""

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.offset = offset


@dataclass(slots=True)
class Report:
    """Collects diagnostics."""

    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    def error(self, place: Place, text: str) -> None:
        """Note something that must be changed."""
        self.errors.append(_diagnostic(place, "error", text))

    def warn(self, place: Place, text: str) -> None:
        """Note something that deserves a look, once per place and text."""
        self.warnings.append(_diagnostic(place, "warning", text))

    def notices(self) -> tuple[str, ...]:
        """The warnings in file order, as text."""
        return tuple(map(str, _in_order(self.warnings)))

    def check(self) -> None:
        """Raise ConfigError when there was any error, in file order and at most LIMIT a file."""
        if self.errors:
            raise ConfigError(tuple(_shortened(self.errors)), tuple(_in_order(self.warnings)))


def _diagnostic(place: Place, severity: str, text: str) -> Diagnostic:
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]} … {text[-half:]}"
    return Diagnostic(place.file, place.line, place.column, severity, _printable(text))


def _printable(text: str) -> str:
    """Without control characters and lone surrogates, so that any terminal can show it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _in_order(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By line within each file; files in the order they were first met; no repetition."""
    unique = list(dict.fromkeys(found))
    rank = {name: i for i, name in enumerate(dict.fromkeys(d.file for d in unique))}
    return sorted(unique, key=lambda d: (rank[d.file], d.line, d.column))


def _shortened(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    ordered = _in_order(found)
    total = Counter(d.file for d in ordered)
    seen: Counter[str] = Counter()
    shown = []
    for diagnostic in ordered:
        seen[diagnostic.file] += 1
        if seen[diagnostic.file] <= LIMIT:
            shown.append(diagnostic)
        elif seen[diagnostic.file] == LIMIT + 1:
            more = total[diagnostic.file] - LIMIT
            place = Place(diagnostic.file, diagnostic.line, diagnostic.column)
            shown.append(_diagnostic(place, "error", f"and {more} more from here on"))
    return shown


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`; case, `_` and `-` count for nothing."""
    plain = {k.lower().replace("-", "").replace("_", ""): k for k in known}
    wanted = word.lower().replace("-", "").replace("_", "")
    if wanted in plain:
        return plain[wanted]
    close = difflib.get_close_matches(wanted[:64], plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else None


def proposal(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing when no known word comes near."""
    near = nearest(word, known)
    return f'; did you mean "{near}"?' if near else ""
