"""docs/vrrp.md tells exactly what is tried with whom: its tables are the tests' parameters."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

from tests.interop import test_frr, test_keepalived, test_keepalived_matrix

PAGE = Path(__file__).parents[2] / "docs" / "vrrp.md"
MODULES = {
    "keepalived": (test_keepalived, test_keepalived_matrix),
    "FRR": (test_frr,),
}
#: What the names of the tests say → the column.
COLUMNS = {
    r"from_an_orderly_stop$|hands_over_from_lvsd$": "hands over",
    r"lvsd_takes_over_from|hands_over_from_keepalived$": "takes over",
    r"and_lvsd_yields$": "yields",
    r"and_(keepalived|frr)_yields$": "preempts",
}


def rows(first: str) -> list[dict[str, str]]:
    """The rows of the page's table whose first column is `first`, by column."""
    table = PAGE.read_text(encoding="utf-8").split(f"| {first} |")[1].split("\n\n")[0]
    head, _, *lines = (f"| {first} |" + table).splitlines()
    names, *found = ([cell.strip() for cell in x.strip("| ").split(" | ")] for x in [head, *lines])
    return [dict(zip(names, cells, strict=True)) for cells in found]


def named(module: ModuleType) -> dict[str, bool]:
    """The module's tests, and whether each is run for every case."""
    return {
        name: "case" in inspect.signature(function).parameters
        for name, function in vars(module).items()
        if name.startswith("test_") and inspect.isfunction(function)
    }


def tried() -> set[tuple[str, str, str]]:
    """(neighbour, kind, column) of every test that is run for every case."""
    return {
        (neighbour, kind, column)
        for neighbour, modules in MODULES.items()
        for module in modules
        for name, for_each in named(module).items()
        for pattern, column in COLUMNS.items()
        if for_each and re.search(pattern, name)
        for kind in module.CASES
    }


def test_the_table_of_neighbours_is_what_the_tests_are_run_with() -> None:
    told = {
        (row["Neighbour"].split()[0], row["Kind"], column)
        for row in rows("Neighbour")
        for column in COLUMNS.values()
        if row[column] == "yes"
    }

    assert told == tried()
    assert len(told) > 30


def test_every_test_of_a_case_has_a_column() -> None:
    for modules in MODULES.values():
        for module in modules:
            for name, for_each in named(module).items():
                columns = [c for p, c in COLUMNS.items() if re.search(p, name)]
                assert len(columns) == for_each, name


def test_the_table_of_situations_names_every_other_test() -> None:
    told = {row["Test"].strip("`") for row in rows("Situation")}

    assert told == {name for name, each in named(test_keepalived_matrix).items() if not each}
