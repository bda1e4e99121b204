"""docs/rfc.md names, for each rule of the RFCs, tests that exist; and every test of a rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .test_rfc_departures import CLASSES, places, rows

TESTS = Path(__file__).parents[1]
ROWS = rows("rfc.md")
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "step", "layout"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[2]}")
def test_each_rule_names_tests_that_exist_for_each_of_its_rfcs(row: list[str]) -> None:
    where, level, _, proof = row
    rfcs = {rfc for rfc, _ in places(where)}
    assert level in LEVELS

    for name in re.findall(r"`([^`]*test_[^`]*)`", proof):
        path, _, function = name.rpartition("::")
        if path:
            assert f"def {function}(" in (TESTS / path).read_text(encoding="utf-8"), name
        else:
            assert all(hasattr(CLASSES[rfc], function) for rfc in rfcs), name


def test_each_rule_is_proved_or_says_why_there_is_nothing_to_prove() -> None:
    unproved = [proof for *_, proof in ROWS if "test_" not in proof]

    assert len(ROWS) > 80
    assert len(unproved) < 10
    assert all(len(reason.split()) > 3 for reason in unproved)


def test_each_test_of_a_rule_is_on_the_page() -> None:
    named = {
        (rfc, name)
        for where, *_, proof in ROWS
        for rfc, _ in places(where)
        for name in re.findall(r"\btest_\w+", proof)
    }
    written = {
        (rfc, name) for rfc, rules in CLASSES.items() for name in dir(rules) if name[:5] == "test_"
    }

    assert written <= named
