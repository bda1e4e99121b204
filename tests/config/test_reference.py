"""Help and reference come from the table; the shipped files load."""

import os
import re
from pathlib import Path

import pytest

from lvsd.config import describe, reference
from lvsd.config.table import TABLE
from lvsd.config.values import PARSERS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "etc" / "examples").glob("*.conf"))


def test_the_reference_is_up_to_date():
    path = ROOT / "docs" / "configuration.md"
    if os.environ.get("LVSD_REWRITE") == "1":
        path.write_text(reference())
    assert path.read_text() == reference(), "run the tests once with LVSD_REWRITE=1"


def test_no_cell_of_the_reference_is_empty():
    lines = [line for line in reference().splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert len(cells) > len(TABLE)
    assert {len(row) for row in cells} == {5}
    assert all(cell.strip() for row in cells for cell in row)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.name}-{'-'.join(row.scopes)}")
def test_every_directive_has_a_parser_and_a_meaning(row):
    assert row.kind in PARSERS
    assert row.doc.endswith(".")
    assert row.doc in describe(row.name)


def test_help_proposes_the_nearest_directive():
    assert "Seconds between the starts of two checks" in describe("checkinterval")
    with pytest.raises(LookupError, match='did you mean "virtualrouterid"'):
        describe("virtual_router_id")


@pytest.mark.parametrize("path", [ROOT / "etc" / "lvsd.conf", *EXAMPLES], ids=lambda p: p.name)
def test_shipped_files_load_without_errors_or_surprises(load_text, path):
    config = load_text(path.read_bytes())
    assert config.virtuals
    assert not [w for w in config.warnings if "no interface" not in w]


def test_there_is_an_example_for_each_classic_set_up():
    assert len(EXAMPLES) == 5


def alternatives():
    return re.findall(r"^(\s*)#:(.*)$", (ROOT / "etc" / "lvsd.conf").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", alternatives(), ids=lambda line: line[1])
def test_every_alternative_of_the_annotated_file_works(load_text, line):
    text = (ROOT / "etc" / "lvsd.conf").read_text()
    config = load_text(text.replace("".join((line[0], "#:", line[1])), "".join(line)))
    assert config.virtuals


def test_all_alternatives_of_the_annotated_file_work_together(load_text):
    text = (ROOT / "etc" / "lvsd.conf").read_text().replace("#:", "")
    config = load_text(text)
    assert config.routers[0].priority == 150
    assert len(config.virtuals[0].reals) == 3
