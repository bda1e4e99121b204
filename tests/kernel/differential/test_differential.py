"""ldirectord and lvsd do the same: see scenario.py for the files, docs/ldirectord.md for the rest.

Several scenarios are played at once, since most of the time is waiting; each test then tells how
its own went.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

import pytest
from _pytest.mark import ParameterSet

from tests.kernel.differential.scenario import Scenario, scenarios
from tests.kernel.differential.stage import Stage

#: On two processors more at once would only make each other late.
STAGES = 4


def marked(scenario: Scenario) -> ParameterSet:
    """What only `make test-long` runs carries the mark."""
    return pytest.param(scenario, marks=[pytest.mark.long] if scenario.long else [])


@pytest.fixture(scope="module")
def outcome(request: pytest.FixtureRequest) -> Iterator[Callable[[Scenario], None]]:
    """Plays all scenarios of this run in the background; a call waits for one of them."""
    chosen: list[Scenario] = [
        item.callspec.params["scenario"]  # type: ignore[attr-defined]
        for item in request.session.items
        if item.module is request.module and "scenario" in item.fixturenames  # type: ignore[attr-defined]
    ]
    with ExitStack() as stack:
        stages: SimpleQueue[Stage] = SimpleQueue()
        for _ in range(min(STAGES, len(chosen))):
            stages.put(stack.enter_context(Stage()))

        def play(scenario: Scenario) -> None:
            stage = stages.get()
            try:
                stage.play(scenario)
            finally:
                stages.put(stage)

        pool = stack.enter_context(ThreadPoolExecutor(STAGES))
        stack.callback(pool.shutdown, cancel_futures=True)
        played: dict[str, Future[None]] = {each.name: pool.submit(play, each) for each in chosen}

        def wait(scenario: Scenario) -> None:
            # Waiting for one's turn is no hang.
            faulthandler.cancel_dump_traceback_later()
            played[scenario.name].result()

        yield wait


@pytest.mark.parametrize("scenario", [marked(each) for each in scenarios()], ids=str)
def test_both_tables_are_the_same_after_each_step(
    scenario: Scenario, outcome: Callable[[Scenario], None]
) -> None:
    outcome(scenario)
