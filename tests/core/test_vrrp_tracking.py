"""Tracked files and processes: what they do to the priority, and when they are a fault."""

from __future__ import annotations

import pytest

from lvsd.core.model import Track, TrackKind
from lvsd.core.vrrp import Startup, State, TrackChanged, effective_priority, faults

from .vrrp_world import Bench, backup

LOAD = Track(TrackKind.FILE, "load")
WEB = Track(TrackKind.PROCESS, "web")


def weighed(weight: int) -> Track:
    return Track(TrackKind.FILE, "load", weight)


@pytest.mark.parametrize(
    ("weight", "number", "priority"),
    [(1, 7, 107), (-2, 7, 86), (1, 500, 254), (-1, 253, 1), (3, 0, 100), (-1, -10, 110)],
)
def test_a_file_with_a_weight_adds_number_times_weight(weight, number, priority) -> None:
    bench = backup(tracks=(weighed(weight),))
    assert effective_priority(bench.vr) == 100

    bench.do(TrackChanged(LOAD, number == 0, number))

    assert effective_priority(bench.vr) == priority
    assert bench.state is State.BACKUP


@pytest.mark.parametrize(("weight", "number"), [(1, -254), (-2, 127), (-253, 1000)])
def test_a_product_of_minus_254_is_a_fault(weight, number) -> None:
    bench = backup(tracks=(weighed(weight),))

    bench.do(TrackChanged(LOAD, False, number))
    assert bench.state is State.INITIALIZE
    assert faults(bench.vr) == (f"file load holds {number}, times weight {weight}",)
    bench.do(TrackChanged(LOAD, True, 0))

    assert bench.state is State.BACKUP


def test_without_weight_any_number_but_0_is_a_fault() -> None:
    bench = Bench(tracks=(LOAD,))
    bench.do(TrackChanged(LOAD, True))
    bench.do(Startup())
    assert bench.state is State.BACKUP

    bench.do(TrackChanged(LOAD, False, 2))
    assert faults(bench.vr) == ("file load holds 2",)
    bench.do(TrackChanged(LOAD, True, 0))

    assert bench.state is State.BACKUP


def test_a_process_that_is_gone_is_a_fault_and_waited_for_at_the_start() -> None:
    bench = Bench(tracks=(WEB,))
    bench.do(Startup())
    assert bench.vr.reason == "waiting for process web"

    bench.do(TrackChanged(WEB, True))
    assert bench.state is State.BACKUP
    bench.do(TrackChanged(WEB, False))

    assert faults(bench.vr) == ("process web is down",)


@pytest.mark.parametrize(
    ("kind", "weight", "while_up", "while_down"),
    [
        (TrackKind.SCRIPT, 20, 80, 100),
        (TrackKind.SCRIPT, -20, 100, 120),
        (TrackKind.PROCESS, 20, 80, 100),
        (TrackKind.INTERFACE, -20, 100, 120),
    ],
)
def test_a_reversed_weight_is_subtracted_when_it_would_be_added(
    kind, weight, while_up, while_down
) -> None:
    track = Track(kind, "x", weight, reverse=True)
    bench = backup(tracks=(track,))

    bench.do(TrackChanged(track, True))
    assert effective_priority(bench.vr) == while_up
    bench.do(TrackChanged(track, False))

    assert effective_priority(bench.vr) == while_down


@pytest.mark.parametrize("kind", [TrackKind.SCRIPT, TrackKind.PROCESS, TrackKind.INTERFACE])
def test_a_reversed_object_without_weight_is_a_fault_while_it_is_up(kind) -> None:
    track = Track(kind, "x", reverse=True)
    bench = Bench(tracks=(track,))
    bench.do(TrackChanged(track, False))
    bench.do(Startup())
    assert bench.state is State.BACKUP

    bench.do(TrackChanged(track, True))

    assert bench.state is State.INITIALIZE
    assert faults(bench.vr) == (f"{kind} x is up (reverse)",)


def test_a_reversed_file_takes_number_times_weight_away_and_faults_at_minus_254() -> None:
    track = Track(TrackKind.FILE, "load", 2, reverse=True)
    bench = backup(tracks=(track,))

    bench.do(TrackChanged(LOAD, False, 7))
    assert effective_priority(bench.vr) == 86
    bench.do(TrackChanged(LOAD, False, 127))

    assert faults(bench.vr) == ("file load holds 127, times weight 2 reverse",)


def test_a_reversed_file_without_weight_is_a_fault_while_it_holds_0() -> None:
    bench = Bench(tracks=(Track(TrackKind.FILE, "load", reverse=True),))
    bench.do(TrackChanged(LOAD, False, 1))
    bench.do(Startup())
    assert bench.state is State.BACKUP

    bench.do(TrackChanged(LOAD, True, 0))

    assert faults(bench.vr) == ("file load holds 0",)


def test_a_tracked_interface_that_is_not_there_is_not_called_down() -> None:
    eth1 = Track(TrackKind.INTERFACE, "eth1")
    bench = backup(tracks=(eth1,))

    bench.do(TrackChanged(eth1, False, exists=False))
    assert bench.vr.reason == "interface eth1 does not exist"
    bench.do(TrackChanged(eth1, False))
    assert bench.vr.reason == "interface eth1 is down"
    bench.do(TrackChanged(eth1, True))

    assert bench.state is State.BACKUP
