"""Sends what the routers say on the wire: adverts at once, announcements paced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from lvsd.core import packet
from lvsd.core.model import IPAddress
from lvsd.core.vrrp import Key, VirtualRouter, advertisement, destinations, hops
from lvsd.daemon.ears import Ears
from lvsd.linux.announce import BURST_INTERVAL, Announcer
from lvsd.linux.link import Links


class Herald:
    """Owns the announcement queue; adverts go out through the sockets of `Ears`."""

    def __init__(self, links: Links, ears: Ears, loop: asyncio.AbstractEventLoop) -> None:
        self._links = links
        self._ears = ears
        self._loop = loop
        self._announcer = Announcer()
        self._bursting = False

    def advertise(self, vr: VirtualRouter, priority: int) -> str:
        """Send one advert to each destination; "" or why the kernel did not take it."""
        wire = self._ears.wire(vr.config.interface, vr.config.family)
        if wire is None or vr.source is None:
            return ""  # a fault that the router knows of
        advert = advertisement(vr, priority)
        sent = [
            wire.send(packet.encode(advert, vr.source, to), vr.source, to, hops(vr))
            for to in destinations(vr)
        ]
        return "" if all(sent) else wire.last_error

    def announce(self, vr: VirtualRouter, addresses: Sequence[IPAddress], count: int) -> None:
        """Line up `count` rounds of gratuitous ARP or unsolicited NA."""
        vips = (*vr.config.addresses, *vr.config.excluded)
        devices = {v.address: v.dev or vr.config.interface for v in vips}
        frames = [*self._frames(addresses, devices, vr.config.interface)]
        for _ in range(count):
            for device, frame in frames:
                self._announcer.enqueue(vr.config.key, device, [frame])
        if not self._bursting:
            self._burst()

    def forget(self, key: Key) -> None:
        """A router lost its addresses: what is still lined up for it must not go out."""
        self._announcer.forget(key)

    def close(self) -> None:
        """Give the socket back."""
        self._announcer.close()

    def _frames(
        self, addresses: Iterable[IPAddress], devices: dict[IPAddress, str], default: str
    ) -> Iterable[tuple[str, bytes]]:
        for address in addresses:
            device = devices.get(address, default)
            interface = self._links.interface(device)
            # Nothing resolves addresses on a NOARP interface, and a frame needs a MAC.
            if interface is None or not interface.arp or len(interface.mac) != 6:
                continue
            if address.version == 4:
                yield device, packet.gratuitous_arp(interface.mac, address)
            else:
                router = self._links.forwarding(device)
                yield device, packet.unsolicited_na(interface.mac, address, router)

    def _burst(self) -> None:
        self._bursting = self._announcer.send_burst()
        if self._bursting:
            self._loop.call_later(BURST_INTERVAL, self._burst)
