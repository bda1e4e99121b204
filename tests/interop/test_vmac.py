"""lvsd and keepalived with the same virtual MAC: neither stops hearing the other."""

import pytest

from tests.interop.peers import Keepalived
from tests.netns.test_vmac import MAC, NAME, config, link, neighbour, port_of

pytestmark = [pytest.mark.interop, pytest.mark.netns]


def keepalived(network, director, family, priority):
    """keepalived with use_vmac; its macvlan is up in either role.

    Unlike lvsd it lets the interface below ask for others in the name of the address, with its own
    MAC, so that is turned off here.
    """
    director.python(
        "from pathlib import Path\n"
        "Path('/proc/sys/net/ipv4/conf/eth0/arp_announce').write_text('2')"
    )
    vip = f"{network.vip}/32" if family == 4 else f"{network.vip6}/128"
    fields = {"version": 3, "interval": 0.5} if family == 6 else {}
    return Keepalived(
        network, director, vip, priority=priority, more="use_vmac", device="", **fields
    )


@pytest.mark.parametrize("family", [4, 6])
def test_keepalived_takes_over_from_an_orderly_stop_with_the_same_mac(network, family):
    vip = network.vip if family == 4 else network.vip6
    first, second = network.pair()
    with keepalived(network, second, family, 100) as peer:
        first.start(config(network, family, priority=150))
        network.eventually(lambda: first.state() == "master" and first.holds(vip))
        network.eventually(lambda: peer.state == "backup")
        probe = network.ping(vip)
        network.eventually(lambda: neighbour(network, vip) == MAC[family])
        network.eventually(lambda: port_of(network, MAC[family]) == "d1")

        assert first.stop() == 0
        network.eventually(lambda: second.holds(vip))
        network.eventually(lambda: port_of(network, MAC[family]) == "d2")

        assert probe.longest_gap() < 0.5
        assert neighbour(network, vip) == MAC[family]
        assert "was announced by its new master" in first.log


@pytest.mark.parametrize("family", [4, 6])
def test_a_better_keepalived_makes_lvsd_yield_and_lvsd_takes_over_when_it_stops(network, family):
    vip = network.vip if family == 4 else network.vip6
    first, second = network.pair()
    first.start(config(network, family, priority=100))
    network.eventually(lambda: first.state() == "master" and first.holds(vip))

    with keepalived(network, second, family, 150) as peer:
        # Its adverts come from our own MAC: the macvlan alone gets them.
        network.eventually(lambda: first.state() == "backup" and second.holds(vip))
        network.eventually(lambda: not first.holds(vip))
        network.eventually(lambda: "UP" not in link(first, NAME[family])["flags"])
        network.eventually(lambda: neighbour_after_ping(network, vip) == MAC[family])

        peer.stop()
        network.eventually(lambda: first.state() == "master" and first.holds(vip))
        network.eventually(lambda: port_of(network, MAC[family]) == "d1")

    assert neighbour(network, vip) == MAC[family]
    assert first.states()[0]["counters"]["duplicate_owner"] == 0


def neighbour_after_ping(network, vip):
    network.ping(vip).stop()
    return neighbour(network, vip)


def test_a_macvlan_that_keepalived_has_left_is_taken_over(network):
    one = network.director(1)
    words = ["link", "add", "vrrp.51", "link", "eth0", "type", "macvlan", "mode", "private"]
    network.ip("-n", one.namespace, *words)
    network.ip("-n", one.namespace, "link", "set", "vrrp.51", "address", MAC[4], "up")
    left = link(one, "vrrp.51")["ifindex"]

    one.start(config(network, version=3, advertint=0.2))
    network.eventually(lambda: one.state() == "master" and one.holds())

    assert link(one, "vrrp.51")["ifindex"] == left
    assert one.stop() == 0
    assert link(one, "vrrp.51") is None
