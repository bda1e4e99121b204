"""Addresses and interfaces around a director: whose they are, and who may move them."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Track, TrackKind, Vip

pytestmark = pytest.mark.netns


# What a crash leaves behind: our protocol number and a lease.
LEFTOVER = """
import socket
from ipaddress import ip_address
from lvsd.core.model import Vip
from lvsd.linux import rtnl
vip = Vip(ip_address("10.77.0.100"), 32)
assert rtnl.AddressSocket().send([rtnl.new_address(vip, socket.if_nametoindex("eth0"), 60)]) == [0]
"""


def vip_of(director, address):
    return next((e for e in director.entries() if e["local"] == address), None)


def test_an_operators_permanent_address_is_neither_leased_nor_removed(network):
    one = network.director(1)
    network.ip("-n", one.namespace, "address", "add", f"{network.vip}/32", "dev", "eth0")

    one.start(network.router(version=3, advertint=0.2))
    network.eventually(lambda: one.state() == "master")
    assert one.stop() == 0

    assert vip_of(one, network.vip)["valid_life_time"] == 0xFFFFFFFF


def test_a_vip_left_by_a_crash_is_taken_away_at_start(network):
    one = network.director(1)
    one.python(LEFTOVER)
    assert one.holds()

    one.start(network.router())

    network.eventually(lambda: one.state() == "backup")
    network.eventually(lambda: not one.holds())


def test_an_address_removed_by_hand_comes_back(network):
    one = network.director(1)
    one.start(network.router(version=3, advertint=0.2))
    network.eventually(lambda: one.state() == "master" and one.holds())

    network.ip("-n", one.namespace, "address", "del", f"{network.vip}/32", "dev", "eth0")

    network.eventually(lambda: "vips_lost" in one.log)
    network.eventually(one.holds, timeout=1)
    assert one.state() == "master"


def test_a_wide_vip_sets_promote_secondaries_so_that_others_stay(network):
    one = network.director(1)
    wide = Vip(ip_address("10.99.0.1"), 24)
    one.start(network.router(version=3, advertint=0.2, addresses=(wide,)))
    network.eventually(lambda: one.state() == "master" and one.holds("10.99.0.1"))
    network.ip("-n", one.namespace, "address", "add", "10.99.0.2/24", "dev", "eth0")

    assert one.stop() == 0

    assert not one.holds("10.99.0.1")
    assert one.holds("10.99.0.2")


def test_the_source_of_adverts_is_never_a_vip(network):
    one = network.director(1)
    one.start(network.router(version=3, advertint=0.2))

    network.eventually(lambda: one.state() == "master")

    assert one.states()[0]["master"] == "10.77.0.1"


def test_an_interface_that_comes_later_and_goes_and_returns(network):
    one = network.director(1)
    config = network.router(interface="eth9", version=3, advertint=0.2)
    ip = ("-n", one.namespace)
    one.start(config)
    network.eventually(lambda: one.state() == "fault")

    for _ in range(2):
        network.ip(*ip, "link", "add", "eth9", "type", "veth", "peer", "name", "eth10")
        network.ip(*ip, "address", "add", "10.88.0.1/24", "dev", "eth9")
        network.ip(*ip, "link", "set", "eth9", "up")
        network.ip(*ip, "link", "set", "eth10", "up")
        network.eventually(lambda: one.state() == "master" and one.holds())
        network.ip(*ip, "link", "del", "eth9")
        network.eventually(lambda: one.state() == "fault")


def test_a_lost_carrier_is_a_fault_and_takes_the_vip(network):
    one = network.director(1)
    one.start(network.router(version=3, advertint=0.2))
    network.eventually(lambda: one.state() == "master" and one.holds())

    network.ip("-n", network.switch, "link", "set", "pd1", "down")

    network.eventually(lambda: one.state() == "fault")
    network.eventually(lambda: not one.holds())


def test_a_tracked_interface_moves_mastership(network):
    first, second = network.pair()
    for director in (first, second):
        pair = ("eth1", "type", "veth", "peer", "name", "eth2")
        network.ip("-n", director.namespace, "link", "add", *pair)
        for name in ("eth1", "eth2"):
            network.ip("-n", director.namespace, "link", "set", name, "up")
    track = (Track(TrackKind.INTERFACE, "eth1", weight=-100),)
    config = network.router(version=3, advertint=0.2, tracks=track)
    first.start(replace(config, priority=150))
    second.start(replace(config, priority=100))
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")

    network.ip("-n", first.namespace, "link", "set", "eth1", "down")

    network.eventually(lambda: first.state() == "backup" and second.state() == "master")
    assert first.states()[0]["effective_priority"] == 50


def test_a_missing_device_of_one_vip_stops_the_adverts_and_is_said(network):
    first, second = network.pair()
    config = network.router(version=3, advertint=0.2)
    stray = Vip(ip_address("10.77.0.101"), 32, dev="eth7")
    first.start(replace(config, priority=150, addresses=(*config.addresses, stray)))
    second.start(config)

    network.eventually(lambda: "interface eth7 does not exist" in first.log)
    network.eventually(lambda: second.state() == "master" and first.state() != "master")


def test_a_reload_adds_and_removes_vips_without_losing_mastership(network):
    one = network.director(1)
    config = network.router(version=3, advertint=0.2)
    one.start(config)
    network.eventually(lambda: one.state() == "master" and one.holds())
    probe = network.ping()
    other = Vip(ip_address("10.77.0.101"), 32)

    one.write(replace(config, addresses=(*config.addresses, other)))
    os.kill(one.pid, signal.SIGHUP)
    network.eventually(lambda: one.holds("10.77.0.101"))
    one.write(config)
    os.kill(one.pid, signal.SIGHUP)
    network.eventually(lambda: not one.holds("10.77.0.101"))
    served_until = time.monotonic() + 0.5
    network.eventually(lambda: time.monotonic() > served_until)

    assert probe.longest_gap() < 0.1
    assert one.log.count("state=master") == 1


def test_a_reload_with_nothing_changed_writes_nothing_but_the_lease(network):
    one = network.director(1)
    config = network.router(lease=False)
    one.start(config)
    network.eventually(lambda: one.state() == "master" and one.holds())
    monitor = subprocess.Popen(
        ["ip", "-n", one.namespace, "monitor", "address"], stdout=subprocess.PIPE, text=True
    )
    states = len(one.states())

    os.kill(one.pid, signal.SIGHUP)
    network.eventually(lambda: '"reload"' in (one.folder / "routers.said").read_text())
    quiet_until = time.monotonic() + 1
    network.eventually(lambda: time.monotonic() > quiet_until)
    monitor.terminate()

    assert monitor.communicate()[0] == ""
    assert len(one.states()) == states
    assert one.log.count("state=master") == 1
