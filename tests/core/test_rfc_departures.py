"""Every departure that a test of the RFCs states is in docs/vrrp.md, and nothing else is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from . import test_rfc3768, test_rfc5798, test_rfc9568

DOCS = Path(__file__).parents[2] / "docs"
CLASSES = {
    "3768": test_rfc3768.TestRfc3768,
    "5798": test_rfc5798.TestRfc5798,
    "9568": test_rfc9568.TestRfc9568,
}


def stated() -> Counter[tuple[str, str]]:
    """How many tests name a departure, for each (RFC, section)."""
    found: Counter[tuple[str, str]] = Counter()
    for rfc, rules in CLASSES.items():
        for name in dir(rules):
            if match := re.match(r"test_((?:\d+_|and_)+)departure", name):
                sections = match[1].strip("_").split("_and_")
                found.update((rfc, section.replace("_", ".")) for section in sections)
    return found


def places(cell: str) -> list[tuple[str, str]]:
    """The (RFC, section) of `3768 §5.2.3; 5798, 9568 §5.1.1.3, §5.1.2.3`."""
    return [
        (rfc, section)
        for part in cell.split(";")
        for rfc in re.findall(r"\b\d{4}\b", part)
        for section in re.findall(r"§([\d.]+)", part)
    ]


def rows(page: str) -> list[list[str]]:
    """The cells of the rows that begin with an RFC's number."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [line.strip("| ").split(" | ") for line in lines if re.match(r"\| \d{4}\b", line)]


def test_the_page_lists_exactly_the_departures_that_are_tested() -> None:
    documented = Counter(place for row in rows("vrrp.md") for place in places(row[0]))

    assert documented == stated()
    assert len(documented) > 30
