"""How late advertisements left: the worst lately and of all, and what is alarming."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, RouterConfig, Vip
from lvsd.core.vrrp import Key, SendAdvert, VirtualRouter, VirtualRouters
from lvsd.daemon.punctuality import PERIOD, Punctuality

KEY: Key = ("eth0", 51, Family.INET)


@pytest.fixture
def vr() -> VirtualRouter:
    vip = Vip(ip_address("192.0.2.100"), 24)
    config = RouterConfig("VI_1", "eth0", 51, 100, addresses=(vip,))
    return VirtualRouter(config, source=None, adver_at=100.0)


def sent(punctuality: Punctuality, vr: VirtualRouter, at: float) -> None:
    punctuality.sent(VirtualRouters({KEY: vr}), ((KEY, SendAdvert(100)),), at)


def test_what_left_late_is_the_worst_for_a_minute_or_two_and_for_good(vr: VirtualRouter) -> None:
    punctuality = Punctuality()

    for at in (100.25, 100.125):
        sent(punctuality, vr, at)
    of = punctuality.of(KEY)

    assert (of.lately(101.0), of.worst, of.late) == (0.25, 0.25, 0)
    assert of.lately(100.25 + PERIOD) == 0.25
    assert of.lately(100.25 + 3 * PERIOD) == 0.0
    assert of.worst == 0.25


def test_half_an_interval_is_alarming(vr: VirtualRouter) -> None:
    punctuality = Punctuality()

    sent(punctuality, vr, 100.5)
    assert not punctuality.notes(vr, 101.0)
    sent(punctuality, vr, 100.75)

    assert punctuality.of(KEY).late == 1
    (note,) = punctuality.notes(vr, 101.0)
    assert "up to 0.75 s late" in note
    assert not punctuality.notes(vr, 101.0 + 3 * PERIOD)


def test_an_answer_before_its_time_and_a_router_unknown_count_for_nothing(
    vr: VirtualRouter,
) -> None:
    punctuality = Punctuality()

    sent(punctuality, vr, 99.0)
    punctuality.sent(VirtualRouters(), ((KEY, SendAdvert(0)),), 101.0)

    assert punctuality.of(KEY).worst == 0.0


def test_a_router_that_is_gone_is_forgotten(vr: VirtualRouter) -> None:
    punctuality = Punctuality()
    sent(punctuality, vr, 100.25)

    punctuality.keep({})

    assert punctuality.of(KEY).worst == 0.0
