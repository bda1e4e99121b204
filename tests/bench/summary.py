"""What the benches aimed at and reached, in one table: at the end of a run, and in the README.

A bench says it in a table whose last columns are `target`, `measured` and `reached`. The README's
table is made of the page of figures, so that it never says anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tests.bench.figures import AIMED, PAGE, README, Section, Table, sections

BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
_MEASURED = re.compile(r"^Measured on (\S+): (.+)\.$", re.MULTILINE)


def merged(done: Iterable[Section]) -> Table:
    """The aims of some sections."""
    rows = [
        (section.name, *row)
        for section in done
        for table in section.tables
        if tuple(table.head[-3:]) == AIMED
        for row in table.rows
    ]
    return Table("What was aimed at", ("bench", "work", *AIMED), rows)


def told(section: str) -> Iterator[Sequence[str]]:
    """The rows of the aims in a section of the page: work, target, measured, reached."""
    inside = False
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif tuple(cells[-3:]) == AIMED:
            inside = True
        elif inside and not line.startswith("|---"):
            yield cells


def summarise(names: Iterable[str]) -> None:
    """Make the README's table anew from these sections of the page."""
    page = sections(PAGE.read_text())
    held = [(name, page[name]) for name in names if name in page]
    lines = []
    for (date, machine), found in _by_machine(held).items():
        rows = [(name, *row) for name, text in found for row in told(text)]
        if rows:
            lines += [f"Measured on {date}: {machine}.", ""]
            lines += [f"| bench | work | {' | '.join(AIMED)} |", "|---|---|---|---|---|"]
            lines += [
                f"| [{n}](docs/figures.md#{n.replace('.', '')}) | {' | '.join(row)} |"
                for n, *row in rows
            ]
            lines.append("")
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + BEGIN + "\n" + "\n".join(lines) + END + after)


def _by_machine(
    held: Iterable[tuple[str, str]],
) -> dict[tuple[str, str], list[tuple[str, str]]]:
    grouped: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, text in held:
        if where := _MEASURED.search(text):
            grouped.setdefault((where[1], where[2]), []).append((name, text))
    return grouped
