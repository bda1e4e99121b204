"""Thousands of stories by chance. `--seeds N` (or LVSD_SEEDS) plays N, `--seed N` only that one.

A seed that breaks a rule prints its story; replay it with `pytest tests/sim --seed N`.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.sim.seeds import Failed, play, told

#: Seeds per task of a worker, and stories printed at most.
CHUNK = 50
STORIES = 3
#: The test has parts, so that none takes long.
PARTS = 5


def play_chunk(seeds: range) -> list[str]:
    """The stories of the seeds that fail."""
    stories = []
    for seed in seeds:
        try:
            play(seed)
        except Failed as failure:
            stories.append(str(failure))
    return stories


@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_breaks_a_rule(part: int, pytestconfig: pytest.Config) -> None:
    only = pytestconfig.getoption("--seed")
    count = pytestconfig.getoption("--seeds")
    seeds = range(count) if only is None else range(only, only + 1)
    seeds = seeds[part::PARTS]
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    workers = max(1, min(len(chunks), os.cpu_count() or 1))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        failed = [story for stories in pool.map(play_chunk, chunks) for story in stories]
    if failed:
        words = f"{len(failed)} of {len(seeds)} seeds break a rule; replay one with --seed N"
        pytest.fail("\n\n".join([words, *failed[:STORIES]]), pytrace=False)


@pytest.mark.parametrize("seed", [7, 8])
def test_a_seed_tells_the_same_story_twice(seed: int) -> None:
    assert told(play(seed)) == told(play(seed))
