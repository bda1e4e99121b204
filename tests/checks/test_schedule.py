"""The schedule, under a clock of our own."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsd.checks.schedule import Schedule, phase
from lvsd.core.model import Check, CheckKind


def checks(count: int, interval: float = 10.0) -> list[Check]:
    return [Check(CheckKind.HTTP, IPv4Address(0x0A000000 + n), 80, interval) for n in range(count)]


def starts(schedule: Schedule, until: float, took: float, late: float = 0.0) -> list[float]:
    """Run a schedule of one check to `until`; when it started."""
    found = []
    while (at := schedule.next_at()) is not None and at <= until:
        (entry,) = schedule.due(at + late, 10)
        found.append(at + late)
        schedule.finished(entry, at + late + took, True)
    return found


def test_the_first_round_lasts_a_second_at_most() -> None:
    schedule = Schedule()
    for check in checks(1000):
        schedule.add(check, 100.0)
    assert len(schedule.due(101.0, 5000)) == 1000


def test_starts_are_spread_evenly_in_the_first_round_and_later() -> None:
    schedule = Schedule()
    for check in checks(1000):
        schedule.add(check, 0.0)
    sizes = []
    for step in range(1, 301):
        batch = schedule.due(step / 10, 5000)
        sizes.append(len(batch))
        for entry in batch:
            schedule.finished(entry, step / 10, True)
    assert sum(sizes[:10]) == 1000
    assert max(sizes[:10]) < 140  # a thousand in ten slots
    assert sum(sizes[200:]) == 1000
    assert max(sizes[200:]) < 30  # a thousand in a hundred slots, a quarter of them empty


def test_no_part_of_the_interval_has_more_starts_than_another() -> None:
    schedule = Schedule()
    for check in checks(3000, 3.0):
        schedule.add(check, 0.0)
    sizes = []
    for step in range(1, 101):
        batch = schedule.due(step / 10, 5000)
        sizes.append(len(batch))
        for entry in batch:
            schedule.finished(entry, step / 10, True)
    assert sum(sizes[70:]) == 3000
    assert max(sizes[70:]) < 140  # a hundred in each of thirty slots


def test_the_phase_depends_on_the_check_alone() -> None:
    (check,) = checks(1)
    assert phase(check) == phase(Check(CheckKind.HTTP, IPv4Address("10.0.0.0"), 80, 10.0))
    assert 0 <= phase(check) < 1


@settings(deadline=None)
@given(late=st.floats(0, 0.5), took=st.floats(0, 0.4), interval=st.floats(1.5, 60))
def test_intervals_do_not_drift(late: float, took: float, interval: float) -> None:
    schedule = Schedule()
    schedule.add(checks(1, interval)[0], 0.0)
    found = starts(schedule, 50 * interval, took, late)
    grid = found[1]
    for n, at in enumerate(found[1:]):
        assert at == pytest.approx(grid + n * interval)
    assert found[1] - found[0] <= interval + 1e-6


def test_a_check_longer_than_its_interval_starts_again_when_it_ends() -> None:
    schedule = Schedule()
    schedule.add(checks(1, 2.0)[0], 0.0)
    found = starts(schedule, 60, took=5.0)
    assert {round(b - a, 6) for a, b in pairwise(found)} == {5.0}


def test_a_running_check_is_not_handed_out_again() -> None:
    schedule = Schedule()
    schedule.add(checks(1)[0], 0.0)
    assert len(schedule.due(1.0, 10)) == 1
    assert schedule.due(1000.0, 10) == []
    assert schedule.next_at() is None


def test_no_more_than_the_limit_is_handed_out() -> None:
    schedule = Schedule()
    for check in checks(100):
        schedule.add(check, 0.0)
    assert [len(schedule.due(1.0, 32)) for _ in range(4)] == [32, 32, 32, 4]


def test_after_a_stall_the_next_round_is_spread() -> None:
    schedule = Schedule()
    for check in checks(1000, 2.0):
        schedule.add(check, 0.0)
    for entry in schedule.due(1.0, 5000):
        schedule.finished(entry, 1.0, True)
    stalled = schedule.due(100.0, 5000)
    assert len(stalled) == 1000
    for entry in stalled:
        schedule.finished(entry, 100.0, True)
    sizes = [len(schedule.due(100 + n / 10, 5000)) for n in range(1, 21)]
    assert sum(sizes) == 1000
    assert max(sizes) < 140


def test_trigger_starts_now() -> None:
    schedule = Schedule()
    (check,) = checks(1)
    schedule.finished(schedule.add(check, 0.0), 0.5, True)
    schedule.trigger(check, 1.0)
    assert [e.check for e in schedule.due(1.0, 10)] == [check]


def test_trigger_during_a_run_starts_once_more_after_it() -> None:
    schedule = Schedule()
    (check,) = checks(1)
    schedule.add(check, 0.0)
    (entry,) = schedule.due(1.0, 10)
    schedule.trigger(check, 1.5)
    assert schedule.due(1.5, 10) == []
    schedule.finished(entry, 2.0, True)
    assert schedule.next_at() == 2.0
    (entry,) = schedule.due(2.0, 10)
    schedule.finished(entry, 2.1, True)
    assert schedule.next_at() > 3.0  # type: ignore[operator]


def test_trigger_of_an_unknown_check_does_nothing() -> None:
    schedule = Schedule()
    schedule.trigger(checks(1)[0], 1.0)
    assert schedule.next_at() is None


@pytest.mark.parametrize("there", [True, False])
def test_news_that_contradicts_the_last_verdict_starts_a_check_now(there: bool) -> None:
    schedule = Schedule()
    (check,) = checks(1)
    entry = schedule.add(check, 0.0)
    schedule.hasten(check, there, 0.0)  # never asked: its first turn comes soon anyway
    assert schedule.due(1.0, 10) == [entry]
    schedule.finished(entry, 1.0, not there)

    schedule.hasten(check, there, 1.5)

    assert schedule.due(1.5, 10) == [entry]
    assert entry.hastened is there
    schedule.finished(entry, 1.6, there)
    assert entry.hastened is None
    schedule.hasten(check, there, 1.7)  # known by now
    assert schedule.due(1.7, 10) == []


def test_news_during_a_run_starts_another_one_if_the_verdict_does_not_know_it() -> None:
    schedule = Schedule()
    (check,) = checks(1)
    entry = schedule.add(check, 0.0)
    schedule.due(1.0, 10)
    schedule.hasten(check, False, 1.1)
    schedule.finished(entry, 1.2, True)
    assert schedule.due(1.2, 10) == [entry]
    assert entry.hastened is False

    schedule.hasten(check, False, 1.3)
    schedule.finished(entry, 1.4, False)

    assert schedule.due(1.4, 10) == []
    assert entry.hastened is None


def test_many_that_were_hastened_together_are_spread_again() -> None:
    schedule = Schedule()
    asked = checks(100)
    for check in asked:
        schedule.finished(schedule.add(check, 0.0), 0.0, True)
    for check in asked:
        schedule.hasten(check, False, 5.0)
    for entry in schedule.due(5.0, 100):
        schedule.finished(entry, 5.0, False)

    assert len(schedule.due(5.0 + 0.5 * asked[0].interval, 100)) < 50


def test_news_of_an_unknown_check_does_nothing() -> None:
    schedule = Schedule()
    schedule.hasten(checks(1)[0], True, 1.0)
    assert schedule.next_at() is None


def test_a_removed_check_never_starts_again() -> None:
    schedule = Schedule()
    waiting, running = checks(2)
    schedule.add(running, 0.0)
    (entry,) = schedule.due(1.0, 10)
    schedule.add(waiting, 1.0)
    schedule.remove(waiting)
    schedule.remove(running)
    schedule.finished(entry, 2.0, True)
    schedule.retry(entry, 2.0)
    assert schedule.next_at() is None
    assert len(schedule) == 0


def test_a_check_that_could_not_be_asked_is_tried_again_soon() -> None:
    schedule = Schedule()
    for check in checks(50, 60.0):
        schedule.add(check, 0.0)
    for entry in schedule.due(1.0, 100):
        schedule.retry(entry, 1.0)
    assert schedule.due(1.2, 100) == []
    assert len(schedule.due(1.5, 100)) == 50
