"""IPv6: a neighbour advertisement of our VIP by another host. It alarms, or it relieves.

One director with an interval of 10 s, so that nothing but relief explains a quick end. The other
host's packets are scapy's.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import Ether

from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until
from tests.netns.daemons import events, mac, router

VIP = "fd77::100"
CONFIG = f"""\
vrrp=VI_6
\tinterface=eth0
\tvirtualrouterid=51
\tpriority=255
\tadvertint=10
\taddress={VIP}
"""
QUICK = 5.0


@pytest.fixture(scope="module")
def one() -> Iterator[Director]:
    layout = replace(Layout.dr(reals=0), extra={"stranger": ("10.77.0.66/24", "fd77::66/64")})
    with Topology(layout) as lab:
        yield Director(lab, "dirA", CONFIG, table="none")


@pytest.fixture
def master(one: Director) -> Director:
    if one.process is None or not one.process.alive():
        one.start()
    one.wait_state("master")
    wait_until(lambda: one.holds(VIP), 5, "the VIP is bound")
    return one


def announce(one: Director) -> None:
    """An unsolicited neighbour advertisement of the VIP (RFC 4861 §7.2.6) by the stranger."""
    theirs = mac(one.lab, "stranger")
    frame = (
        Ether(src=theirs, dst="33:33:00:00:00:01")
        / IPv6(src="fd77::66", dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(tgt=VIP, R=0, S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=theirs)
    )

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.sendto(bytes(frame), ("eth0", 0))

    one.lab.inside("stranger", send)


def test_another_host_that_advertises_the_address_is_in_status_and_events(
    master: Director,
) -> None:
    wait_until(lambda: time.time() - router(master)["since"] > 1.1, 5, "past the hand-over")

    announce(master)

    said = f"second owner: {VIP} was announced by {mac(master.lab, 'stranger')}"
    wait_until(lambda: any(said in note for note in router(master)["notes"]), 5, said)
    assert router(master)["counters"]["duplicate_owner"] == 1
    assert "duplicate_owner_heard" in events(master)
    assert mac(master.lab, "stranger") in events(master)
    assert master.state == "master"
    assert master.holds(VIP)


def test_a_peers_advertisement_relieves_an_orderly_stop(master: Director) -> None:
    asked_at = time.monotonic()
    assert master.process is not None
    master.process.send(signal.SIGTERM)
    wait_until(lambda: "stopping" in master.log(), 5, "it is stopping")
    assert master.holds(VIP)  # it serves until relieved

    announce(master)
    wait_until(lambda: not master.holds(VIP), 5, "relieved")

    assert master.process.wait(5) == 0
    assert time.monotonic() - asked_at < QUICK
    assert f"{VIP} was announced by its new master" in master.log()


def test_a_peers_advertisement_relieves_the_guard(master: Director) -> None:
    killed_at = time.monotonic()
    master.kill_main()
    assert master.holds(VIP)

    def gone() -> bool:
        announce(master)  # the guard opens its ears only now
        return not master.holds(VIP)

    wait_until(gone, 5, "relieved")
    assert time.monotonic() - killed_at < QUICK
