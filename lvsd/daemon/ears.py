"""What main listens to on the wire: VRRP sockets and announcements of our VIPs by others.

Sockets are opened and closed to fit the routers and the interfaces present; readiness is told to
the one who owns the loop, who calls `drain`. What cannot be opened is tried again at the next fit,
that is, at the next change of an interface or of the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

from lvsd import log
from lvsd.core import packet
from lvsd.core.model import Family, IPAddress, RouterConfig
from lvsd.core.vrrp import Event, Key, NeighbourAnnounced, VirtualRouters
from lvsd.linux.announce import NeighbourListener
from lvsd.linux.link import Links
from lvsd.linux.wire import BATCH, VrrpSocket

#: Datagrams read from one socket before a deadline is honoured, so that a flood cannot hold it up.
DRAIN = 8 * BATCH

_log = log.get()
Wire = tuple[str, Family]


class Ears:
    """Every receiving socket of main. `heard` is called when something waits to be drained."""

    def __init__(
        self, links: Links, loop: asyncio.AbstractEventLoop, heard: Callable[[], None]
    ) -> None:
        self._links = links
        self._loop = loop
        self._heard = heard
        self._wires: dict[Wire, VrrpSocket] = {}
        #: The interface of the router by the name of its macvlan.
        self._bases: dict[str, str] = {}
        self._listeners: dict[str, NeighbourListener] = {}
        self._refused: dict[Wire | str, str] = {}

    def wire(self, interface: str, family: Family) -> VrrpSocket | None:
        """The socket to send through, None while it cannot be open."""
        return self._wires.get((interface, family))

    def fit(self, configs: Iterable[RouterConfig]) -> None:
        """Have exactly the VRRP sockets that these routers need on interfaces that exist."""
        needs: dict[Wire, list[RouterConfig]] = {}
        self._bases = {}
        for config in configs:
            needs.setdefault((config.interface, config.family), []).append(config)
            if config.usevmac and not config.peers:
                needs[config.usevmac, config.family] = [config]
                self._bases[config.usevmac] = config.interface
        for key in [k for k in self._wires if not self._fits(self._wires[k], needs.get(k, []))]:
            self._close(self._wires.pop(key))
        for key, routers in needs.items():
            if key not in self._wires:
                self._open_wire(key, routers)

    def watch(self, claims: Mapping[str, Collection[IPAddress]]) -> None:
        """Listen for announcements of these addresses, by interface."""
        for name in [
            n
            for n, listener in self._listeners.items()
            if frozenset(claims.get(n, ())) != listener.addresses
            or listener.index != self._index(n)
        ]:
            self._deafen(name)
        for name, addresses in claims.items():
            if name not in self._listeners and addresses and self._links.interface(name):
                self._open_listener(name, addresses)

    def drain(self, routers: VirtualRouters, limit: int = BATCH) -> list[tuple[Key, Event]]:
        """What has been heard, checked and in order of arrival, as events."""
        events: list[tuple[Key, Event]] = []
        for wire in self._wires.values():
            for got in wire.receive(limit):
                event = routers.receive(
                    self._bases.get(wire.interface, wire.interface),
                    got.payload,
                    source=got.source,
                    destination=got.destination,
                    ttl=got.ttl,
                )
                if event is not None:
                    events.append(event)
        for listener in self._listeners.values():
            events += self._claims(listener, routers, limit)
        return events

    def counters(self, interface: str, family: Family) -> Mapping[str, int]:
        """What the socket of an interface and family counted."""
        wire = self.wire(interface, family)
        if wire is None:
            return {}
        counted = wire.counters
        return {"send_errors": counted.send_errors, "receive_errors": counted.receive_errors}

    def close(self) -> None:
        """Give every socket back."""
        for wire in self._wires.values():
            self._close(wire)
        self._wires = {}
        for name in [*self._listeners]:
            self._deafen(name)

    def _fits(self, wire: VrrpSocket, routers: list[RouterConfig]) -> bool:
        return (
            wire.index == self._index(wire.interface)
            and wire.vrids == {r.vrid for r in routers}
            and wire.multicast == any(not r.peers for r in routers)
        )

    def _index(self, name: str) -> int:
        interface = self._links.interface(name)
        return 0 if interface is None else interface.index

    def _open_wire(self, key: Wire, routers: list[RouterConfig]) -> None:
        name, family = key
        index = self._index(name)
        if not index:
            return
        vrids = {r.vrid for r in routers}
        multicast = any(not r.peers for r in routers)
        # What comes from the virtual MAC reaches the raised macvlan only, all else its base.
        sender = packet.virtual_mac(routers[0].vrid, family) if name in self._bases else b""
        try:
            wire = VrrpSocket(name, index, family, vrids, multicast=multicast, sender=sender)
        except OSError as error:
            self._refuse(key, name, error)
            return
        self._refused.pop(key, None)
        self._wires[key] = wire
        self._loop.add_reader(wire, self._heard)

    def _open_listener(self, name: str, addresses: Collection[IPAddress]) -> None:
        try:
            listener = NeighbourListener(name, self._index(name), addresses)
        except OSError as error:
            self._refuse(name, name, error)
            return
        self._refused.pop(name, None)
        self._listeners[name] = listener
        for sock in listener.sockets:
            self._loop.add_reader(sock, self._heard)

    def _refuse(self, key: Wire | str, interface: str, error: OSError) -> None:
        """Log a socket that cannot be opened, once per reason."""
        reason = error.strerror or str(error)
        if self._refused.get(key) != reason:
            self._refused[key] = reason
            _log.error("router_refused", interface=interface, error=f"socket: {reason}")

    def _close(self, wire: VrrpSocket) -> None:
        self._loop.remove_reader(wire)
        wire.close()

    def _deafen(self, name: str) -> None:
        listener = self._listeners.pop(name)
        for sock in listener.sockets:
            self._loop.remove_reader(sock)
        listener.close()

    def _claims(
        self, listener: NeighbourListener, routers: VirtualRouters, limit: int
    ) -> list[tuple[Key, Event]]:
        """Announcements by other hosts, as events of the routers that hold the address there."""
        events: list[tuple[Key, Event]] = []
        for frame in listener.receive(limit):
            claim = packet.announced_address(frame)
            # Linux may ask and answer for an address out of any interface on the network (ARP
            # flux): what comes back with a MAC of this host is no stranger's.
            if claim is None or self._links.ours(claim[0]):
                continue
            for key, vips in routers.desired().items():
                if any(v.address == claim[1] for v in vips):
                    events.append((key, NeighbourAnnounced(claim[1], claim[0].hex(":"))))
        return events
