"""Samples, tables and the page `docs/figures.md`.

A figure is `median (min–max, n)` and stands beside the peer's of the same run, with their ratio.
A bench gives Tables; they are printed as text, and with --write they replace the bench's section
of the page. The other sections stay as they are, so each says when and where it was measured.
"""

from __future__ import annotations

import math
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"
README = Path(__file__).parents[2] / "README.md"
HEAD = """# Figures

Written by the benches, each table by the command above it; they need root. A cell is
`median (min–max, n)`. The peer was measured in the same run, in turn with lvsd; a ratio is
lvsd's median over the peer's, so below 1 lvsd is the cheaper or quicker one. Compare only
within a table: figures from an emulated machine say nothing about seconds on a real one.
"""
MARK = re.compile(r"^<!-- bench ([\w.-]+) -->\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the head, rows of as many cells, and remarks; all text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


#: The last columns of a table of aims.
AIMED = ("target", "measured", "reached")


@dataclass(frozen=True, slots=True)
class Section:
    """What one bench has to say, where it was measured, and the arguments it was given."""

    name: str
    arguments: str
    machine: str
    date: str
    tables: Sequence[Table]


def number(value: float) -> str:
    """About three significant digits, never in powers of ten."""
    if math.isinf(value):
        return "no end"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if size < 0.0005 and "." in text else text


def sample(values: Sequence[float], scale: float = 1.0) -> str:
    """`median (min–max, n)`; a dash without values."""
    if not values:
        return "–"
    scaled = sorted(value * scale for value in values)
    if len(scaled) == 1:
        return f"{number(scaled[0])} (1)"
    low, high = number(scaled[0]), number(scaled[-1])
    if math.isinf(scaled[0]):
        return f"{low} ({len(scaled)})"
    return f"{number(median(scaled))} ({low}–{high}, {len(scaled)})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Median over median; a dash where the peer's is nothing or without end."""
    if not ours or not theirs or not median(theirs) or math.isinf(median(theirs)):
        return "–"
    return f"{number(median(ours) / median(theirs))} ×"


def aim(work: str, target: str, measured: str, reached: bool) -> tuple[str, str, str, str]:
    """A row of a table of aims."""
    return work, target, measured, "yes" if reached else "**no**"


def aims(
    of: str, rows: Sequence[tuple[str, str, str, str]], notes: Sequence[str] = (), work: str = ""
) -> Table:
    """The table of what some work aimed at; `summary` finds it again by its head."""
    return Table(f"{of}: what was aimed at", (work, *AIMED), rows, notes)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]


def machine(virtual: bool) -> str:
    """The class of the machine a bench runs on."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: *(.+)", info)
    kernel = ".".join(platform.release().split(".")[:2])
    words = f"{os.cpu_count()} processors ({model[1] if model else platform.machine()})"
    where = "the lab's virtual machine, " if virtual else ""
    return f"{where}{words}, Linux {kernel}, Python {platform.python_version()}"


def today() -> str:
    """The date, for a section."""
    return time.strftime("%Y-%m-%d")


def load() -> str:
    """How busy the machine is with other things, for a note."""
    return f"Load average when the bench began: {os.getloadavg()[0]:.1f}."


def text(table: Table) -> str:
    """A table for the terminal."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    shown = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    ruler = "  ".join("-" * width for width in widths)
    body = "\n".join(line.rstrip() for line in [shown[0], ruler, *shown[1:]])
    notes = "".join(f"\n{note}" for note in table.notes)
    return f"\n{table.title}\n\n{body}\n{notes}\n"


def markdown(section: Section) -> str:
    """A bench's section of the page."""
    name = section.name
    out = [
        f"<!-- bench {name} -->",
        f"## {name}",
        "",
        f'`make bench ARGS="{section.arguments}"`',
        "",
    ]
    out += [f"Measured on {section.date}: {section.machine}.", ""]
    for table in section.tables:
        out += [f"**{table.title}**", "", f"| {' | '.join(table.head)} |"]
        out += ["|" + "---|" * len(table.head)]
        out += [f"| {' | '.join(row)} |" for row in table.rows]
        out += ["", *(f"- {note}" for note in table.notes), *([""] if table.notes else [])]
    return "\n".join(out).rstrip() + "\n"


def sections(page: str) -> dict[str, str]:
    """The sections of a page by bench."""
    marks = list(MARK.finditer(page))
    ends = [*(mark.start() for mark in marks[1:]), len(page)]
    return {
        mark[1]: page[mark.start() : end].rstrip() + "\n"
        for mark, end in zip(marks, ends, strict=True)
    }


def write(section: Section, order: Sequence[str], path: Path = PAGE) -> None:
    """Put a new section into the page; what is no section of `order` goes."""
    held = sections(path.read_text()) if path.exists() else {}
    held[section.name] = markdown(section)
    parts = [held[name] for name in order if name in held]
    path.write_text("\n".join([HEAD, *parts]))
