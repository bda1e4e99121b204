"""Bytes nobody should send: each ends in a counter, and mastership does not notice."""

import subprocess
import sys

import pytest

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
    assert probe.stop()


def test_a_flood_delays_no_advert_by_a_takeover(network):
    first, second = settled(network)
    changed = changes(first), changes(second)
    probe = network.ping()

    flood(network, 255, 3000)

    assert probe.longest_gap() < 0.2
    assert (changes(first), changes(second)) == changed
