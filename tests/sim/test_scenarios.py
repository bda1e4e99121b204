"""Each file of `scenarios/` gives exactly the trace written in it.

`pytest tests/sim --rewrite` writes the traces anew. Commit one only when you know its cause.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.scenario import files, replayed


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_a_scenario_gives_its_trace(path: Path, pytestconfig: pytest.Config) -> None:
    text = path.read_text(encoding="utf-8")

    seen = replayed(text)

    if pytestconfig.getoption("--rewrite"):
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")


def test_there_are_scenarios() -> None:
    assert len(files()) >= 13
