"""Inputs for the reader of configurations, by number: what files and tests hold, changed by chance.

An input is a whole file of the shipped or golden ones, or one put together of blocks and members
with values that occur in them or anywhere in the tests of this folder. Then a few changes are made.
Half of the inputs come with a second file, which an `include=` may name.
"""

from __future__ import annotations

import ast
import functools
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvsd.config.diagnostics import BadValue
from lvsd.config.rows import OPENERS, Directive, F, G, P, R, S, V
from lvsd.config.table import TABLE
from lvsd.config.values import PARSERS

HERE = Path(__file__).parent
#: The file that may be included.
SECOND = "second.conf"

_MEMBER = re.compile(r"[ \t]*([a-z0-9]+)[ \t]*=[ \t]*(.+)")
_OPENERS = {V: ("virtual", "virtual", "virtual6"), R: ("vrrp",), S: ("script",)}
_OPENERS |= {P: ("process",), F: ("file",)}
#: Members without which most blocks would be refused.
_USUAL = {V: ("real", "service"), R: ("interface", "virtualrouterid", "address")}
_USUAL |= {S: ("command",), P: ("command",), F: ("path",)}
_NAMES = {
    scope: [row.name for row in TABLE if scope in row.scopes and not row.refused]
    for scope in (G, *_OPENERS)
}
#: For a directive that no text gives a value.
_PLAIN = ("yes", "no", "1", "/bin/true x")
_GLOBALS = [name for name in _NAMES[G] if name not in OPENERS]
_TOKENS = (
    *('"', "'", "#", ",", ":", "=", "->", "[", "]", "%", "\\", "/", "{", "(", ")", "*", "?", "+"),
    *("\n", "\n\n", "\n\t", "\t", "    ", " ", "\r", "\r\n", "\f", "\v", "\u00a0", "“", "–"),
    *("\ufeff", "\u200b"),
    *("\0", "\udc80", "\udcff", "é", "٣", "\u2028", "İ", "0", "-1", "1.5", "65535", "65536"),
    *("4294967295", "4294967296", "9" * 40, "1.2.3.4", "::", "[::1]:80", "dir1:", "dir1:7,dir2:8"),
    *("%n", "$(x)", "`", "|", "(a+)+", "[[:alpha:]]", "(?i)", "\\z", "\\x", f"include={SECOND}\n"),
)


@dataclass(frozen=True)
class Corpus:
    """Whole files; values by directive, those that its parser takes and all; and other texts."""

    files: Sequence[str]
    good: Mapping[str, Sequence[str]]
    all: Mapping[str, Sequence[str]]
    loose: Sequence[str]


@functools.cache
def corpus() -> Corpus:
    """What inputs are made of."""
    shipped = sorted((HERE.parents[1] / "etc").rglob("*.conf"))
    golden = sorted((HERE / "golden").iterdir())
    files = [*shipped, *(p for p in golden if p.suffix != ".errors"), *sorted(HERE.glob("data/*"))]
    texts = [path.read_text("utf-8", "surrogateescape") for path in files]
    literals = [
        node.value
        for path in sorted(HERE.glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    loose = sorted({text for text in literals if 0 < len(text) < 200})
    found = _values([*texts, *literals])
    good = {row.name: [v for v in found.get(row.name, _PLAIN) if _taken(row, v)] for row in TABLE}
    return Corpus(texts, good, found, loose)


def _taken(row: Directive, value: str) -> bool:
    kind = "name" if OPENERS.get(row.name, V) != V else row.kind
    try:
        PARSERS[kind](value, row, lambda _: None)
    except BadValue:
        return False
    return True


def _values(texts: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for text in texts:
        for line in text.split("\n"):
            if match := _MEMBER.fullmatch(line):
                found[match[1]][match[2]] = None
    return {name: [*values] for name, values in found.items()}


def make(number: int) -> tuple[bytes, bytes]:
    """Input `number`: the file to read, and the second one."""
    pick = random.Random(number)
    text = pick.choice(corpus().files) if pick.random() < 0.3 else _file(pick)
    second = _file(pick) if pick.random() < 0.5 else ""
    for _ in range(pick.choice((0, 0, 1, 1, 1, 2, 4, 9))):
        text = pick.choice(_CHANGES)(text, pick)
    return _bytes(text), _bytes(second)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _file(pick: random.Random) -> str:
    lines = [_line(pick, pick.choice(_GLOBALS)) for _ in range(pick.choice((0, 0, 1, 3)))]
    for _ in range(pick.choice((1, 1, 2, 3))):
        scope = pick.choice((V, V, V, R, R, S, P, F))
        names = [n for n in _USUAL[scope] for _ in range(pick.choice((1, 1, 1, 1, 1, 1, 0, 2)))]
        names += [pick.choice(_NAMES[scope]) for _ in range(pick.choice((0, 0, 1, 2, 4, 8)))]
        lines += [_line(pick, pick.choice(_OPENERS[scope]))]
        lines += [f"\t{_line(pick, name)}" for name in names]
    return "\n".join(lines) + "\n"


def _line(pick: random.Random, name: str) -> str:
    return name if pick.random() < 0.02 else f"{name}={_value(pick, name)}"


def _value(pick: random.Random, name: str) -> str:
    """A value that occurs for `name`, mostly a good one; now and then any text."""
    known = corpus()
    chance = pick.random()
    if chance < 0.9 and (good := known.good.get(name)):
        return pick.choice(good)
    if chance < 0.98:
        return pick.choice(known.all.get(name, _PLAIN))
    return pick.choice(known.loose)


# --- changes ------------------------------------------------------------------------------------


def _in_lines(change: Callable[[list[str], int, random.Random], None]) -> Callable[..., str]:
    def changed(text: str, pick: random.Random) -> str:
        lines = text.split("\n")
        change(lines, pick.randrange(len(lines)), pick)
        return "\n".join(lines)

    return changed


def _drop(lines: list[str], at: int, pick: random.Random) -> None:
    del lines[at]


def _twice(lines: list[str], at: int, pick: random.Random) -> None:
    lines.insert(pick.randrange(len(lines) + 1), lines[at])


def _add(lines: list[str], at: int, pick: random.Random) -> None:
    scope = pick.choice((G, V, V, R))
    indent = pick.choice(("\t", "\t", "    ", " ", ""))
    lines.insert(at, indent + _line(pick, pick.choice(_NAMES[scope])))


def _other_value(lines: list[str], at: int, pick: random.Random) -> None:
    head, equals, _ = lines[at].partition("=")
    name = head.strip() if pick.random() < 0.7 else pick.choice([*corpus().all])
    lines[at] = head + equals + (_value(pick, name) if equals else "")


def _other_number(text: str, pick: random.Random) -> str:
    numbers = list(re.finditer(r"[0-9]+", text))
    if not numbers:
        return text
    found = pick.choice(numbers)
    value = pick.choice(("", "0", "00", "1", "255", "256", "65536", "-1", "1.5", "9" * 20))
    return text[: found.start()] + value + text[found.end() :]


def _token(text: str, pick: random.Random) -> str:
    at = pick.randrange(len(text) + 1)
    return text[:at] + pick.choice(_TOKENS) + text[at:]


def _byte(text: str, pick: random.Random) -> str:
    data = bytearray(_bytes(text) or b"\0")
    data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
    return data.decode("utf-8", "surrogateescape")


def _cut(text: str, pick: random.Random) -> str:
    start, length = pick.randrange(len(text) + 1), pick.choice((1, 1, 4, 40))
    return text[:start] + text[start + length :]


def _repeat(text: str, pick: random.Random) -> str:
    """A piece many times, now and then very many."""
    start, length = pick.randrange(len(text) + 1), pick.choice((1, 2, 9, 90))
    times = pick.choice((2, 3, 20, 20, 20, 400))
    return text[:start] + text[start : start + length] * times + text[start + length :]


def _elsewhere(text: str, pick: random.Random) -> str:
    start, length = pick.randrange(len(text) + 1), pick.choice((1, 3, 12, 60))
    at = pick.randrange(len(text) + 1)
    return text[:at] + text[start : start + length] + text[at:]


def _loose(text: str, pick: random.Random) -> str:
    at = pick.randrange(len(text) + 1)
    return text[:at] + pick.choice(corpus().loose) + text[at:]


_CHANGES = (
    *(_in_lines(change) for change in (_drop, _twice, _add, _add, _other_value, _other_value)),
    *(_other_number, _token, _token, _byte, _cut, _repeat, _elsewhere, _loose),
)
