"""lvsd and keepalived on one segment: each takes over from the other, in either role."""

from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, Vip
from tests.interop.peers import Keepalived

pytestmark = [pytest.mark.interop, pytest.mark.netns]

PASSWORD = "authentication {\n auth_type PASS\n auth_pass 1111\n }"
#: What lvsd's instance and keepalived's are told.
CASES = {
    "v2": ({}, {"version": 2}),
    "v2-password": ({"authpass": b"1111"}, {"version": 2, "more": PASSWORD}),
    "v3": ({"version": 3, "advertint": 0.5}, {"version": 3, "interval": 0.5}),
    "v3-ipv6": (
        {"version": 3, "advertint": 0.5, "family": Family.INET6},
        {"version": 3, "interval": 0.5},
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request, network):
    """lvsd's settings, keepalived's, and the VIP."""
    ours, theirs = request.param
    six = ours.get("family") is Family.INET6
    vip = network.vip6 if six else network.vip
    return ours | {"addresses": (Vip(ip_address(vip), 128 if six else 32),)}, theirs, vip


def test_keepalived_takes_over_from_an_orderly_stop(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    first.start(network.router(priority=150, **ours))
    with Keepalived(network, second, vip, priority=100, **theirs) as peer:
        network.eventually(lambda: first.state() == "master" and first.holds(vip))
        network.eventually(lambda: peer.state == "backup" and not second.holds(vip))
        probe = network.ping(vip)

        assert first.stop() == 0
        network.eventually(lambda: second.holds(vip))

        assert probe.longest_gap() < 0.1


def test_lvsd_takes_over_from_a_stopped_keepalived(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    with Keepalived(network, first, vip, priority=150, **theirs) as peer:
        network.eventually(lambda: first.holds(vip))
        second.start(network.router(priority=100, **ours))
        network.eventually(lambda: second.state() == "backup")

        peer.stop()
        network.eventually(lambda: second.state() == "master" and second.holds(vip))

    rejected = [n for name, n in second.states()[0]["counters"].items() if "rejected" in name]
    assert not any(rejected)


def test_a_better_keepalived_takes_the_vip_and_lvsd_yields(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    first.start(network.router(priority=100, **ours))
    network.eventually(lambda: first.state() == "master" and first.holds(vip))

    with Keepalived(network, second, vip, priority=150, **theirs):
        network.eventually(lambda: first.state() == "backup" and second.holds(vip))
        network.eventually(lambda: not first.holds(vip))


def test_a_better_lvsd_takes_the_vip_and_keepalived_yields(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    with Keepalived(network, second, vip, priority=100, **theirs):
        network.eventually(lambda: second.holds(vip))

        first.start(network.router(priority=150, **ours))

        network.eventually(lambda: first.state() == "master" and first.holds(vip))
        network.eventually(lambda: not second.holds(vip))
