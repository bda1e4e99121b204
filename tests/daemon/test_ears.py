"""Which announcements on the wire are told to the routers."""

from __future__ import annotations

import asyncio
import struct
from ipaddress import ip_address

from lvsd.core.model import Family, RouterConfig, Vip
from lvsd.core.packet import gratuitous_arp
from lvsd.core.vrrp import (
    DeadlineReached,
    NeighbourAnnounced,
    Startup,
    VirtualRouters,
    next_deadline,
)
from lvsd.daemon import ears
from lvsd.linux.link import Links
from lvsd.linux.rtnl import attribute

KEY = ("eth0", 51, Family.INET)
VIP = ip_address("192.0.2.100")
UP_AND_RUNNING = 0x41
ETH0, ETH1, STRANGER = (bytes.fromhex(f"02000000000{n}") for n in (1, 2, 3))


class Listener:
    """A NeighbourListener that has heard something."""

    sockets = ()
    heard: tuple[bytes, ...] = ()

    def __init__(self, interface, index, addresses) -> None:
        self.interface, self.index, self.addresses = interface, index, frozenset(addresses)

    def receive(self, limit):
        return iter(self.heard)


class TwoInterfaces(Links):
    """A host with two interfaces, as a dump of the kernel would show it."""

    def __init__(self) -> None:
        super().__init__(listener=None)
        for index, (name, mac) in enumerate((("eth0", ETH0), ("eth1", ETH1)), 1):
            head = bytes(16) + struct.pack("=BxHiII", 0, 1, index, UP_AND_RUNNING, 0)
            self._link_added(head + attribute(1, mac) + attribute(3, name.encode() + b"\0"))


def routers_with_master() -> VirtualRouters:
    config = RouterConfig("VI_1", "eth0", 51, 100, (Vip(VIP, 32),))
    routers, _ = VirtualRouters().configure([config], {KEY: ip_address("192.0.2.5")}, 0.0)
    routers, _ = routers.step(KEY, Startup(), 0.0)
    at = next_deadline(routers.routers[KEY])
    assert at is not None
    return routers.step(None, DeadlineReached(), at)[0]


async def heard(monkeypatch, *macs: bytes):
    monkeypatch.setattr(ears, "NeighbourListener", Listener)
    monkeypatch.setattr(Listener, "heard", tuple(gratuitous_arp(mac, VIP) for mac in macs))
    listening = ears.Ears(TwoInterfaces(), asyncio.get_running_loop(), lambda: None)
    listening.watch({"eth0": {VIP}})
    return listening.drain(routers_with_master())


async def test_another_host_that_announces_our_address_is_told(monkeypatch) -> None:
    assert await heard(monkeypatch, STRANGER) == [
        (KEY, NeighbourAnnounced(VIP, "02:00:00:00:00:03"))
    ]


async def test_no_interface_of_this_host_is_a_stranger(monkeypatch) -> None:
    assert await heard(monkeypatch, ETH0, ETH1) == []
