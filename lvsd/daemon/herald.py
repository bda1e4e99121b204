"""Sends what the routers say on the wire: adverts at once, announcements paced."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

from lvsd.core import packet
from lvsd.core.model import IPAddress, Pace
from lvsd.core.vrrp import Key, VirtualRouter, advertisement, destinations, hops
from lvsd.daemon.ears import Ears
from lvsd.daemon.pacing import Frame, Pacer
from lvsd.linux.announce import Announcer
from lvsd.linux.link import Links


class Herald:
    """Owns the announcement queue; adverts go out through the sockets of `Ears`."""

    def __init__(self, links: Links, ears: Ears, loop: asyncio.AbstractEventLoop) -> None:
        self._links = links
        self._ears = ears
        self._loop = loop
        self._announcer = Announcer()
        self._pacer = Pacer()
        self._timer: asyncio.TimerHandle | None = None

    def advertise(self, vr: VirtualRouter, priority: int) -> str:
        """Send one advert to each destination; "" or why the kernel did not take it."""
        wire = self._ears.wire(vr.config.outgoing, vr.config.family)
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
        self._pacer.add(
            [
                Frame(vr.config.key, device, address, octets)
                for device, address, octets in self._frames(addresses, devices, vr.config.interface)
            ],
            count,
        )
        self._send()

    def pace(self, paces: Sequence[Pace]) -> None:
        """How far apart announcements leave from now on."""
        self._pacer.follow(paces)
        self._send()

    def forget(self, key: Key, addresses: Collection[IPAddress]) -> None:
        """A router lost these: what is still lined up for them must not go out."""
        if addresses:
            self._pacer.forget(key, addresses)

    def close(self) -> None:
        """Give the socket back; what is still lined up is lost."""
        if self._timer is not None:
            self._timer.cancel()
        self._announcer.close()

    def _frames(
        self, addresses: Iterable[IPAddress], devices: dict[IPAddress, str], default: str
    ) -> Iterable[tuple[str, IPAddress, bytes]]:
        for address in addresses:
            device = devices.get(address, default)
            interface = self._links.interface(device)
            # Nothing resolves addresses on a NOARP interface, and a frame needs a MAC.
            if interface is None or not interface.arp or len(interface.mac) != 6:
                continue
            if address.version == 4:
                yield device, address, packet.gratuitous_arp(interface.mac, address)
            else:
                router = self._links.forwarding(device)
                yield device, address, packet.unsolicited_na(interface.mac, address, router)

    def _send(self) -> None:
        """Send what may leave now, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
        for frame in self._pacer.take(self._loop.time()):
            self._announcer.send(frame.interface, frame.octets)
        due = self._pacer.next_at()
        self._timer = None if due is None else self._loop.call_at(due, self._send)
