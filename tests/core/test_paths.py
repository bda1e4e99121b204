"""Routes and rules of a router: in iproute2's words, and there while it is master."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lvsd.core.model import Family
from lvsd.core.model.path import Prefix, RouteKind, RuleAction, VirtualRoute, VirtualRule
from lvsd.core.vrrp import desired_paths

from .vrrp_world import VIP, advert, backup, config

NET = Prefix(ip_address("198.51.100.0"), 24)
HOST = Prefix(ip_address("198.51.100.4"), 32)
ALL, ALL6 = Prefix(ip_address("0.0.0.0"), 0), Prefix(ip_address("::"), 0)
GATE, GATE6 = ip_address("192.0.2.1"), ip_address("fe80::1")


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (VirtualRoute(NET, dev="eth1"), "198.51.100.0/24 dev eth1"),
        (VirtualRoute(HOST, RouteKind.BLACKHOLE), "blackhole 198.51.100.4"),
        (VirtualRoute(ALL, via=GATE, source=VIP), f"default via {GATE} src {VIP}"),
        (VirtualRoute(ALL6, via=GATE6, dev="eth0"), "default via fe80::1 dev eth0"),
        # Without an address `default` would not say of which family.
        (VirtualRoute(ALL6, dev="eth0"), "::/0 dev eth0"),
        (VirtualRoute(NET, table=254, metric=9), "198.51.100.0/24 table main metric 9"),
        (VirtualRoute(NET, table=100, scope=253), "198.51.100.0/24 table 100 scope link"),
        (
            VirtualRoute(NET, via=GATE, onlink=True, mtu=1400, track=False),
            f"198.51.100.0/24 via {GATE} onlink mtu 1400 notrack",
        ),
    ],
)
def test_a_route_is_named_in_the_words_of_iproute2(route, words) -> None:
    assert str(route) == words


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (VirtualRule(Family.INET, table=100), "inet priority 16384 table 100"),
        (
            VirtualRule(Family.INET, source=NET, destination=HOST, table=253, priority=7),
            "from 198.51.100.0/24 to 198.51.100.4 priority 7 table default",
        ),
        (
            VirtualRule(Family.INET6, RuleAction.PROHIBIT, invert=True, iif="eth0", oif="eth1"),
            "inet6 not iif eth0 oif eth1 priority 16384 prohibit",
        ),
        (
            VirtualRule(Family.INET, source=HOST, fwmark=5, tos=16, table=5, track=False),
            "from 198.51.100.4 fwmark 0x5 tos 0x10 priority 16384 table 5 notrack",
        ),
        (
            VirtualRule(Family.INET, source=HOST, fwmark=0, fwmask=0xFF, table=5),
            "from 198.51.100.4 fwmark 0x0/0xff priority 16384 table 5",
        ),
    ],
)
def test_a_rule_is_named_in_the_words_of_iproute2(rule, words) -> None:
    assert str(rule) == words


def test_the_kernel_tells_routes_apart_by_prefix_table_and_metric() -> None:
    one = VirtualRoute(NET, via=GATE, table=100, metric=9)
    assert one.identity == VirtualRoute(NET, dev="eth1", table=100, metric=9).identity
    assert one.identity != VirtualRoute(NET, via=GATE, table=100).identity
    assert (one.family, VirtualRoute(ALL6).family) == (Family.INET, Family.INET6)


def test_routes_come_before_rules_and_are_there_while_this_router_is_master() -> None:
    route, rule = VirtualRoute(NET, dev="eth1"), VirtualRule(Family.INET, table=100)
    assert config(routes=(route,), rules=(rule,)).paths == (route, rule)
    bench = backup(routes=(route,), rules=(rule,))
    assert desired_paths(bench.vr) == ()

    bench.deadline()
    assert desired_paths(bench.vr) == (route, rule)
    bench.do(advert(200))

    assert desired_paths(bench.vr) == ()
