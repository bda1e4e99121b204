"""BACKUP: electing, preempting, waiting."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lvsd.core.model import Track, TrackKind, Vip
from lvsd.core.packet import Reason
from lvsd.core.vrrp import (
    AddressListDiffers,
    AdvertRejected,
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
    Startup,
    State,
    StateChanged,
    StepDown,
    TrackChanged,
    VipsBound,
    VipsFailed,
    VipsLost,
    VipsReleased,
    counters,
    desired,
    effective_priority,
    next_deadline,
    reported_state,
    stopped,
)

from .vrrp_world import HIGH, LOW, VIP, VIP2, Bench, advert, backup, config, kinds, master

SCRIPT = Track(TrackKind.SCRIPT, "chk")
DISK = Track(TrackKind.SCRIPT, "disk", -20)
FARM = Track(TrackKind.VIRTUAL, "farm", 30)


# --- BACKUP ---------------------------------------------------------------------------------


def test_silence_makes_a_master_advert_first() -> None:
    bench = backup()
    bench.do(advert(150), 1.0)

    effects = bench.deadline()

    words = f"no advert from {HIGH} for 3.6 s"
    assert effects == (
        SendAdvert(100),
        StateChanged(State.BACKUP, State.MASTER, words),
    )
    assert bench.now == 1.0 + 3.609375
    assert desired(bench.vr) == config().addresses


@pytest.mark.parametrize("priority", [100, 101, 255])
@pytest.mark.parametrize("source", [LOW, HIGH])
def test_an_advert_of_equal_or_higher_priority_restarts_the_timer(priority, source) -> None:
    bench = backup()

    assert bench.do(advert(priority, source), 2.0) == ()

    assert (next_deadline(bench.vr), bench.vr.master) == (2.0 + 3.609375, source)


def test_a_lower_advert_leaves_the_timer_running_down_and_is_preempted() -> None:
    bench = backup()

    for now in (1.0, 2.0, 3.0):
        bench.do(advert(50), now)
    assert next_deadline(bench.vr) == 3.609375
    effects = bench.deadline()

    assert effects[1] == StateChanged(
        State.BACKUP, State.MASTER, f"priority 100 preempts 50 of {HIGH}"
    )
    assert counters(bench.vr)["lower_priority_heard"] == 3


def test_with_nopreempt_a_lower_advert_restarts_the_timer() -> None:
    bench = backup(preempt=False)

    bench.do(advert(50), 3.0)

    assert next_deadline(bench.vr) == 3.0 + 3.609375


def test_preemptdelay_counts_from_the_first_lower_advert() -> None:
    bench = backup(preemptdelay=10.0)

    for second in range(1, 11):
        bench.do(advert(50), float(second))
        assert next_deadline(bench.vr) == second + 3.609375
    bench.do(advert(50), 11.0)

    assert next_deadline(bench.vr) == 10.0 + 3.609375


def test_preemptdelay_starts_again_after_an_equal_or_higher_advert() -> None:
    bench = backup(preemptdelay=10.0)
    bench.do(advert(50), 1.0)
    bench.do(advert(100), 2.0)

    bench.do(advert(50), 3.0)
    bench.do(advert(50), 6.0)

    assert bench.vr.preempt_at == 13.0


def test_preemptdelay_does_not_delay_when_the_master_is_silent() -> None:
    bench = backup(preemptdelay=100.0)
    bench.do(advert(50), 1.0)

    bench.deadline()

    assert (bench.now, bench.state) == (1.0 + 3.609375, State.MASTER)


def test_priority_zero_shortens_the_wait_to_the_skew() -> None:
    bench = backup()
    bench.do(advert(150), 1.0)

    bench.do(advert(0), 1.5)
    effects = bench.deadline()

    assert bench.now == 1.5 + 0.609375
    assert effects[1] == StateChanged(State.BACKUP, State.MASTER, f"{HIGH} gave up")
    assert counters(bench.vr)["priority_zero_received"] == 1


def test_version_3_learns_the_masters_interval_and_forgets_it_as_master() -> None:
    bench = backup(version=3, advertint=1.0)

    bench.do(advert(150, interval=0.5, version=3), 1.0)
    assert next_deadline(bench.vr) == 1.0 + 0.5 * 3.609375
    bench.deadline()

    assert next_deadline(bench.vr) == bench.now + 1.0
    assert counters(bench.vr)["interval_differs"] == 1


def test_a_changed_priority_shifts_the_running_timer() -> None:
    bench = backup(tracks=(DISK, FARM))
    before = next_deadline(bench.vr)
    assert before is not None

    bench.do(TrackChanged(DISK, False), 1.0)
    assert next_deadline(bench.vr) == before + 20 / 256
    bench.do(TrackChanged(FARM, True), 1.0)
    assert next_deadline(bench.vr) == before - 10 / 256


def test_a_timer_that_would_have_ended_ends_now() -> None:
    bench = backup(tracks=(FARM,))

    bench.do(TrackChanged(FARM, True), 3.6)

    assert next_deadline(bench.vr) == 3.6


@pytest.mark.parametrize(
    ("base", "weight", "up", "priority"),
    [
        (100, 30, True, 130),
        (100, 30, False, 100),
        (100, -30, True, 100),
        (100, -30, False, 70),
        (100, 253, True, 254),
        (100, -253, False, 1),
        (255, -253, False, 255),
    ],
)
def test_weights(base, weight, up, priority) -> None:
    track = Track(TrackKind.SCRIPT, "x", weight)
    bench = Bench(priority=base, tracks=(track,))

    bench.do(TrackChanged(track, up))

    assert effective_priority(bench.vr) == priority


def test_a_weight_that_has_not_reported_does_not_count() -> None:
    assert effective_priority(backup(tracks=(DISK, FARM)).vr) == 100


def test_a_lost_child_makes_priority_1() -> None:
    bench = backup()

    bench.do(ChildLost(True), 1.0)
    assert (effective_priority(bench.vr), next_deadline(bench.vr)) == (1, 3 + 255 / 256)
    bench.do(ChildLost(False), 1.0)

    assert effective_priority(bench.vr) == 100


def test_a_backup_that_loses_its_link_is_in_fault_without_a_word() -> None:
    bench = backup()

    effects = bench.do(LinkChanged(False), 1.0)

    words = "interface eth0 is down"
    assert effects == (StateChanged(State.BACKUP, State.INITIALIZE, words),)
    assert next_deadline(bench.vr) is None
    bench.do(advert(50), 2.0)
    assert bench.state is State.INITIALIZE


def test_rejected_adverts_are_counted_and_do_nothing_else() -> None:
    bench = backup()
    before = next_deadline(bench.vr)

    assert bench.do(AdvertRejected(Reason.AUTH), 1.0) == ()

    assert next_deadline(bench.vr) == before
    assert counters(bench.vr)["rejected_auth"] == 1
    assert counters(bench.vr)["adverts_received"] == 0


def test_a_differing_address_list_is_said_once_and_accepted() -> None:
    bench = backup()
    other = advert(150, addresses=(VIP, VIP2))

    assert bench.do(other, 1.0) == (AddressListDiffers(HIGH, (VIP, VIP2)),)
    assert bench.do(other, 2.0) == ()
    assert bench.do(advert(150), 3.0) == ()
    assert kinds(bench.do(other, 4.0)) == ["AddressListDiffers"]

    assert counters(bench.vr)["address_list_differs"] == 3
    assert next_deadline(bench.vr) == 4.0 + 3.609375


def test_the_order_of_the_address_list_does_not_matter() -> None:
    bench = backup(addresses=(Vip(VIP, 32), Vip(VIP2, 32)))

    assert bench.do(advert(150, addresses=(VIP2, VIP)), 1.0) == ()


def test_the_kernels_word_means_nothing_to_a_backup() -> None:
    bench = backup()
    before = bench.vr

    for event in (
        VipsBound(),
        VipsFailed("x"),
        VipsLost((VIP,)),
        LeaseRefreshed(),
        VipsReleased(),
        NeighbourAnnounced(VIP),
        Resume(),
        DeadlineReached(),
    ):
        assert bench.do(event, 1.0) == ()
    assert bench.vr == before


def test_a_backup_stops_at_once() -> None:
    bench = backup()

    effects = bench.do(Shutdown(), 1.0)

    assert effects == (StateChanged(State.BACKUP, State.INITIALIZE, "shut down"),)
    assert stopped(bench.vr)
    assert next_deadline(bench.vr) is None
    assert reported_state(bench.vr) == "initialize"
    for event in (Shutdown(), Startup(), LinkChanged(False), StepDown(), advert(0)):
        assert bench.do(event, 2.0) == ()
    assert bench.state is State.INITIALIZE


def test_a_router_that_never_started_stops_too() -> None:
    bench = Bench()

    bench.do(Shutdown())
    bench.do(Startup())

    assert stopped(bench.vr)


def test_a_backup_that_stepped_down_does_not_preempt_until_resumed() -> None:
    bench = backup()

    assert bench.do(StepDown()) == (Relieved("not master"),)
    bench.do(advert(50), 3.0)
    assert next_deadline(bench.vr) == 3.0 + 3.609375
    bench.do(Resume(), 3.5)
    bench.do(advert(50), 4.0)

    assert next_deadline(bench.vr) == 3.0 + 3.609375


def test_an_owner_that_stepped_down_starts_as_backup() -> None:
    bench = Bench(priority=255)
    bench.do(StepDown())

    bench.do(Startup())

    assert bench.state is State.BACKUP


def test_the_same_configuration_changes_nothing() -> None:
    bench = backup()
    before = bench.vr

    assert bench.do(Reconfigured(config()), 1.0) == ()

    assert bench.vr is before


def test_a_new_priority_and_interval_shift_the_timer() -> None:
    bench = backup()

    bench.do(Reconfigured(config(priority=228, advertint=2.0)), 1.0)

    assert next_deadline(bench.vr) == 6 + 28 / 256


def test_a_new_version_starts_with_its_own_interval() -> None:
    bench = backup(version=3)
    bench.do(advert(150, interval=5.0, version=3), 0.0)

    bench.do(Reconfigured(config(version=2)), 0.0)

    assert next_deadline(bench.vr) == 3.609375


def test_a_learnt_interval_survives_a_reload() -> None:
    bench = backup(version=3)
    bench.do(advert(150, interval=5.0, version=3), 0.0)

    bench.do(Reconfigured(config(version=3, preempt=False)), 0.0)

    assert next_deadline(bench.vr) == 5 * 3.609375


def test_a_startupdelay_taken_back_is_not_waited_for() -> None:
    bench = Bench(startupdelay=20.0)
    bench.do(Startup())

    bench.do(Reconfigured(config()), 1.0)

    assert bench.state is State.BACKUP


def test_a_new_source_address_is_the_masters_address() -> None:
    bench = master()

    bench.do(SourceChanged(ip_address("192.0.2.77")))

    assert bench.vr.master == ip_address("192.0.2.77")
