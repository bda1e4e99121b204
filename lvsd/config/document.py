"""Files to sections: includes, blocks, indentation, and the values of single lines.

A block ends as in ldirectord: at a blank line or a line in column 0. A member that stands
outside because of that is still read as the member it was meant to be, and its place is reported,
so that one run shows the faults inside the block too.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from lvsd.config import directives, values
from lvsd.config.diagnostics import LIMIT, BadValue, Place, Report
from lvsd.config.rows import OPENERS, Directive, F, G, P, R, S
from lvsd.config.syntax import Statement, statements
from lvsd.core.record import dataclass

#: Bytes of one file that are read; the largest farm is far below.
MAX_SIZE = 64 << 20
#: What may hold bytes that are no UTF-8.
_ANY_BYTES = frozenset(("request", "receive", "real", "real6", "servicename", "comment"))


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that was given, and where."""

    value: Any
    statement: Statement

    @property
    def place(self) -> Place:
        """Where the value stands."""
        return self.statement.value_place


@dataclass(slots=True)
class Section:
    """The globals, or one block.

    `opener` is its first line, `lines` are all others, `failed` is what had a bad value.
    """

    kind: str
    opener: Statement | None = None
    settings: dict[str, Setting] = field(default_factory=dict)
    repeated: dict[str, list[Setting]] = field(default_factory=dict)
    ended_by: Statement | None = None
    failed: set[str] = field(default_factory=set)
    lines: list[Statement] = field(default_factory=list)

    def value(self, name: str, default: Any = None) -> Any:
        """The value of a directive, or `default` where it was not given."""
        setting = self.settings.get(name)
        return default if setting is None else setting.value

    def place(self, name: str) -> Place:
        """Where a directive's value stands; the block's first line where it was not given."""
        setting = self.settings.get(name)
        return setting.place if setting else self.head

    @property
    def head(self) -> Place:
        """Where the block's own value stands."""
        return self.opener.value_place if self.opener else Place("")

    @property
    def head_text(self) -> str:
        """The block's own value."""
        return self.opener.value if self.opener else ""

    def __str__(self) -> str:
        if self.opener is None:
            return "globals"
        return f"{self.opener.name}={self.opener.value} (line {self.opener.line})"


@dataclass(slots=True)
class Document:
    """Everything read."""

    report: Report
    node: str
    globals: Section = field(default_factory=lambda: Section(G))
    sections: list[Section] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)
    overlay: Mapping[str, bytes] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def read(self, path: str, place: Place | None = None) -> None:
        """Read one file and what it includes. `place` is that of the include= line."""
        place = place or Place(path)
        real = os.path.realpath(path)
        if real in self._open:
            self.report.error(place, f"{path} includes itself, directly or in a circle")
            return
        data = self._bytes(path, place)
        if data is None:
            return
        if path not in self.sources:
            self.sources.append(path)
        self.digest.update(data)
        self._open.append(real)
        self._assemble(list(statements(data, path, self.report)))
        self._open.pop()

    def _bytes(self, path: str, place: Place) -> bytes | None:
        if path in self.overlay:
            return self.overlay[path]
        try:
            data = _regular(path)
            if len(data) <= MAX_SIZE:
                return data
            self.report.error(place, f"can't read {path}: longer than {MAX_SIZE >> 20} MiB")
        except OSError as problem:
            self.report.error(place, f"can't read {path}: {problem.strerror}")
        except ValueError as problem:
            self.report.error(place, f"can't read {path}: {problem}")
        return None

    def _assemble(self, lines: Sequence[Statement]) -> None:
        current: Section | None = None
        stray, intruders = _strays(lines)
        for i, line in enumerate(lines):
            if not line.indented and line.name in OPENERS and not line.bare:
                current = Section(OPENERS[line.name], line)
                self._open_section(current)
            elif i in stray and current is not None:
                self._stray(lines, i, stray, current)
                self._set(current, line)
            elif not line.indented:
                self._global(line)
                if i in intruders and current is not None:
                    self._intruder(line, current)
                elif current is not None and G in directives.scopes(line.name):
                    current.ended_by = current.ended_by or line
            else:
                self._member(current, line)

    def _open_section(self, section: Section) -> None:
        line = section.opener
        assert line is not None
        row = directives.directive(line.name, G)
        if not line.value:
            self.report.error(line.place, f"{line.name}= has no value")
        elif section.kind in (R, S, P, F):
            try:
                values.name_of(line.value)
            except BadValue as problem:
                self.report.error(line.value_place, problem.text)
        elif row is not None and row.refused:
            self.report.error(line.place, f"{line.name} {row.refused}")
        self.sections.append(section)

    def _stray(self, lines: Sequence[Statement], i: int, stray: set[int], block: Section) -> None:
        """Report a member in column 0: once for a run of lines, and the blank line before it."""
        line = lines[i]
        if line.blanks[0]:
            self._blank(line, block)
        elif i - 1 in stray:
            return
        count = 0
        while i + count + 1 in stray and not lines[i + count + 1].blanks[0]:
            count += 1
        rest = f" and the {count} lines after it" if count > 1 else " and the line after it"
        run = rest if count else ""
        self.report.error(
            line.place,
            f"{line.name} belongs to {block}: indent this line{run} with a TAB or 4 blanks",
        )

    def _intruder(self, line: Statement, block: Section) -> None:
        text = f"{line.name}= stands in the middle of {block}; move it above the block"
        self.report.error(line.place, text)

    def _blank(self, line: Statement, block: Section) -> None:
        first, last = line.blanks
        which = f"the blank line {first}" if first == last else f"the blank lines {first} to {last}"
        self.report.error(
            Place(line.file, first),
            f"{which} before {line.name}= ends the block of {block}; remove it",
        )

    def _member(self, block: Section | None, line: Statement) -> None:
        if block is None:
            if G in directives.scopes(line.name) or not directives.scopes(line.name):
                text = f"{line.name} stands outside of any block: remove the blanks before it"
                self.report.error(line.place, text)
                if G in directives.scopes(line.name):
                    self._global(line)
            else:
                self.report.error(line.place, self._homeless(line))
            return
        if block.ended_by is not None:
            ended = block.ended_by
            self.report.error(
                line.place,
                f"{ended.name}= on line {ended.line}, in column 0, ends the block of {block};"
                f" move it above the block, then {line.name} belongs to the block again",
            )
            block.ended_by = None
        elif line.blanks[0]:
            self._blank(line, block)
        self._set(block, line)

    def _global(self, line: Statement) -> None:
        scopes = directives.scopes(line.name)
        if G in scopes and line.name == "include":
            self._include(line)
        elif G in scopes:
            self._set(self.globals, line)
        elif scopes:
            self.report.error(line.place, self._homeless(line))
        else:
            self.report.error(line.place, f"unknown directive {line.name}{self._hint(line.name)}")

    def _homeless(self, line: Statement) -> str:
        kinds = " or ".join(f"{kind}=" for kind in sorted(directives.scopes(line.name)))
        return f"{line.name} belongs in a {kinds} block: put it below that line, indented"

    def _include(self, line: Statement) -> None:
        name = line.value.strip('"').replace("%n", self.node)
        if not name or not values.is_text(name):
            self.report.error(line.place, "include= needs the name of a file")
            return
        path = os.path.join(os.path.dirname(line.file), name)
        if not any(c in name for c in "*?["):
            self.read(path, line.value_place)
            return
        matches = sorted(glob.glob(path))
        if not matches:
            self.report.warn(line.value_place, f"no file matches {path}")
        for match in matches:
            self.read(match, line.value_place)

    def _set(self, section: Section, line: Statement) -> None:
        """Read one value into its section."""
        section.lines.append(line)
        row = directives.directive(line.name, section.kind)
        if row is None:
            self._misplaced(section, line)
            return
        if row.refused:
            self.report.error(line.place, f"{row.name} {row.refused}")
            return
        if row.notice:
            self.report.warn(line.place, f"{row.name} {row.notice}")
        try:
            setting = Setting(self._parsed(row, line), line)
        except BadValue as problem:
            self.report.error(line.value_place.at(problem.offset), problem.text)
            section.failed.add(row.name)
            return
        if row.repeatable:
            section.repeated.setdefault(row.name, []).append(setting)
            return
        if row.name in section.settings:
            first = section.settings[row.name].statement
            text = f"{row.name} was given on line {first.line} already; the last one counts"
            self.report.warn(line.place, text)
        section.settings[row.name] = setting

    def _parsed(self, row: Directive, line: Statement) -> object:
        if line.bare:
            if row.bare:
                return True
            raise BadValue(f"{row.name} needs a value: {row.name}=…")
        value, offset = line.value, 0
        if not values.is_text(value) and row.name not in _ANY_BYTES:
            raise BadValue(f"the value of {row.name} is no UTF-8 text")
        if row.per_node and ":" in value and not _is_address(row, value):
            value, offset = values.for_node(value, self.node, row.name)
        try:
            parser = values.PARSERS[row.kind]
            return parser(
                value, row, lambda text: self.report.warn(line.value_place.at(offset), text)
            )
        except BadValue as problem:
            raise BadValue(problem.text, problem.offset + offset) from None

    def _hint(self, name: str, kind: str = G) -> str:
        """What to write instead; for a file full of errors not worth the time it takes."""
        return directives.hint(name, kind) if len(self.report.errors) < 4 * LIMIT else ""

    def _misplaced(self, section: Section, line: Statement) -> None:
        scopes = directives.scopes(line.name)
        if not scopes:
            text = f"unknown directive {line.name}{self._hint(line.name, section.kind)}"
        elif scopes == {G}:
            text = f"{line.name} is global only: put it in column 0 above the first block"
        else:
            kinds = " or ".join(f"{kind}=" for kind in sorted(scopes - {G}))
            text = f"{line.name} belongs in a {kinds} block, not in a {section.kind}= block"
        self.report.error(line.place, text)


def _regular(path: str) -> bytes:
    """The content of a regular file, and no more than a byte over MAX_SIZE. Raises OSError.

    A pipe or a device could block the daemon, or never end.
    """
    with open(path, "rb", opener=_at_once) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return file.read(MAX_SIZE + 1)


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for a pipe's writer (open(2), O_NONBLOCK), nor taking a terminal."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _strays(lines: Sequence[Statement]) -> tuple[set[int], set[int]]:
    """Indices of lines in column 0 that were meant as members of the block above.

    That is every line from a block's first line to the last one that can only be a member. The
    second set holds the globals among them.
    """
    stray: set[int] = set()
    intruders: set[int] = set()
    for start, end in _blocks(lines):
        kind = OPENERS[lines[start].name]
        last = start
        for i in range(start + 1, end):
            scopes = directives.scopes(lines[i].name)
            if not lines[i].indented and kind in scopes and G not in scopes:
                last = i
        for i in range(start + 1, last + 1):
            if lines[i].indented:
                continue
            scopes = directives.scopes(lines[i].name)
            if kind in scopes:
                stray.add(i)
            elif G in scopes:
                intruders.add(i)
    return stray, intruders


def _blocks(lines: Sequence[Statement]) -> Iterator[tuple[int, int]]:
    openers = [i for i, s in enumerate(lines) if not s.indented and s.name in OPENERS]
    yield from zip(openers, [*openers[1:], len(lines)], strict=False)


def _is_address(row: Directive, value: str) -> bool:
    return (row.kind == "source" and value.count(":") > 1 and "," not in value) or (
        row.kind == "interface" and value.partition(":")[2].isdigit()
    )
