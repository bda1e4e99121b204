"""Bytes nobody should send: each ends in a counter, and mastership does not notice."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.netns.network import ROOT, VIP

pytestmark = pytest.mark.netns

FLOOD = """
import socket, struct, sys, os, time
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, int(sys.argv[1]))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.0.200"))
def checksum(b):
    t = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    t = (t >> 16) + (t & 0xffff)
    return ~((t >> 16) + t) & 0xffff
def advert(version, vrid, priority, auth, interval):
    body = socket.inet_aton("10.77.0.100") + (bytes(8) if version == 2 else b"")
    head = bytes([version << 4 | 1, vrid, priority, 1, auth, interval])
    return head + struct.pack("!H", checksum(head + bytes(2) + body)) + body
count = int(sys.argv[2])
for n in range(count):
    messages = [
        b"", b"\\x21", b"\\x21\\x33", advert(2, 51, 255, 0, 1)[:-1], advert(2, 51, 255, 0, 3),
        advert(2, 51, 255, 1, 1), advert(3, 51, 255, 0, 100), advert(4, 51, 255, 0, 1),
        b"\\x21\\x33" + os.urandom(30), b"\\x21\\x33\\xff\\xff" + bytes(1300), os.urandom(64),
        advert(2, 52, 255, 0, 1),
    ]
    for message in messages:
        try:
            sock.sendto(message, ("224.0.0.18", 0))
        except OSError:
            pass
"""


def settled(network):
    first, second = network.pair()
    first.start(network.router(priority=150))
    second.start(network.router(priority=100))
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    network.eventually(first.holds)
    return first, second


def changes(director):
    """How often its router became master."""
    return director.log.count("state=master")


def flood(network, ttl, count):
    command = ["ip", "netns", "exec", network.client, sys.executable, "-c", FLOOD]
    subprocess.run([*command, str(ttl), str(count)], check=True)


def test_hostile_packets_are_counted_and_dropped(network):
    first, second = settled(network)
    changed = changes(first), changes(second)
    probe = network.ping()

    flood(network, 255, 20)
    flood(network, 1, 20)
    second.stop()
    network.eventually(lambda: first.stop() == 0)

    counters = first.states()[0]["counters"]
    for reason in ("length", "interval", "auth_type", "version", "ttl"):
        assert counters[f"rejected_{reason}"] > 0, reason
    assert changes(first) == changed[0]
    assert changes(second) == changed[1]
    assert first.log.count("advert_rejected") < 20  # said, but not once per packet
    assert probe.replies()


def test_a_flood_delays_no_advert_by_a_takeover(network):
    first, second = settled(network)
    changed = changes(first), changes(second)
    probe = network.ping()

    flood(network, 255, 3000)

    assert probe.longest_gap() < 0.2
    assert (changes(first), changes(second)) == changed


#: Sends one advertisement of priority argv[1], correct in every respect, argv[2] times.
SPOOF = """
import sys, time
from ipaddress import ip_address
from lvsd.core.packet import MULTICAST, Advertisement, encode
from lvsd.core.model import Family
from lvsd.linux.wire import VrrpSocket
import socket
source, to = ip_address("10.77.0.200"), MULTICAST[Family.INET]
wire = VrrpSocket("eth0", socket.if_nametoindex("eth0"), Family.INET, {51}, multicast=True)
advert = Advertisement(2, 51, int(sys.argv[1]), 1.0, (ip_address("10.77.0.100"),))
for n in range(int(sys.argv[2])):
    assert wire.send(encode(advert, source, to), source, to, 255)
    time.sleep(0.1)
"""
CLAIM = """
import socket
from ipaddress import ip_address
from lvsd.core.packet import gratuitous_arp
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
for n in range(50):
    wire.send(gratuitous_arp(bytes.fromhex("020000666666"), ip_address("10.77.0.100")))
"""
#: Prints the times at which adverts of 10.77.0.1 with priority 150 arrived, for argv[1] seconds.
LISTEN = """
import socket, struct, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
group = struct.pack("4s4s", socket.inet_aton("224.0.0.18"), socket.inet_aton("10.77.0.200"))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
sock.settimeout(0.1)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        data, sender = sock.recvfrom(2048)
    except TimeoutError:
        continue
    if sender[0] == "10.77.0.1" and data[22:23] == bytes([150]):
        print(time.monotonic(), flush=True)
"""


def client(network, script, *words, **more):
    command = ["ip", "netns", "exec", network.client, sys.executable, "-c", script, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, text=True, **more)


def test_a_flood_does_not_disturb_the_beat(network):
    settled(network)
    listening = client(network, LISTEN, "8", stdout=subprocess.PIPE)

    flood(network, 255, 4000)  # 48,000 messages

    said, _ = listening.communicate()
    beats = [float(line) for line in said.splitlines()]
    gaps = [b - a for a, b in itertools.pairwise(beats)]
    assert len(beats) >= 5
    assert max(gaps) < 1.5, gaps


def test_a_stranger_that_announces_the_address_is_named_and_changes_nothing(network):
    first, second = settled(network)
    past_the_handover(network, first)
    changed = changes(first), changes(second)

    assert client(network, CLAIM).wait() == 0

    said = 'reason="10.77.0.100 was announced by 02:00:00:66:66:66"'
    network.eventually(lambda: "duplicate_owner_heard" in first.log and said in first.log)
    assert first.log.count("duplicate_owner_heard") == 1
    assert first.holds()
    assert (changes(first), changes(second)) == changed
    first.stop()
    router = first.states()[0]
    assert router["counters"]["duplicate_owner"] == 50


def test_the_alarm_of_a_second_owner_is_in_the_status(network):
    first, second = network.pair()
    first.start(network.router(priority=150))
    network.eventually(lambda: first.state() == "master" and first.holds())
    past_the_handover(network, first)

    second.python(FOREIGN)
    network.eventually(lambda: "duplicate_owner_heard" in first.log)
    first.process.send_signal(signal.SIGHUP)  # after a reload the states are told anew

    said = "second owner: 10.77.0.100 was announced by 02:00:00:88:88:88"
    network.eventually(lambda: any(said in note for note in first.states()[0]["notes"]))


#: A foreign host that announces the address twice, half a second apart.
FOREIGN = """
import socket, time
from ipaddress import ip_address
from lvsd.core.packet import gratuitous_arp
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
for pause in (0.5, 0):
    wire.send(gratuitous_arp(bytes.fromhex("020000888888"), ip_address("10.77.0.100")))
    time.sleep(pause)
"""


def past_the_handover(network, director):
    """A second after it became master, others' announcements are no last words any more."""
    network.eventually(lambda: time.time() - director.states()[0]["since"] > 1.1)


#: The host's other interface on the same network speaks for the address (ARP flux).
FLUX = CLAIM.replace("eth0", "eth1").replace("020000666666", "020000555555")


def test_another_interface_of_the_same_host_is_no_second_owner(network):
    first = network.director(1)
    pair = ("eth1", "netns", first.namespace, "address", "02:00:00:55:55:55", "type", "veth")
    network.ip("link", "add", *pair, "peer", "name", "flux", "netns", network.switch)
    network.ip("-n", network.switch, "link", "set", "flux", "master", "br0", "up")
    network.ip("-n", first.namespace, "link", "set", "eth1", "up")
    first.start(network.router(priority=150))
    network.eventually(lambda: first.state() == "master" and first.holds())
    past_the_handover(network, first)

    first.python(FLUX)
    assert client(network, CLAIM).wait() == 0

    network.eventually(lambda: "duplicate_owner_heard" in first.log)
    first.stop()
    assert "02:00:00:55:55:55" not in first.log
    assert first.states()[0]["counters"]["duplicate_owner"] == 50


def neighbours(network):
    command = ["ip", "-n", network.client, "neigh", "show", VIP]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_clients_come_back_after_a_foreign_announcement(network):
    first, second = network.pair()
    first.start(network.router(priority=150))
    network.eventually(lambda: first.state() == "master" and first.holds())
    past_the_handover(network, first)
    probe = network.ping()

    second.python(FOREIGN)
    network.eventually(lambda: "duplicate_owner_heard" in first.log)

    # Without our answer the client would talk to nobody until its own entry expires.
    network.eventually(lambda: "02:00:00:88:88:88" not in neighbours(network))
    network.eventually(lambda: "lladdr" in neighbours(network))
    assert probe.longest_gap() < 1.3
    assert first.log.count("state=master") == 1


def test_a_forged_farewell_leaves_one_master_who_serves(network):
    first, second = settled(network)
    probe = network.ping()

    assert client(network, SPOOF, "0", "3").wait() == 0

    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    network.eventually(lambda: first.holds() and not second.holds())
    assert probe.longest_gap() < 1.0


def test_the_service_returns_when_a_forged_owner_falls_silent(network):
    first, second = settled(network)

    assert client(network, SPOOF, "255", "10").wait() == 0

    # Without cryptography VRRP cannot tell it from a better director: it is obeyed, and named.
    assert "10.77.0.200" in first.log
    network.eventually(lambda: first.state() == "master" and first.holds())
    network.eventually(lambda: second.state() == "backup" and not second.holds())


def test_a_rejected_advertisement_is_told_with_its_sender(network):
    first, _ = settled(network)

    flood(network, 1, 1)

    network.eventually(lambda: "reason=ttl source=10.77.0.200" in first.log)
