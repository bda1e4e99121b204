"""The reader of configurations on mutated files by the million: what becomes of them.

The inputs are those of tests/config/test_fuzz.py, from number 0 on, and so is the judgement.
"""

from __future__ import annotations

import sys
import time

from tests.bench.figures import Table, number
from tests.config import fuzz
from tests.lab.tree import LabError

#: Inputs between two words of progress.
STRIDE = 50_000


def run(inputs: int) -> list[Table]:
    """One table. Raises LabError when an input fails; each that does is told at once."""
    tally, began = fuzz.Tally(), time.monotonic()
    for one in fuzz.run(range(inputs)):
        before = tally.tried
        tally.add(one)
        for story in one.failures:
            print(story, file=sys.stderr, flush=True)
        if tally.tried // STRIDE > before // STRIDE:
            said = f"{tally.tried} inputs, {tally.accepted} load, {len(tally.failures)} fail"
            print(said, file=sys.stderr, flush=True)
    if tally.failures:
        raise LabError(f"{len(tally.failures)} inputs fail, see above")
    took, (slowest, which) = time.monotonic() - began, tally.slowest
    row = (
        *(f"{inputs:,}", f"{tally.accepted:,}", f"{tally.refused:,}", str(len(tally.failures))),
        *(f"{number(slowest * 1e3)} (input {which})", number(inputs / took)),
    )
    return [
        Table(
            "Mutated configuration files, read by lvsd alone",
            (
                *("inputs", "load", "are refused", "neither"),
                *("the slowest, CPU ms", "inputs/s"),
            ),
            [row],
            (
                "What loads has a normal form that loads back to an equal configuration. "
                f"An input that needs {fuzz.LIMIT:g} s of CPU counts as endless. "
                "See an input again: `pytest tests/config/test_fuzz.py --input N`.",
            ),
        )
    ]
