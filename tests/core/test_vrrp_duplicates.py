"""A second owner of a VIP: counted, told, answered, shown, forgotten; each within its limits."""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.model import Vip
from lvsd.core.vrrp import (
    Announce,
    DeadlineReached,
    DuplicateOwnerHeard,
    NeighbourAnnounced,
    Reconfigured,
    State,
    StepDown,
    alarms,
    counters,
)
from lvsd.core.vrrp.duplicates import MOST_CLAIMS
from tests.core.vrrp_world import HIGH, VIP, VIP2, Bench, advert, backup, kinds, master

MAC, OTHER = "02:00:00:66:66:66", "02:00:00:77:77:77"
CLAIM = NeighbourAnnounced(VIP, MAC)


def settled(**changes) -> Bench:
    """A MASTER that is past the hand-over."""
    bench = master(lease=False, **changes)
    pass_time(bench, bench.now + 2.0)
    return bench


def pass_time(bench: Bench, until: float) -> list[object]:
    effects: list[object] = []
    while bench.now < until:
        bench.now = min(bench.now + 0.5, until)
        effects += bench.do(DeadlineReached())
    return effects


def told(effects: object) -> list[object]:
    return [e for e in effects if isinstance(e, DuplicateOwnerHeard)]


def answers(effects: object) -> list[object]:
    return [e for e in effects if isinstance(e, Announce)]


def test_a_claim_is_counted_told_answered_and_shown():
    bench = settled(garpmasterdelay=0.0)

    effects = bench.do(CLAIM)

    assert effects == (DuplicateOwnerHeard(VIP, MAC), Announce((VIP,), 1))
    assert counters(bench.vr)["duplicate_owner"] == 1
    assert alarms(bench.vr, bench.now + 3.2) == (
        f"second owner: {VIP} was announced by {MAC} 3 s ago",
    )
    assert bench.state is State.MASTER


def test_a_claimant_without_a_name_is_another_host():
    bench = settled()

    bench.do(NeighbourAnnounced(VIP))

    assert "announced by another host" in alarms(bench.vr, bench.now)[0]


def test_the_last_words_of_the_former_master_are_no_alarm():
    bench = master()

    assert bench.do(CLAIM, bench.now + 0.99) == ()
    assert counters(bench.vr)["duplicate_owner"] == 0
    assert told(bench.do(CLAIM, bench.now + 0.01))


def test_the_last_words_of_the_former_master_are_answered_after_the_first_second():
    bench = master(lease=False, advertint=5.0, garpmasterdelay=0.0)
    bench.do(CLAIM, bench.now + 0.2)
    bench.do(CLAIM, bench.now + 0.2)

    assert answers(bench.deadline()) == [Announce((VIP,), 1)]
    assert bench.now == bench.vr.since + 1.0
    assert not answers(bench.deadline())


def test_the_former_masters_words_before_our_own_announcement_need_no_answer():
    bench = backup()
    bench.deadline()
    bench.do(CLAIM, bench.now + 0.2)

    assert bench.vr.defend_at is None


def test_a_backup_hears_announcements_without_alarm():
    bench = backup()

    assert bench.do(CLAIM, 1.5) == ()
    assert alarms(bench.vr, 1.5) == ()


def test_an_address_that_is_not_ours_is_no_alarm():
    assert settled().do(NeighbourAnnounced(VIP2, MAC)) == ()


def test_the_new_master_of_a_step_down_relieves_and_is_no_alarm():
    bench = settled()
    bench.do(StepDown())

    effects = bench.do(CLAIM)

    assert "Relieved" in kinds(effects)
    assert not told(effects)
    assert counters(bench.vr)["duplicate_owner"] == 0


def test_a_flood_of_claims_is_told_once_and_answered_once_a_second():
    bench = settled(garpmasterdelay=0.0)
    start, effects = bench.now, list[object]()

    for n in range(500):
        bench.now = start + n * 0.01
        effects += [*bench.do(CLAIM), *bench.do(DeadlineReached())]

    assert len(told(effects)) == 1
    assert 5 <= len(answers(effects)) <= 6
    assert counters(bench.vr)["duplicate_owner"] == 500


def test_the_last_answer_follows_the_last_claim():
    bench = settled(garpmasterdelay=0.0)
    start = bench.now
    bench.do(CLAIM)
    bench.do(CLAIM, start + 0.3)

    assert answers(bench.do(DeadlineReached(), start + 0.9)) == []
    assert answers(bench.do(DeadlineReached(), start + 1.0)) == [Announce((VIP,), 1)]
    assert answers(pass_time(bench, start + 10.0)) == []


def test_an_address_lost_before_its_answer_is_due_is_not_announced():
    bench = settled(garpmasterdelay=0.0)
    start = bench.now
    bench.do(CLAIM)
    bench.do(CLAIM, start + 0.3)
    bench.vr = replace(bench.vr, announced=())

    assert answers(bench.do(DeadlineReached(), start + 1.0)) == []


def test_an_address_that_the_kernel_has_not_confirmed_is_not_announced():
    bench = settled()
    bench.vr = replace(bench.vr, announced=())

    assert kinds(bench.do(CLAIM)) == ["DuplicateOwnerHeard"]


def test_another_claimant_of_the_address_is_shown_but_not_told():
    bench = settled()
    bench.do(CLAIM)

    assert not told(bench.do(NeighbourAnnounced(VIP, OTHER), bench.now + 1.0))
    assert [OTHER in words for words in alarms(bench.vr, bench.now)] == [True, False]


def test_another_address_is_told_a_second_later_at_the_earliest():
    bench = settled(addresses=(Vip(VIP, 32), Vip(VIP2, 32)))
    start = bench.now
    bench.do(CLAIM)

    assert not told(bench.do(NeighbourAnnounced(VIP2, MAC), start + 0.5))
    assert told(bench.do(NeighbourAnnounced(VIP2, MAC), start + 1.0))


def test_a_claimant_that_goes_on_is_told_again_after_a_minute():
    bench = settled()
    start, effects = bench.now, list[object]()

    for n in range(100):
        effects += pass_time(bench, start + n)
        effects += bench.do(CLAIM)

    assert len(told(effects)) == 2


def test_the_alarm_ends_after_a_minute_of_silence():
    bench = settled()
    bench.do(CLAIM)

    assert alarms(bench.vr, bench.now + 59.9)
    assert alarms(bench.vr, bench.now + 60.0) == ()


def test_the_alarm_ends_with_the_mastership():
    bench = settled()
    bench.do(CLAIM)
    bench.do(CLAIM)

    bench.do(advert(200, HIGH))

    assert bench.state is State.BACKUP
    assert (bench.vr.claims, bench.vr.defend_at, bench.vr.undefended) == ((), None, ())


def test_an_address_that_left_the_configuration_is_no_alarm_any_more():
    bench = settled()
    bench.do(CLAIM)

    bench.do(Reconfigured(replace(bench.vr.config, addresses=())))

    assert alarms(bench.vr, bench.now) == ()


def test_ever_new_claimants_do_not_fill_the_memory():
    bench = settled()

    for n in range(1000):
        bench.do(NeighbourAnnounced(VIP, f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}"))

    assert len(bench.vr.claims) == MOST_CLAIMS
    assert bench.vr.claims[-1].by == "02:00:00:00:03:e7"
