"""Unicast with a TTL of its own: what is sent, what is accepted, and the guard's farewell."""

import os
import signal
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, PeerTtl, Vip

pytestmark = pytest.mark.netns

FAMILIES = [
    (Family.INET, "10.77.0.1", "10.77.0.2", "10.77.0.100"),
    (Family.INET6, "fd77::1", "fd77::2", "fd77::100"),
]


@pytest.mark.parametrize(("family", "one", "two", "vip"), FAMILIES, ids=["ipv4", "ipv6"])
def test_peers_agree_on_a_ttl_and_another_one_is_dropped(network, family, one, two, vip):
    first, second = network.pair()
    one, two = ip_address(one), ip_address(two)
    shared = {
        "family": family,
        "version": 3,
        "addresses": (Vip(ip_address(vip), 32 if family is Family.INET else 128),),
        "unicastttl": 7,
    }
    narrow = {"source": two, "peers": (one,), "peer_ttls": (PeerTtl(one, 7, 7),)}
    first.start(network.router(**shared, priority=150, source=one, peers=(two,)))
    network.eventually(lambda: first.state() == "master")
    second.start(network.router(**shared, **narrow))

    network.eventually(lambda: second.state() == "backup")
    network.eventually(lambda: second.states()[0]["master"] == str(one))
    assert second.states()[0]["counters"]["rejected_ttl"] == 0

    os.kill(first.pid, signal.SIGKILL)  # the guard's farewell has the TTL as well
    network.eventually(lambda: second.state() == "master")
    assert second.states()[0]["reason"] == f"{one} gave up"
    assert second.states()[0]["counters"]["rejected_ttl"] == 0


def test_a_peer_from_too_far_away_is_not_heard(network):
    first, second = network.pair()
    one, two = ip_address("10.77.0.1"), ip_address("10.77.0.2")
    first.start(network.router(priority=150, source=one, peers=(two,), unicastttl=7))
    limits = (PeerTtl(one, 254),)
    second.start(network.router(source=two, peers=(one,), peer_ttls=limits))

    network.eventually(lambda: second.state() == "master")
    assert second.states()[0]["counters"]["rejected_ttl"] > 0
