"""The scenarios of tests/kernel/differential leave out no word of ldirectord's, and no reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lvsd.config.table import TABLE
from tests.kernel.differential.scenario import Scenario, scenarios

DOCUMENT = Path(__file__).parents[2] / "docs" / "ldirectord.md"
SCENARIOS = scenarios()
CONFIGS = [text for each in SCENARIOS for text in each.configs.values()]


def words(scope: str) -> set[str]:
    """The directives that are ldirectord's."""
    return {row.name for row in TABLE if row.origin == "ldirectord" and scope in row.scopes}


def written(pattern: str) -> set[str]:
    """The directives that stand in the configurations of the scenarios."""
    return {name for text in CONFIGS for name in re.findall(pattern, text, re.MULTILINE)}


def named() -> set[str]:
    """The keys of the table of differences in the document."""
    _, _, section = DOCUMENT.read_text().partition("\n## What differs in the table\n")
    return set(re.findall(r"^\| `([a-z0-9-]+)` \|", section.partition("\n## ")[0], re.MULTILINE))


def test_there_are_40_configurations_and_a_third_of_them_is_played_each_time() -> None:
    assert len(SCENARIOS) >= 40
    assert 3 * sum(not each.long for each in SCENARIOS) >= len(SCENARIOS)


def test_every_global_directive_of_ldirectord_stands_in_one() -> None:
    assert words("global") - written(r"^([a-z0-9]+)\s*=") == set()


def test_every_directive_of_ldirectords_blocks_stands_in_one() -> None:
    # lvsd refuses or knows these in a block, where the original does not.
    widened = {"emailalertfrom", "timeout"}
    assert words("virtual") - widened - written(r"^[ \t]+([a-z0-9]+)\s*=") == set()


def test_every_difference_is_one_of_the_documents_and_every_one_of_those_is_shown() -> None:
    shown = {key for each in SCENARIOS for key in each.keys}
    assert shown == named()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_scenario_begins_with_what_it_is_about_and_starts_both(scenario: Scenario) -> None:
    assert any(step.words == ("start",) for step in scenario.steps)
    assert scenario.about
