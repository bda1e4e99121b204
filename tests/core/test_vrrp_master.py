"""MASTER: adverts, answers, announcements, leases, elections, reload."""

from __future__ import annotations

import itertools

import pytest

from lvsd.core.model import Vip
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
    SendAdvert,
    Shutdown,
    State,
    StateChanged,
    VipsBound,
    VipsLost,
    VipsReleased,
    counters,
    desired,
    next_deadline,
    reported_state,
)
from lvsd.core.vrrp.timers import BIND_TIMEOUT

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


def test_a_master_the_kernel_never_answers_lets_go_and_tries_again() -> None:
    bench = backup()
    bench.deadline()
    taken_at = bench.now

    while bench.state is State.MASTER:
        effects = bench.deadline()

    assert bench.now == taken_at + BIND_TIMEOUT
    assert kinds(effects)[:2] == ["SendAdvert", "SendAdvert"]
    assert effects[0] == SendAdvert(0)
    bench.do(VipsReleased())
    assert bench.vr.reason == "cannot hold the VIPs: no word from the kernel"
    bench.deadline()
    assert bench.state is State.BACKUP


def test_an_answer_of_the_kernel_just_in_time_keeps_a_master() -> None:
    bench = backup()
    bench.deadline()
    taken_at = bench.now

    bench.do(VipsBound(), taken_at + BIND_TIMEOUT - 0.1)
    bench.do(DeadlineReached(), taken_at + BIND_TIMEOUT)

    assert bench.state is State.MASTER


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


def test_a_master_that_did_not_run_for_longer_than_its_lease_asks_and_goes_on() -> None:
    bench = master()
    bench.deadline()
    bench.do(LeaseRefreshed())

    effects = bench.do(DeadlineReached(), bench.now + 2.6)

    assert effects[:2] == (SendAdvert(100), RefreshLease())
    assert next_deadline(bench.vr) == pytest.approx(bench.now + 0.25)
    bench.do(VipsLost((VIP,)))  # the kernel took it away meanwhile
    assert Announce((VIP,)) in bench.do(VipsBound())
    assert next_deadline(bench.vr) == bench.now + 1.0
    assert bench.state is State.MASTER


def test_a_master_that_did_not_run_yields_if_the_kernel_does_not_answer_at_once() -> None:
    bench = master()
    bench.deadline()
    bench.do(LeaseRefreshed())
    bench.do(DeadlineReached(), bench.now + 2.6)

    effects = bench.deadline()

    assert effects == (SendAdvert(0), SendAdvert(0))
    assert bench.state is State.BACKUP


def test_a_master_that_did_not_run_and_had_asked_in_vain_before_yields() -> None:
    bench = master()
    bench.deadline()

    assert bench.do(DeadlineReached(), bench.now + 2.0) == (SendAdvert(0), SendAdvert(0))


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

    assert effects == (SendAdvert(100),)
    assert (bench.state, bench.vr.master) == (State.BACKUP, HIGH)
    assert bench.do(VipsReleased()) == ()  # said of an older wish
    assert bench.do(NeighbourAnnounced(VIP)) == ()
    assert desired(bench.vr) == ()
    assert reported_state(bench.vr) == "master"
    assert next_deadline(bench.vr) == bench.now + 2 * 3.609375
    words = f"higher priority 150 from {HIGH}"
    assert bench.do(VipsReleased()) == (StateChanged(State.MASTER, State.BACKUP, words),)
    assert reported_state(bench.vr) == "backup"
    assert bench.do(VipsReleased()) == ()


@pytest.mark.parametrize(("advertint", "for_seconds"), [(1.0, 0.1), (0.01, 0.01)])
def test_one_that_yields_serves_for_a_tenth_of_a_second_at_most(advertint, for_seconds) -> None:
    bench = master(version=3, advertint=advertint, addresses=(Vip(VIP, 32),))
    bench.do(advert(150, interval=advertint, version=3))
    yielded_at = bench.now

    assert bench.do(NeighbourAnnounced(VIP2), yielded_at) == ()  # that of another router

    assert desired(bench.vr)
    assert bench.deadline() == ()
    assert bench.now == pytest.approx(yielded_at + for_seconds)
    assert desired(bench.vr) == ()


def test_one_that_yields_before_the_kernel_confirmed_its_vips_lets_go_at_once() -> None:
    bench = backup()
    bench.deadline()

    bench.do(advert(150))

    assert (bench.state, desired(bench.vr)) == (State.BACKUP, ())


@pytest.mark.parametrize(
    "event", [LinkChanged(False), Shutdown(), Reconfigured(config(priority=90))]
)
def test_who_yields_and_then_has_another_reason_to_let_go_does_so_at_once(event) -> None:
    bench = master()
    bench.do(advert(150))

    bench.do(event)

    assert desired(bench.vr) == ()


def test_equal_priority_yields_to_the_higher_address_and_says_so() -> None:
    bench = master()

    bench.do(advert(100, HIGH))

    assert bench.vr.reason == f"equal priority 100 and higher address from {HIGH}"


def test_a_return_to_mastership_before_the_vips_were_gone_reports_both_changes() -> None:
    bench = master()
    bench.do(advert(150))
    bench.deadline()  # the VIPs are to go, and no word of the kernel yet

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

    assert kinds(bench.do(advert(50))) == ["SendAdvert"]
    assert kinds(bench.do(advert(50), bench.now + 1.0)) == ["SendAdvert", "LowerPriorityHeard"]


def test_the_last_word_of_the_former_master_is_answered_and_no_news() -> None:
    bench = master(lease=False)

    assert kinds(bench.do(advert(50), bench.now + 0.99)) == ["SendAdvert"]
    assert counters(bench.vr)["lower_priority_heard"] == 1


def test_a_leaving_master_is_answered_at_once() -> None:
    bench = master()

    assert bench.do(advert(0), bench.now + 0.1) == (SendAdvert(100),)


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


# --- keepalived's switches ------------------------------------------------------------------


def test_lowerprionoadvert_leaves_a_lower_bidder_without_an_answer_but_announces() -> None:
    bench = master(lease=False, lowerprionoadvert=True)
    bench.do(DeadlineReached(), bench.now + 2)

    effects = bench.do(advert(50), bench.now + 0.5)

    assert effects == (LowerPriorityHeard(HIGH, 50), Announce((VIP,)))


@pytest.mark.parametrize("priority", [100, 200])
def test_a_last_advert_goes_to_a_better_master_and_keeps_no_lease(priority: int) -> None:
    bench = master()

    effects = bench.do(advert(priority), bench.now + 2)

    assert effects == (SendAdvert(100),)
    assert bench.state is State.BACKUP
