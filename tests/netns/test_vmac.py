"""`usevmac`: the virtual MAC on the wire, in the neighbours' tables, and in the kernel."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from lvsd.core.model import Family, Vip
from tests.interop.capture import Capture
from tests.netns.network import ROOT

pytestmark = pytest.mark.netns

MAC = {4: "00:00:5e:00:01:33", 6: "00:00:5e:00:02:33"}
NAME = {4: "vrrp.51", 6: "vrrp6.51"}
OWN_MAC = {1: "02:00:00:77:00:01", 2: "02:00:00:77:00:02"}

CLAIM = """
import socket
from ipaddress import ip_address
from lvsd.core.packet import gratuitous_arp
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
frame = gratuitous_arp(bytes.fromhex("00005e000133"), ip_address("10.77.0.100"))
sock.sendto(frame, ("eth0", 0))
"""


def config(network, family=4, **changes):
    vip = {4: Vip(ip_address(network.vip), 32), 6: Vip(ip_address(network.vip6), 128)}[family]
    fields = {"usevmac": NAME[family], "addresses": (replace(vip, dev=NAME[family]),)}
    if family == 6:
        fields |= {"family": Family.INET6, "version": 3, "advertint": 0.5}
    return network.router(**fields | changes)


def pair(network, router):
    """A settled pair: the first director is master."""
    first, second = network.pair()
    first.start(replace(router, priority=150))
    second.start(replace(router, priority=100))
    vip = str(router.addresses[0].address)
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    network.eventually(lambda: first.holds(vip))
    return first, second


def alone(network, **changes):
    one = network.director(1)
    one.start(config(network, version=3, advertint=0.2, **changes))
    network.eventually(lambda: one.state() == "master" and one.holds())
    return one


def shown(namespace, *words):
    command = ["ip", "-n", namespace, "-j", "-d", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout or "[]") if done.returncode == 0 else []


def link(director, name):
    """A link as `ip` shows it, None where there is none."""
    return next(iter(shown(director.namespace, "link", "show", name)), None)


def is_up(director, name):
    return "UP" in link(director, name)["flags"]


def neighbour(network, address):
    """The MAC by which the client knows an address."""
    found = [n for n in shown(network.client, "neigh") if n["dst"] == address]
    return found[0].get("lladdr") if found else None


def port_of(network, mac):
    """The switch's port behind which it has learnt a MAC."""
    command = ["bridge", "-n", network.switch, "-j", "fdb", "show", "br", "br0"]
    entries = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    learnt = [e["ifname"] for e in entries if e["mac"] == mac and e.get("state") != "permanent"]
    return learnt[0].removeprefix("p") if learnt else None


def setting(director, word, interface="eth0"):
    command = ["ip", "netns", "exec", director.namespace, "cat"]
    path = f"/proc/sys/net/ipv4/conf/{interface}/{word}"
    return subprocess.run([*command, path], capture_output=True, check=True).stdout.strip()


def senders(wire):
    """The MACs that the adverts heard so far come from."""
    ipv4 = (f for f in wire.read() if IP in f and f[IP].proto == 112)
    ipv6 = (f for f in wire.read() if IPv6 in f and f[IPv6].nh == 112)
    return {frame.src for frame in (*ipv4, *ipv6)}


@pytest.mark.parametrize("family", [4, 6])
def test_clients_know_one_mac_whoever_is_master_and_the_switch_follows(network, family):
    vip = network.vip if family == 4 else network.vip6
    wire = Capture(network.client)
    first, second = pair(network, config(network, family))
    probe = network.ping(vip)
    network.eventually(lambda: neighbour(network, vip) == MAC[family])
    assert port_of(network, MAC[family]) == "d1"
    assert is_up(first, NAME[family])
    assert not is_up(second, NAME[family])

    assert first.stop() == 0
    network.eventually(lambda: second.state() == "master")
    network.eventually(lambda: port_of(network, MAC[family]) == "d2")

    assert probe.longest_gap() < 0.5
    assert neighbour(network, vip) == MAC[family]
    assert link(first, NAME[family]) is None
    assert senders(wire) == {MAC[family]}
    wire.close()


def test_the_interface_below_speaks_of_itself_only_and_is_set_back(network):
    one = alone(network)
    assert (setting(one, "arp_ignore"), setting(one, "arp_announce")) == (b"1", b"2")

    assert one.stop() == 0

    assert (setting(one, "arp_ignore"), setting(one, "arp_announce")) == (b"0", b"0")


def test_the_macvlan_has_no_address_made_of_its_mac(network):
    first, _ = pair(network, config(network, family=6))

    (found,) = shown(first.namespace, "address", "show", "vrrp6.51")

    assert [entry["local"] for entry in found["addr_info"]] == [network.vip6]


@pytest.mark.parametrize("family", [4, 6])
def test_a_killed_main_is_relieved_and_its_guard_removes_the_macvlan(network, family):
    vip = network.vip if family == 4 else network.vip6
    first, second = pair(network, config(network, family))
    probe = network.ping(vip)

    os.kill(first.pid, signal.SIGKILL)
    network.eventually(lambda: second.state() == "master")
    network.eventually(lambda: not first.holds(vip))
    network.eventually(lambda: link(first, NAME[family]) is None)

    assert probe.longest_gap() < 0.5


def test_a_guard_of_a_backup_removes_the_macvlan_too(network):
    _, second = pair(network, config(network))

    os.kill(second.pid, signal.SIGKILL)

    network.eventually(lambda: link(second, "vrrp.51") is None)


def test_with_everything_killed_the_macvlan_stays_and_the_next_start_has_it(network):
    first, second = pair(network, config(network))
    left = link(first, "vrrp.51")
    family = [first.pid, *first.children().values()]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in family:
            os.kill(pid, number)
    network.eventually(lambda: second.state() == "master")
    network.eventually(lambda: not first.holds())  # the lease
    assert is_up(first, "vrrp.51")

    first.process.wait()
    (first.folder / "routers.said").unlink()
    first.start(config(network, priority=50))
    network.eventually(lambda: first.state() == "backup")

    network.eventually(lambda: not is_up(first, "vrrp.51"))
    assert link(first, "vrrp.51")["ifindex"] == left["ifindex"]


def test_an_operators_interface_of_that_name_is_a_fault_and_is_not_touched(network):
    one = network.director(1)
    network.ip("-n", one.namespace, "link", "add", "vrrp.51", "type", "bridge")
    network.ip("-n", one.namespace, "link", "set", "vrrp.51", "up")
    before = link(one, "vrrp.51")["address"]

    one.start(config(network, version=3, advertint=0.2))
    network.eventually(lambda: one.state() == "fault")

    assert "interface vrrp.51 exists and is not this router's" in one.states()[0]["reason"]
    assert one.stop() == 0
    assert link(one, "vrrp.51")["address"] == before
    assert is_up(one, "vrrp.51")


def test_a_macvlan_taken_away_by_hand_is_made_again_with_its_address(network):
    one = alone(network)

    network.ip("-n", one.namespace, "link", "del", "vrrp.51")

    network.eventually(lambda: "vips_lost" in one.log)
    network.eventually(one.holds)
    assert is_up(one, "vrrp.51")


def test_an_interface_that_vanishes_takes_its_macvlan_along_and_brings_it_back(network):
    one = network.director(1)
    inside = ("-n", one.namespace)
    one.start(config(network, interface="eth9", version=3, advertint=0.2))
    network.eventually(lambda: one.state() == "fault")

    for _ in range(2):
        network.ip(*inside, "link", "add", "eth9", "type", "veth", "peer", "name", "eth10")
        network.ip(*inside, "address", "add", "10.88.0.1/24", "dev", "eth9")
        network.ip(*inside, "link", "set", "eth9", "up")
        network.ip(*inside, "link", "set", "eth10", "up")
        network.eventually(lambda: one.state() == "master" and one.holds())
        assert link(one, "vrrp.51")["link"] == "eth9"
        network.ip(*inside, "link", "del", "eth9")
        network.eventually(lambda: one.state() == "fault")


def test_a_reload_without_the_word_moves_the_address_and_tells_the_neighbours(network):
    one = alone(network)
    probe = network.ping()
    network.eventually(lambda: neighbour(network, network.vip) == MAC[4])

    one.write(network.router(version=3, advertint=0.2))
    one.process.send_signal(signal.SIGHUP)
    network.eventually(lambda: link(one, "vrrp.51") is None)
    network.eventually(lambda: neighbour(network, network.vip) == OWN_MAC[1])

    assert one.holds()
    one.write(config(network, version=3, advertint=0.2))
    one.process.send_signal(signal.SIGHUP)
    network.eventually(lambda: neighbour(network, network.vip) == MAC[4])
    served_until = time.monotonic() + 0.5
    network.eventually(lambda: time.monotonic() > served_until)
    assert one.log.count("state=master") == 1
    assert probe.longest_gap() < 0.5


def test_the_same_mac_from_another_port_is_a_second_owner(network):
    one = alone(network)

    def claimed():
        command = ["ip", "netns", "exec", network.client, sys.executable, "-c", CLAIM]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        return "duplicate_owner_heard" in one.log

    network.eventually(claimed)
    assert f"mac={MAC[4]}" in one.log


def test_with_vmacxmitbase_adverts_have_the_interfaces_own_mac(network):
    peers = [ip_address("10.77.0.1"), ip_address("10.77.0.2")]
    router = config(network, vmacxmitbase=True, peers=tuple(peers))
    first, second = network.pair()
    first.start(replace(router, priority=150))
    second.start(router)
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    probe = network.ping()
    network.eventually(lambda: neighbour(network, network.vip) == MAC[4])

    os.kill(first.pid, signal.SIGKILL)
    network.eventually(lambda: second.state() == "master")
    network.eventually(lambda: not first.holds())

    assert probe.longest_gap() < 0.5
    wire = Capture(network.client)
    second.write(replace(router, peers=()))
    second.process.send_signal(signal.SIGHUP)
    wire.wait_adverts(second.address, 2)
    assert senders(wire) == {OWN_MAC[2]}
    assert port_of(network, MAC[4]) == "d2"
    wire.close()


def test_status_shows_the_virtual_mac(network):
    one = alone(network, accept=False)

    (router,) = one.states()
    assert (router["vmac"], router["vmac_interface"]) == (MAC[4], "vrrp.51")
    assert router["accept"] is False
