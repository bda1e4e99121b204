"""lvsd and FRR's vrrpd on one segment: each takes over from the other, in either role.

FRR's checksum of version 3 over IPv4 has the pseudo-header, as keepalived's. FRR answers for its
address with the virtual MAC, lvsd with the interface's: the client follows the announcements.
"""

from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, Vip
from tests.interop.peers import Frr

pytestmark = [pytest.mark.interop, pytest.mark.netns]

#: version, the addresses in order (over IPv6 the first is link-local).
CASES = {
    "v2": (2, ("10.77.0.100",)),
    "v3": (3, ("10.77.0.100",)),
    "v3-ipv6": (3, ("fe80::77:100", "fd77::100")),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    version, addresses = request.param
    family = Family.INET6 if version == 3 and len(addresses) > 1 else Family.INET
    length = 128 if family is Family.INET6 else 32
    vips = tuple(Vip(ip_address(address), length) for address in addresses)
    return {"version": version, "family": family, "addresses": vips}, addresses


def rejected(director):
    counters = director.states()[0]["counters"]
    return {name: n for name, n in counters.items() if name.startswith("rejected") and n}


def test_frr_takes_over_from_an_orderly_stop(network, case):
    ours, addresses = case
    first, second = network.pair()
    first.start(network.router(priority=150, **ours))
    with Frr(network, second, *addresses, version=ours["version"], priority=100) as peer:
        network.eventually(lambda: first.state() == "master" and first.holds(addresses[-1]))
        network.eventually(lambda: peer.shown().get("stats", {}).get("adverRx", 0) > 1)
        network.eventually(lambda: peer.state == "backup")
        assert peer.shown()["effectivePriority"] == 100
        probe = network.ping(addresses[-1])

        assert first.stop() == 0
        network.eventually(lambda: peer.state == "master")

        assert probe.longest_gap() < 0.2


def test_lvsd_takes_over_from_a_stopped_frr(network, case):
    ours, addresses = case
    first, second = network.pair()
    with Frr(network, first, *addresses, version=ours["version"], priority=150) as peer:
        network.eventually(lambda: peer.state == "master")
        second.start(network.router(priority=100, **ours))
        network.eventually(lambda: second.state() == "backup")
        network.eventually(lambda: second.states()[0]["master"])
        if ours["version"] == 3 and ours["family"] is Family.INET:
            network.eventually(lambda: second.states()[0]["checksum_reading"])
            assert "without" not in second.states()[0]["checksum_reading"]

        peer.stop()
        network.eventually(lambda: second.state() == "master" and second.holds(addresses[-1]))

    assert second.states()[0]["reason"].endswith("gave up")
    assert not rejected(second)


def test_a_better_frr_takes_the_vip_and_lvsd_yields(network, case):
    ours, addresses = case
    first, second = network.pair()
    first.start(network.router(priority=100, **ours))
    network.eventually(lambda: first.state() == "master" and first.holds(addresses[-1]))

    with Frr(network, second, *addresses, version=ours["version"], priority=150) as peer:
        network.eventually(lambda: first.state() == "backup" and peer.state == "master")
        network.eventually(lambda: not first.holds(addresses[-1]))

    assert not rejected(first)


def test_a_better_lvsd_takes_the_vip_and_frr_yields(network, case):
    ours, addresses = case
    first, second = network.pair()
    with Frr(network, second, *addresses, version=ours["version"], priority=100) as peer:
        network.eventually(lambda: peer.state == "master")

        first.start(network.router(priority=150, **ours))

        network.eventually(lambda: first.state() == "master" and first.holds(addresses[-1]))
        network.eventually(lambda: peer.state == "backup")
