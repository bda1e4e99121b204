"""Routes, rules and notices of them between this code and a real kernel."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from lvsd.config.paths import route, rule
from lvsd.core.model import Prefix
from lvsd.linux.pathmonitor import PathMonitor, path_filter
from lvsd.linux.route import (
    RouteEntry,
    RouteSocket,
    delete_route,
    delete_rule,
    entry,
    is_removal,
    new_route,
    new_rule,
    read_route,
    replacement,
    same,
)
from tests.lab.layout import Layout
from tests.lab.topology import Topology

ROUTES = (
    "10.90.0.0/16 via 10.77.0.2",
    "10.90.0.0/16 via 10.77.0.3 metric 9",
    "10.91.0.0/16 dev eth0 src 10.77.0.11 table 100 metric 5 mtu 1400",
    "10.92.0.1 via 10.99.0.1 dev eth0 onlink",
    "10.93.0.0/16 dev eth0 scope host table 100000",
    "blackhole 10.94.0.0/16",
    "throw 10.95.0.0/16 table 9",
    "fd90::/32 via fd77::2 src fd77::11 table 7000",
    "default via fe80::1 dev eth0",
    "unreachable fd91::/16",
    "prohibit fd92::/16 table 9 metric 3",
)
RULES = (
    "from 10.0.0.0/8 table 100",
    "not to fd00::1 priority 5 table 70000",
    "inet fwmark 1/0xf iif eth0 oif eth0 tos 0x10 blackhole",
    "inet6 fwmark 0 unreachable priority 8",
    "inet iif away prohibit",
)


@pytest.fixture
def lab(topology: Callable[[Layout], Topology]) -> Topology:
    return topology(Layout.dr(reals=0, directors=1))


@pytest.fixture
def kernel(lab: Topology) -> Iterator[RouteSocket]:
    opened = lab.inside("dirA", RouteSocket)
    yield opened
    opened.close()


def entries(lab: Topology) -> list[RouteEntry]:
    index = lab.inside("dirA", lambda: socket.if_nametoindex("eth0"))
    routes = [route(line) for line in ROUTES]
    return [entry(r, index if r.dev else 0, 0) for r in routes]


def test_every_kind_of_route_is_read_back_as_it_was_written(
    lab: Topology, kernel: RouteSocket
) -> None:
    wished = entries(lab)
    assert kernel.send([new_route(e) for e in wished]) == [0] * len(wished)
    found = {e.identity: e for e in kernel.routes()}
    assert len(found) == len(wished)
    assert [e for e in wished if not same(e, found[e.identity])] == []
    assert kernel.send([new_route(e) for e in wished]) == [errno.EEXIST] * len(wished)
    assert kernel.send([delete_route(e) for e in wished]) == [0] * len(wished)
    assert kernel.send([delete_route(e) for e in wished]) == [errno.ESRCH] * len(wished)
    assert kernel.routes() == []


def test_every_kind_of_rule_is_read_back_as_it_was_written(kernel: RouteSocket) -> None:
    wished = [rule(line) for line in RULES]
    assert kernel.send([new_rule(r) for r in wished]) == [0] * len(wished)
    assert sorted(map(str, kernel.rules())) == sorted(map(str, wished))
    assert kernel.send([new_rule(r) for r in wished]) == [errno.EEXIST] * len(wished)
    assert kernel.send([delete_rule(r) for r in wished]) == [0] * len(wished)
    assert kernel.send([delete_rule(r) for r in wished]) == [errno.ENOENT] * len(wished)


def test_a_route_of_the_operator_is_neither_replaced_nor_removed(
    lab: Topology, kernel: RouteSocket
) -> None:
    lab.ip("dirA", ["route add 10.90.0.0/16 via 10.77.0.2", "route add fd91::/16 via fd77::2"])
    for mine in (route(ROUTES[0]), route("fd91::/16 via fd77::2")):
        placed = entry(mine, 0, 0)
        assert kernel.send([new_route(placed)]) == [errno.EEXIST]
        assert kernel.send([delete_route(placed)]) == [errno.ESRCH]
    assert kernel.routes() == []


def test_what_others_do_to_our_destinations_is_heard_and_nothing_else(
    lab: Topology, kernel: RouteSocket
) -> None:
    ours = [entry(route(ROUTES[0]), 0, 0), entry(route(ROUTES[7]), 0, 0)]
    monitor = lab.inside("dirA", lambda: PathMonitor(kernel.port))
    try:
        monitor.aim(e.prefix for e in ours)
        kernel.send([new_route(e) for e in ours])
        kernel.send([new_rule(rule(RULES[0])), delete_rule(rule(RULES[0]))])
        lab.ip("dirA", ["route add 10.90.0.0/17 via 10.77.0.2", "route add fd90::/33 via fd77::2"])
        lab.ip("dirA", ["rule add priority 7 table 7"])
        assert heard(monitor) == []

        lab.ip("dirA", ["route del fd90::/32 table 7000"])
        (gone,) = heard(monitor)
        assert is_removal(gone)
        assert read_route(gone) == kept(ours[1], gone)
        lab.ip("dirA", ["route replace 10.90.0.0/16 via 10.77.0.9"])
        (new,) = heard(monitor)
        found = replacement(new)
        assert found is not None
        assert (found.identity, str(found.via)) == (ours[0].identity, "10.77.0.9")
        assert found.protocol != 18
        lab.ip("dirA", ["rule del priority 7"])
        assert [is_removal(message) for message in heard(monitor)] == [True]
    finally:
        monitor.close()


def kept(wished: RouteEntry, message: bytes) -> RouteEntry | None:
    """What was found, if it is what was wished."""
    found = read_route(message)
    return found if found is not None and same(wished, found) else None


def heard(monitor: PathMonitor) -> list[bytes]:
    """The kernel queues a notice before it answers the request, so there is nothing to wait for."""
    return [*monitor.receive()]


def test_more_destinations_than_a_filter_can_hold_let_every_route_through() -> None:
    many = [route(f"fd00:{n:x}::/32 dev eth0").prefix for n in range(1, 2000)]
    assert len(path_filter(many[:100], 1)) < 4096
    assert len(path_filter(many, 1)) < 20
    assert isinstance(many[0], Prefix)
