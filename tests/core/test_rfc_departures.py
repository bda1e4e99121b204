"""Every departure that a test of the RFCs states is in docs/vrrp.md, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

from . import test_rfc3768, test_rfc5798, test_rfc9568

PAGE = Path(__file__).parents[2] / "docs" / "vrrp.md"
CLASSES = {
    "3768": test_rfc3768.TestRfc3768,
    "5798": test_rfc5798.TestRfc5798,
    "9568": test_rfc9568.TestRfc9568,
}


def stated() -> set[tuple[str, str]]:
    """(RFC, section) of each test that names a departure."""
    found = set()
    for rfc, rules in CLASSES.items():
        for name in dir(rules):
            if match := re.match(r"test_((?:\d+_)+)departure", name):
                found.add((rfc, match[1].rstrip("_").replace("_", ".")))
    return found


def documented() -> set[tuple[str, str]]:
    """(RFC, section) of each row of the page's table."""
    found = set()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| ([\d, ]+) §([\d.]+) \|", line):
            found |= {(rfc.strip(), match[2]) for rfc in match[1].split(",")}
    return found


def test_the_page_lists_exactly_the_departures_that_are_tested() -> None:
    assert documented() == stated()
    assert len(stated()) > 10
