"""Interfaces that flap: interfacedowndelay and interfaceupdelay."""

from __future__ import annotations

from lvsd.core.model import Track, TrackKind
from lvsd.core.vrrp import (
    DeadlineReached,
    LinkChanged,
    SendAdvert,
    Startup,
    State,
    TrackChanged,
    VipsReleased,
    desired,
    faults,
    next_deadline,
)

from .vrrp_world import Bench, advert, backup, master

ETH1 = Track(TrackKind.INTERFACE, "eth1")


def run(bench: Bench, until: float) -> None:
    while (at := next_deadline(bench.vr)) is not None and at <= until:
        bench.do(DeadlineReached(), at)
    bench.now = until


def test_a_link_that_is_back_in_time_was_never_down() -> None:
    bench = master(lease=False, interfacedowndelay=1.5)
    start = bench.now

    bench.do(LinkChanged(False))
    run(bench, start + 1.4)
    bench.do(LinkChanged(True))
    run(bench, start + 10)

    assert (bench.state, bench.vr.pending, bench.vr.counters["became_master"]) == (
        State.MASTER,
        {},
        1,
    )


def test_a_link_that_stays_down_is_a_fault_after_the_delay() -> None:
    bench = master(lease=False, interfacedowndelay=1.5)
    start = bench.now

    bench.do(LinkChanged(False))
    bench.do(LinkChanged(False), start + 1.0)  # told twice, counted from the first time
    assert next_deadline(bench.vr) == start + 1.0
    run(bench, start + 1.5)

    assert (bench.state, desired(bench.vr)) == (State.INITIALIZE, ())
    assert faults(bench.vr) == ("interface eth0 is down",)


def test_a_link_must_be_up_for_a_while_to_count() -> None:
    bench = backup(interfaceupdelay=5.0)
    bench.do(LinkChanged(False), 1.0)
    assert bench.state is State.INITIALIZE

    bench.do(LinkChanged(True), 2.0)
    run(bench, 6.9)
    assert bench.state is State.INITIALIZE
    run(bench, 7.0)

    assert (bench.state, bench.vr.since) == (State.BACKUP, 7.0)


def test_a_tracked_interface_moves_the_priority_after_the_delay() -> None:
    bench = Bench(tracks=(Track(TrackKind.INTERFACE, "eth1", -50),), interfacedowndelay=1.0)
    bench.do(TrackChanged(ETH1, True))
    bench.do(Startup())
    bench.deadline()

    bench.do(TrackChanged(ETH1, False))
    at = bench.now
    assert bench.do(DeadlineReached(), at + 0.9) == ()
    effects = bench.do(DeadlineReached(), at + 1.0)

    assert effects == (SendAdvert(50),)


def test_the_first_word_counts_at_once() -> None:
    bench = Bench(tracks=(ETH1,), interfacedowndelay=1.0, interfaceupdelay=1.0)
    for event in (LinkChanged(False), TrackChanged(ETH1, False), Startup()):
        bench.do(event)
    assert len(faults(bench.vr)) == 2

    late = backup(tracks=(ETH1,), interfacedowndelay=1.0)
    late.do(TrackChanged(ETH1, False))
    assert late.state is State.INITIALIZE


def test_a_backup_believes_a_change_before_it_takes_over() -> None:
    bench = backup(interfacedowndelay=1.9)
    bench.do(advert(200), 1.0)
    bench.do(LinkChanged(False), 1.5)

    bench.do(DeadlineReached(), 60.0)

    assert bench.state is State.INITIALIZE
    bench.do(VipsReleased())
    assert next_deadline(bench.vr) is None


def test_that_an_interface_is_gone_is_said_at_once_but_believed_after_the_delay() -> None:
    bench = master(lease=False, interfacedowndelay=1.5)
    start = bench.now

    bench.do(LinkChanged(False))
    bench.do(LinkChanged(False, exists=False), start + 1.0)
    assert bench.state is State.MASTER
    run(bench, start + 1.5)

    assert faults(bench.vr) == ("interface eth0 does not exist",)
