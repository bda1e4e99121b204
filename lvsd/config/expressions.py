"""Regular expressions as the operator writes them: Perl's dialect, over bytes, compiled at load."""

from __future__ import annotations

import re
import warnings

from lvsd.config.diagnostics import BadValue

#: As in `(a+)+`: the time it takes can double with each byte of the page.
NESTED = re.compile(rb"(?<!\\)[+*]\)[+*{]")


def expression(pattern: bytes, offset: int = 0) -> bytes:
    r"""A regular expression over bytes, as `re` understands it.

    Perl's `\z`, `\Z` and `\h` are translated; what else Perl alone knows is an error.
    """
    if b"[[:" in pattern:
        place = len(pattern[: pattern.index(b"[[:")].decode("utf-8", "replace"))
        raise BadValue(
            "classes such as [[:alpha:]] are not understood; write [A-Za-z]", offset + place
        )
    translated = re.sub(rb"\\(.)", _translated, pattern, flags=re.DOTALL)
    if not _is_utf8(pattern):
        translated = re.sub(rb"(\\\\)|\\?([\x80-\xff])", _escaped, translated)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(translated)
    except re.error as problem:
        at = problem.pos if problem.pos is not None and translated == pattern else 0
        place = len(pattern[:at].decode("utf-8", "replace"))
        raise BadValue(f"bad regular expression: {problem.msg}", offset + place) from None
    except (OverflowError, RecursionError, ValueError) as problem:
        raise BadValue(f"bad regular expression: {problem}", offset) from None
    return translated


def _escaped(match: re.Match[bytes]) -> bytes:
    r"""A byte as `\xNN`; a pair of backslashes before it stays a pair."""
    return match[1] or b"\\x%02x" % match[2][0]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _translated(match: re.Match[bytes]) -> bytes:
    perl = {b"z": rb"(?![\s\S])", b"Z": rb"(?=\n?(?![\s\S]))", b"h": rb"[ \t]"}
    return perl.get(match[1], match[0])
