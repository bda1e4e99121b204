"""Bytes to statements: lines, comments, quotes and positions.

The grammar is ldirectord's: one `name=value` a line, column 0 for globals and for what opens a
block, blanks in front for a block's members, `#` comments. Text is UTF-8 read with
surrogateescape, so that any byte survives to the value (a `receive` matches bytes).
Widened: BOM, CRLF, trailing blanks, `#` inside quotes, comments behind globals.

Characters that a web page puts in the place of plain ones (typographic quotes, dashes,
no-break spaces) are errors that show the line as it should be; reading goes on with that line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lvsd.config.diagnostics import Place, Report
from lvsd.core.record import dataclass

BLANKS = " \t\r\f\v"
_STATEMENT = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*(=)?[ \t]*", re.ASCII)
_QUOTES = "“”„‟″‘’‚‛«»＂"
_DASHES = "‐‑‒–—―−"
_SPACES = "\u00a0\u2007\u202f\u3000"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"

#: Members whose `#` cuts even inside quotes, as in ldirectord.
_CUT_IN_QUOTES = frozenset(("virtualhost", "servicename", "comment", "checkcommand", "monitorfile"))
#: Globals whose value runs to the end of the line, `#` included, as in ldirectord.
_VERBATIM = frozenset(("emailalertfrom", "fallbackcommand", "maintenancedir", "execute"))


@dataclass(frozen=True, slots=True)
class Statement:
    """One `name=value`. `blanks` are the first and last blank line before it, or (0, 0)."""

    file: str
    line: int
    column: int
    name: str
    value: str
    value_column: int
    indented: bool
    bare: bool = False
    blanks: tuple[int, int] = (0, 0)

    @property
    def place(self) -> Place:
        """Where its name stands."""
        return Place(self.file, self.line, self.column)

    @property
    def value_place(self) -> Place:
        """Where its value stands."""
        return Place(self.file, self.line, self.value_column)


def statements(data: bytes, file: str, report: Report) -> Iterator[Statement]:
    """The statements of one file. Lines that are none are reported and left out."""
    blanks = (0, 0)
    nul = data.find(b"\0")
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        column = nul - data.rfind(b"\n", 0, nul)
        report.error(Place(file, line, column), "this is a binary file (it holds NUL bytes)")
        return
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = raw.decode("utf-8", "surrogateescape").rstrip(BLANKS)
        if not text:
            if len(raw.rstrip(b"\r").expandtabs(4)) > 4:
                place = Place(file, number)
                report.warn(place, "a line of blanks only; it is ignored and does not end a block")
            else:
                blanks = (blanks[0] or number, number)
            continue
        if text.lstrip(BLANKS).startswith("#"):
            continue
        statement = _statement(text, Place(file, number), blanks, report)
        if statement is not None:
            yield statement
        blanks = (0, 0)


def _statement(
    text: str, start: Place, blanks: tuple[int, int], report: Report
) -> Statement | None:
    text = _plain(text, start, report)
    body = text.lstrip(BLANKS)
    indent = len(text) - len(body)
    match = _STATEMENT.match(body)
    if match is None or not (match[2] or re.match(r"#|$", body[match.end() :])):
        report.error(start.at(indent), _no_statement(body))
        return None
    name = match[1]
    value = body[match.end() :]
    column = start.column + indent + match.end()
    value = _uncommented(name, value, indent > 0, Place(start.file, start.line, column), report)
    return Statement(
        start.file,
        start.line,
        start.column + indent,
        name,
        value.rstrip(BLANKS),
        column,
        indent > 0,
        match[2] is None,
        blanks,
    )


def outside_quotes(text: str) -> list[bool]:
    """For each character, whether it stands outside straight double quotes."""
    outside = True
    result = []
    for character in text:
        if character == '"':
            result.append(False)
            outside = not outside
        else:
            result.append(outside)
    return result


def _plain(text: str, start: Place, report: Report) -> str:
    """The line with the characters of web pages replaced, each kind reported once."""
    if text.isascii():
        return text
    outside = outside_quotes(text)
    comment = next((i for i, c in enumerate(text) if c == "#" and outside[i]), len(text))
    kinds = (
        (_QUOTES, '"', "typographic quote"),
        (_DASHES, "-", "typographic dash"),
        (_SPACES, " ", "no-break space"),
        (_INVISIBLE, "", "invisible character"),
    )
    found: list[tuple[int, str]] = []
    fixed = []
    for i, character in enumerate(text):
        kind = next((k for k in kinds if character in k[0]), None)
        if kind is None or not outside[i] or i >= comment:
            fixed.append(character)
            continue
        fixed.append(kind[1])
        if all(name != kind[2] for _, name in found):
            found.append((i, kind[2]))
    result = "".join(fixed)
    for i, name in found:
        code = f"U+{ord(text[i]):04X}"
        shown = f" {text[i]}" if name.startswith("typographic") else ""
        cure = f"write {result.strip(BLANKS)}"
        if name == "typographic quote":
            cure = f"use straight double quotes: {cure}"
        report.error(start.at(i), f"{name}{shown} ({code}); {cure}")
    return result


def _uncommented(name: str, value: str, indented: bool, place: Place, report: Report) -> str:
    if "#" not in value:
        return value
    if not indented and name in _VERBATIM:
        report.warn(place, f"{name} takes the whole line, the text after # included")
        return value
    cut_in_quotes = indented and name in _CUT_IN_QUOTES
    outside = [True] * len(value) if cut_in_quotes else outside_quotes(value)
    for i, character in enumerate(value):
        if character != "#" or not outside[i]:
            continue
        after_blank = i == 0 or value[i - 1] in BLANKS
        if not indented and not after_blank:
            continue
        if not after_blank or cut_in_quotes:
            text = f"everything from # on is a comment: the value is {value[:i].rstrip(BLANKS)}"
            report.warn(place.at(i), text)
        return value[:i]
    return value


def _no_statement(body: str) -> str:
    """Why a line that is no statement may have been written, and what to write."""
    if body.startswith((";", "//", "!", "--")):
        return "this is neither name=value nor a comment; a comment starts with #"
    if body.startswith("["):
        return "sections in brackets are not known here; a block starts with virtual= or vrrp="
    if body.endswith("{") or body.startswith("}"):
        return "braces are keepalived's; here a block is a name=value line and indented lines"
    words = body.split(None, 2)
    if len(words) >= 2 and _STATEMENT.fullmatch(words[0]):
        rest = body[len(words[0]) :].strip(BLANKS)
        return f"this line has no =; write {words[0]}={rest}"
    return f"this is not a name=value line: {body[:60]}"
