"""MASTER: adverts, answers, announcements, leases, and all the ways out."""

from __future__ import annotations

import itertools

import pytest

from lvsd.core.model import Track, TrackKind, Vip
from lvsd.core.vrrp import (
    Announce,
    ChildLost,
    DeadlineReached,
    LeaseRefreshed,
    LinkChanged,
    LowerPriorityHeard,
    NeighbourAnnounced,
    Reconfigured,
    RefreshLease,
    Relieved,
    Resume,
    SendAdvert,
    Shutdown,
    SourceChanged,
    State,
    StateChanged,
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

from .vrrp_world import EXCLUDED, HIGH, LOW, OWN, VIP, VIP2, advert, backup, config, kinds, master

# --- serving --------------------------------------------------------------------------------


def test_vips_are_announced_once_the_kernel_confirmed_them_and_again_after_5_seconds() -> None:
    bench = backup(excluded=(Vip(EXCLUDED, 24),), lease=False)
    bench.deadline()
    taken_at = bench.now

    assert [str(vip) for vip in desired(bench.vr)] == ["192.0.2.100/32", "192.0.2.110/24"]
    assert bench.do(VipsBound(), taken_at + 0.1) == (Announce((VIP, EXCLUDED)),)
    assert bench.do(VipsBound(), taken_at + 0.2) == ()
    for _ in range(5):
        assert bench.deadline() == (SendAdvert(100),)
    assert bench.deadline() == (Announce((VIP, EXCLUDED)),)
    assert bench.now == taken_at + 5.1
    assert bench.deadline() == (SendAdvert(100),)


def test_an_advert_is_sent_every_interval_from_the_last_one() -> None:
    bench = master(lease=False)
    start = bench.now

    assert bench.do(DeadlineReached(), start + 0.99) == ()
    assert bench.do(DeadlineReached(), start + 1.3) == (SendAdvert(100),)

    assert next_deadline(bench.vr) == start + 2.3


def test_the_lease_is_refreshed_with_each_advert_of_a_second() -> None:
    bench = master()

    for _ in range(20):
        assert bench.deadline()[:2] == (SendAdvert(100), RefreshLease())
        bench.do(LeaseRefreshed())

    assert bench.state is State.MASTER


@pytest.mark.parametrize("advertint", [0.01, 0.1, 0.3, 0.7, 0.8, 0.99, 1.0, 1.01, 2.5, 10.0])
def test_a_prompt_master_never_runs_out_of_its_lease(advertint: float) -> None:
    bench = master(version=3, advertint=advertint)
    until, refreshed = bench.now + 30, []

    while bench.now < until:
        effects = bench.deadline()
        if RefreshLease() in effects:
            assert isinstance(effects[0], SendAdvert)
            refreshed.append(bench.now)
            bench.do(LeaseRefreshed())

    assert bench.state is State.MASTER
    gaps = [b - a for a, b in itertools.pairwise(refreshed)]
    assert min(gaps) >= 0.69  # once a second, more often only where the next advert were too late


def test_a_lease_that_is_not_confirmed_in_time_makes_the_master_yield() -> None:
    bench = master()
    bound_at = bench.now

    bench.deadline()  # asks for the refresh, which stays unanswered
    effects = bench.deadline()

    assert bench.now == bound_at + 2 - 0.5
    assert effects == (SendAdvert(0), SendAdvert(0))
    assert (bench.state, desired(bench.vr)) == (State.BACKUP, ())
    assert bench.vr.reason == "the lease of the VIPs was not refreshed in time"


def test_a_master_that_was_late_itself_may_still_ask_before_it_yields() -> None:
    bench = master()
    bound_at = bench.now

    bench.do(LeaseRefreshed())
    bench.do(DeadlineReached(), bound_at + 1.45)
    assert next_deadline(bench.vr) == pytest.approx(bound_at + 1.45 + 0.25)
    bench.do(LeaseRefreshed(), bound_at + 1.46)

    assert next_deadline(bench.vr) == pytest.approx(bound_at + 2.45)


def test_a_child_that_is_lost_lowers_the_advertised_priority_to_1() -> None:
    bench = master(lease=False)

    bench.do(ChildLost(True))

    assert bench.deadline() == (SendAdvert(1),)
    bench.do(advert(2))
    assert bench.state is State.BACKUP


def test_removed_vips_are_announced_again_when_they_are_back() -> None:
    bench = master(addresses=(Vip(VIP, 32), Vip(VIP2, 32)))

    assert bench.do(VipsLost((VIP2,))) == ()
    assert bench.do(VipsBound()) == (Announce((VIP2,)),)

    assert counters(bench.vr)["vips_lost"] == 1


def test_a_second_burst_without_any_address_is_no_effect() -> None:
    bench = master(lease=False)
    bench.do(Reconfigured(config(addresses=(), lease=False)))

    for _ in range(6):
        assert "Announce" not in kinds(bench.deadline())


# --- elections ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priority", "source", "yields"),
    [
        (101, LOW, True),
        (255, LOW, True),
        (100, HIGH, True),
        (100, LOW, False),
        (100, OWN, False),
        (99, HIGH, False),
        (1, HIGH, False),
        (0, HIGH, False),
    ],
)
def test_who_yields_to_whom(priority, source, yields) -> None:
    bench = master()

    bench.do(advert(priority, source))

    assert (bench.state is State.BACKUP) is yields


def test_yielding_takes_the_vips_away_before_the_role_is_reported() -> None:
    bench = master(version=3)

    effects = bench.do(advert(150, interval=2.0, version=3))

    assert effects == ()
    assert (bench.state, desired(bench.vr), bench.vr.master) == (State.BACKUP, (), HIGH)
    assert reported_state(bench.vr) == "master"
    assert next_deadline(bench.vr) == bench.now + 2 * 3.609375
    words = f"higher priority 150 from {HIGH}"
    assert bench.do(VipsReleased()) == (StateChanged(State.MASTER, State.BACKUP, words),)
    assert reported_state(bench.vr) == "backup"
    assert bench.do(VipsReleased()) == ()


def test_equal_priority_yields_to_the_higher_address_and_says_so() -> None:
    bench = master()

    bench.do(advert(100, HIGH))

    assert bench.vr.reason == f"equal priority 100 and higher address from {HIGH}"


def test_a_return_to_mastership_before_the_vips_were_gone_reports_both_changes() -> None:
    bench = master()
    bench.do(advert(150))

    effects = bench.deadline()

    changes = [(e.old, e.new) for e in effects if isinstance(e, StateChanged)]
    assert changes == [(State.MASTER, State.BACKUP), (State.BACKUP, State.MASTER)]


def test_the_kernels_word_about_an_older_wish_is_ignored() -> None:
    bench = master()

    assert bench.do(VipsReleased()) == ()

    assert bench.vr.holding


def test_a_lower_bidder_is_answered_and_everything_announced_again() -> None:
    bench = master(lease=False)
    bench.do(DeadlineReached(), bench.now + 2)

    effects = bench.do(advert(50), bench.now + 0.5)

    assert effects == (SendAdvert(100), LowerPriorityHeard(HIGH, 50), Announce((VIP,)))
    assert next_deadline(bench.vr) == bench.now + 1.0
    assert bench.vr.announce_at == bench.now + 5.0


def test_a_storm_of_lower_bids_is_announced_against_once_a_second() -> None:
    bench = master(lease=False)
    bench.do(advert(50), bench.now + 2)

    bursts = [kinds(bench.do(advert(50), bench.now + 0.1)).count("Announce") for _ in range(20)]

    assert sum(bursts) == 1


def test_a_lower_bidder_is_not_announced_against_before_the_vips_are_bound() -> None:
    bench = backup()
    bench.deadline()

    assert kinds(bench.do(advert(50))) == ["SendAdvert", "LowerPriorityHeard"]


def test_a_leaving_master_is_answered_at_once() -> None:
    bench = master()

    assert bench.do(advert(0), bench.now + 0.1) == (SendAdvert(100),)


# --- faults ---------------------------------------------------------------------------------


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


# --- reload ---------------------------------------------------------------------------------


def test_a_changed_vip_list_announces_only_what_is_new() -> None:
    bench = master()

    assert bench.do(Reconfigured(config(addresses=(Vip(VIP2, 32), Vip(VIP, 32))))) == ()
    assert [vip.address for vip in desired(bench.vr)] == [VIP2, VIP]
    assert bench.do(VipsBound()) == (Announce((VIP2,)),)


def test_a_shorter_interval_is_kept_at_once_and_a_longer_one_from_the_next_advert() -> None:
    bench = master(lease=False)
    start = bench.now

    bench.do(Reconfigured(config(advertint=5.0, lease=False)))
    assert next_deadline(bench.vr) == start + 1.0
    bench.deadline()
    assert bench.vr.adver_at == start + 6.0
    bench.do(Reconfigured(config(advertint=1.0, lease=False)))

    assert next_deadline(bench.vr) == start + 2.0


def test_a_new_lease_runs_from_the_reload() -> None:
    bench = master(lease=False)
    for _ in range(10):
        bench.deadline()

    bench.do(Reconfigured(config(lease=True)))
    assert RefreshLease() in bench.deadline()
    bench.do(LeaseRefreshed())

    assert bench.state is State.MASTER
