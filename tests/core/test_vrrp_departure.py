"""The ways out of MASTER: faults, sleep, orderly stop and step-down."""

from __future__ import annotations

import pytest

from lvsd.core.model import Track, TrackKind, Vip
from lvsd.core.vrrp import (
    Announce,
    ChildLost,
    DeadlineReached,
    LeaseRefreshed,
    LinkChanged,
    NeighbourAnnounced,
    Reconfigured,
    Relieved,
    Resume,
    SendAdvert,
    Shutdown,
    SourceChanged,
    State,
    StepDown,
    StepDownFailed,
    TrackChanged,
    VipsBound,
    VipsFailed,
    VipsLost,
    VipsReleased,
    counters,
    desired,
    faults,
    next_deadline,
    reported_state,
    stopped,
)

from .vrrp_world import HIGH, VIP, VIP2, advert, backup, config, kinds, master


def test_a_fault_sends_priority_zero_twice_and_lets_go() -> None:
    bench = master(tracks=(Track(TrackKind.INTERFACE, "eth1"),))

    effects = bench.do(TrackChanged(Track(TrackKind.INTERFACE, "eth1"), False))

    assert effects == (SendAdvert(0), SendAdvert(0))
    assert (bench.state, desired(bench.vr)) == (State.INITIALIZE, ())
    assert kinds(bench.do(VipsReleased())) == ["StateChanged"]
    assert reported_state(bench.vr) == "fault"
    assert counters(bench.vr)["priority_zero_sent"] == 2
    assert counters(bench.vr)["released_master"] == 1


@pytest.mark.parametrize("event", [LinkChanged(False), SourceChanged(None)])
def test_nothing_is_sent_when_nothing_can_be_sent(event) -> None:
    bench = master()

    assert bench.do(event) == ()

    assert (bench.state, desired(bench.vr)) == (State.INITIALIZE, ())


def test_three_refusals_of_the_kernel_are_a_fault_that_is_tried_again_ever_later() -> None:
    bench = master()

    for pause in (10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0):
        assert bench.do(VipsFailed("EPERM")) == ()
        assert bench.do(VipsFailed("EPERM")) == ()
        assert bench.do(VipsFailed("EPERM")) == (SendAdvert(0), SendAdvert(0))
        assert faults(bench.vr) == ("cannot hold the VIPs: EPERM",)
        assert next_deadline(bench.vr) == bench.now + pause
        bench.do(VipsReleased())
        bench.deadline()
        assert bench.state is State.BACKUP
        bench.deadline()
        assert bench.state is State.MASTER

    bench.do(VipsBound())
    assert bench.vr.retry_delay == 10.0


def test_refusals_that_end_in_time_are_forgotten() -> None:
    bench = master()

    for _ in range(5):
        bench.do(VipsFailed("x"))
        bench.do(VipsFailed("x"))
        bench.do(VipsBound())

    assert bench.state is State.MASTER


# --- sleep ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event", [DeadlineReached(), advert(50), advert(0), VipsBound(), ChildLost(False)]
)
def test_whatever_wakes_a_master_that_overslept_it_listens_first(event) -> None:
    bench = master()

    effects = bench.do(event, bench.now + 3.1)

    assert "SendAdvert" not in kinds(effects)
    assert (bench.state, desired(bench.vr)) == (State.BACKUP, ())


def test_an_overslept_master_listens_for_an_interval_and_its_skew() -> None:
    bench = master()

    bench.do(DeadlineReached(), bench.now + 10.0)
    assert bench.vr.reason == "slept for 10.0 s, listening first"
    woke_at = bench.now
    bench.deadline()

    assert (bench.now, bench.state) == (woke_at + 1.609375, State.MASTER)


def test_a_master_late_by_less_than_its_peers_patience_goes_on() -> None:
    bench = master(lease=False)

    bench.do(DeadlineReached(), bench.now + 3.0)

    assert bench.state is State.MASTER


# --- orderly stop and step-down -------------------------------------------------------------


def test_a_stop_serves_until_the_peers_announcement() -> None:
    bench = master()

    assert bench.do(Shutdown()) == (SendAdvert(0),)
    assert desired(bench.vr) == config().addresses
    assert bench.do(NeighbourAnnounced(VIP2)) == ()
    effects = bench.do(NeighbourAnnounced(VIP), bench.now + 0.7)

    assert effects == (Relieved(f"{VIP} was announced by its new master"),)
    assert (desired(bench.vr), stopped(bench.vr)) == ((), False)
    assert kinds(bench.do(VipsReleased())) == ["StateChanged"]
    assert stopped(bench.vr)


def test_a_stop_serves_for_100_ms_after_the_peers_advert() -> None:
    bench = master()
    bench.do(Shutdown())

    assert bench.do(advert(0), bench.now + 0.4) == ()
    assert bench.do(advert(50), bench.now + 0.1) == ()
    heard_at = bench.now
    assert bench.do(advert(50), bench.now + 0.05) == ()
    effects = bench.deadline()

    assert bench.now == pytest.approx(heard_at + 0.1)
    assert effects == (Relieved(f"{HIGH} took over"),)


@pytest.mark.parametrize(("version", "seconds"), [(2, 1.0), (3, 3.0)])
def test_a_stop_nobody_answers_ends_in_time(version, seconds) -> None:
    bench = master(version=version, advertint=3.0)
    start = bench.now
    bench.do(Shutdown())

    assert bench.do(DeadlineReached(), start + seconds - 0.01) == ()
    assert bench.deadline() == (Relieved("nobody took over in time"),)

    assert bench.now == start + seconds
    assert bench.vr.reason == "shut down; nobody took over in time"


def test_a_stop_does_not_wait_when_the_link_goes_down_meanwhile() -> None:
    bench = master()
    bench.do(Shutdown())

    assert bench.do(LinkChanged(False)) == (Relieved("interface eth0 is down"),)
    bench.do(VipsReleased())

    assert stopped(bench.vr)


def test_a_step_down_ends_as_backup_that_does_not_preempt() -> None:
    bench = master()

    assert bench.do(StepDown()) == (SendAdvert(0),)
    assert bench.do(StepDown()) == ()
    bench.do(advert(50), bench.now + 0.8)
    assert bench.deadline() == (Relieved(f"{HIGH} took over"),)

    assert bench.state is State.BACKUP
    for _ in range(10):
        bench.do(advert(50), bench.now + 1)
    assert bench.state is State.BACKUP
    bench.deadline()
    assert bench.state is State.MASTER  # the other one fell silent


def test_a_step_down_nobody_answers_goes_on_as_master() -> None:
    bench = master()

    bench.do(StepDown())
    bench.do(LeaseRefreshed())
    effects = bench.deadline()

    assert StepDownFailed("nobody took over in time") in effects
    assert effects[0] == SendAdvert(100)
    assert (bench.state, desired(bench.vr)) == (State.MASTER, config().addresses)
    bench.do(LeaseRefreshed())
    assert bench.deadline()[0] == SendAdvert(100)


def test_a_step_down_under_way_can_be_called_off() -> None:
    bench = master()
    bench.do(StepDown())

    effects = bench.do(Resume(), bench.now + 0.1)

    assert effects[-1] == StepDownFailed("called off")
    assert bench.state is State.MASTER


def test_a_stop_overtakes_a_step_down() -> None:
    bench = master()
    bench.do(StepDown())

    assert bench.do(Shutdown()) == ()
    bench.do(Resume())
    bench.deadline()
    bench.do(VipsReleased())

    assert stopped(bench.vr)


def test_refusals_and_bindings_do_not_disturb_a_stop() -> None:
    bench = master()
    bench.do(Shutdown())

    for event in (VipsFailed("x"), VipsFailed("x"), VipsFailed("x"), VipsBound(), VipsLost((VIP,))):
        assert bench.do(event) == ()

    assert bench.state is State.MASTER


def test_a_stepdown_without_answer_uncovers_what_was_due_meanwhile() -> None:
    bench = backup()
    bench.now = next_deadline(bench.vr) or 0.0
    bench.do(DeadlineReached())  # MASTER, and the kernel never confirms the VIPs
    bench.do(StepDown())
    bench.now += 3.5  # the wait for a peer ended after 1 s, the kernel's time after 3 s

    effects = bench.do(DeadlineReached())

    assert "StepDownFailed" in kinds(effects)
    assert bench.state is State.INITIALIZE
    assert (next_deadline(bench.vr) or bench.now + 1) > bench.now


def test_a_vip_added_during_a_stepdown_that_fails_is_announced() -> None:
    bench = master()
    bench.do(StepDown())

    bench.do(Reconfigured(config(addresses=(Vip(VIP, 32), Vip(VIP2, 32)))))
    effects = bench.do(VipsBound())
    failed = bench.deadline()

    assert Announce((VIP2,)) in effects
    assert "StepDownFailed" in kinds(failed)
    assert bench.state is State.MASTER


def test_nothing_is_announced_once_the_peer_has_taken_over() -> None:
    bench = master()
    bench.do(StepDown())
    bench.do(advert(100, HIGH))

    bench.do(Reconfigured(config(addresses=(Vip(VIP, 32), Vip(VIP2, 32)))))

    assert bench.do(VipsBound()) == ()
