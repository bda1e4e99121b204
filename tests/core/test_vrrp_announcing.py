"""When a MASTER announces its addresses, and how often: keepalived's garp_* words."""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.model import Vip
from lvsd.core.vrrp import (
    Announce,
    DeadlineReached,
    Reconfigured,
    State,
    VipsBound,
    next_deadline,
)

from .vrrp_world import VIP, VIP2, Bench, advert, backup, config, master


def announced(bench: Bench, until: float) -> list[tuple[float, int]]:
    """(seconds from now, rounds) of each announcement up to `until`, deadline by deadline."""
    start, found = bench.now, []
    while (at := next_deadline(bench.vr)) is not None and at <= until:
        for effect in bench.do(DeadlineReached(), at):
            if isinstance(effect, Announce):
                assert effect.addresses == (VIP,)
                found.append((bench.now - start, effect.count))
    return found


def test_a_backup_waits_for_as_many_adverts_as_it_was_told() -> None:
    bench = backup(downtimeradverts=5)
    bench.do(advert(200), 1.0)

    bench.deadline()

    assert (bench.state, bench.now) == (State.MASTER, 1.0 + 5 + 156 / 256)


def test_a_patient_peer_lets_a_master_sleep_longer() -> None:
    for adverts, state in ((3, State.BACKUP), (5, State.MASTER)):
        bench = master(lease=False, downtimeradverts=adverts)
        bench.do(DeadlineReached(), bench.now + 4)
        assert bench.state is state


def test_the_first_and_the_second_burst_are_as_configured() -> None:
    bench = backup(lease=False, garpmasterrepeat=2, garpmasterdelay=3.0)
    bench.deadline()

    assert bench.do(VipsBound()) == (Announce((VIP,), 2),)
    assert announced(bench, bench.now + 60) == [(3.0, 2)]


def test_no_delay_means_no_second_burst() -> None:
    bench = master(lease=False, garpmasterdelay=0.0)

    assert announced(bench, bench.now + 60) == []


def test_addresses_are_announced_again_for_as_long_as_the_mastership_lasts() -> None:
    bench = master(
        lease=False, garpmasterdelay=0.0, garpmasterrefresh=10.0, garpmasterrefreshrepeat=3
    )

    assert announced(bench, bench.now + 35) == [(10.0, 3), (20.0, 3), (30.0, 3)]
    bench.do(advert(200))
    assert bench.vr.reannounce_at is None


def test_a_reload_starts_and_ends_the_refresh() -> None:
    bench = master(lease=False, garpmasterdelay=0.0)
    bench.do(Reconfigured(config(lease=False, garpmasterdelay=0.0, garpmasterrefresh=10.0)))
    assert announced(bench, bench.now + 15) == [(10.0, 1)]

    bench.do(Reconfigured(config(lease=False, garpmasterdelay=0.0)))
    assert announced(bench, bench.now + 60) == []


def test_a_new_address_does_not_put_the_refresh_off() -> None:
    told = {"lease": False, "garpmasterdelay": 0.0, "garpmasterrefresh": 10.0}
    bench = master(**told)
    start = bench.now
    both = (Vip(VIP, 32), Vip(VIP2, 32))

    bench.do(Reconfigured(config(addresses=both, **told)), start + 0.5)
    assert bench.do(VipsBound()) == (Announce((VIP2,), 5),)

    assert bench.vr.reannounce_at == start + 10.0


def test_a_reload_before_the_addresses_are_bound_announces_nothing() -> None:
    bench = backup(lease=False)
    bench.deadline()

    bench.do(Reconfigured(config(lease=False, garpmasterrefresh=10.0)))

    assert announced(bench, bench.now + 30) == []


def test_lost_addresses_are_not_refreshed_before_they_are_back() -> None:
    bench = master(lease=False, garpmasterdelay=0.0, garpmasterrefresh=10.0)
    bench.vr = replace(bench.vr, announced=())

    assert announced(bench, bench.now + 15) == []


def test_a_lower_bidder_is_answered_with_its_own_count_and_delay() -> None:
    bench = master(lease=False, garpmasterdelay=0.0, garplowerpriorepeat=1, garplowerpriodelay=2.0)

    effects = bench.do(advert(50), bench.now + 2)

    assert Announce((VIP,), 1) in effects
    assert announced(bench, bench.now + 30) == [(2.0, 1)]


def test_a_lower_bidder_is_not_announced_against_when_told_so() -> None:
    bench = master(lease=False, garplowerpriorepeat=0)

    effects = bench.do(advert(50), bench.now + 2)

    assert not [effect for effect in effects if isinstance(effect, Announce)]
