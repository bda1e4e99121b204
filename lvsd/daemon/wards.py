"""What the guard is told about a router that holds its VIPs: everything as bytes, made in advance.

The guard must be right at the moment main dies, so a ward is made anew whenever anything it is made
of changes, and told before the kernel is asked for the VIPs.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from lvsd.core import packet
from lvsd.core.model import Family, Vip
from lvsd.core.vrrp import (
    Key,
    State,
    VirtualRouter,
    advertisement,
    desired,
    desired_paths,
    destinations,
    hops,
    relief_timeout,
)
from lvsd.daemon.applier import VipApplier
from lvsd.daemon.farewell import Packet, Remain, Ward
from lvsd.daemon.guard import Guard
from lvsd.daemon.screen import Screen
from lvsd.daemon.vmacs import Vmacs
from lvsd.linux import bpf
from lvsd.linux.interface import Interface
from lvsd.linux.link import Links


class Wards:
    """Keeps the guard's picture exact; it costs a comparison while nothing changes."""

    def __init__(
        self, guard: Guard, links: Links, applier: VipApplier, vmacs: Vmacs, screen: Screen
    ) -> None:
        self._guard = guard
        self._links = links
        self._applier = applier
        self._vmacs = vmacs
        self._screen = screen
        self._remains: tuple[Remain, ...] = ()
        self._wards: dict[Key, tuple[tuple[Any, ...], Ward]] = {}

    def tell(
        self, routers: Mapping[Key, VirtualRouter], desired: Mapping[Key, tuple[Vip, ...]]
    ) -> None:
        """To be called before the applier is told of the same wish."""
        wards: dict[Key, tuple[tuple[Any, ...], Ward]] = {}
        changed = False
        for key, vr in routers.items():
            interface = self._links.interface(vr.config.outgoing)
            vips = desired.get(key, ())
            if interface is None or (not vips and vr.state is not State.MASTER):
                continue
            lowering = self._vmacs.lowering(key)
            facts = (vr.config, vr.source, interface, vips, self._applier.revision, lowering)
            known = self._wards.get(key)
            if known is None or known[0] != facts:
                deletions = self._applier.deletions(key, vips, desired_paths(vr))
                ward = make_ward(vr, interface, deletions + lowering)
                changed = changed or known is None or known[1] != ward
                known = (facts, ward)
            wards[key] = known
        links = ((socket.NETLINK_ROUTE, request) for request in self._vmacs.removals())
        remains = (*links, *self._screen.remains())
        changed = changed or wards.keys() != self._wards.keys() or remains != self._remains
        self._wards, self._remains = wards, remains
        if changed:
            self._guard.update(tuple(ward for _, ward in wards.values()), remains)
        else:
            self._guard.retry()


def make_ward(vr: VirtualRouter, interface: Interface, deletions: tuple[bytes, ...]) -> Ward:
    """The ward of one router: its farewell, its removals, and what relieves it."""
    config = vr.config
    vips = [vip.address for vip in desired(vr)]
    ipv4 = [v for v in vips if isinstance(v, IPv4Address)]
    ipv6 = [v for v in vips if isinstance(v, IPv6Address)]
    filters: list[tuple[int, bytes]] = []
    if ipv4:
        filters.append((bpf.ETH_P_ARP, bpf.assemble(bpf.arp_filter(ipv4))))
    if ipv6:
        filters.append((bpf.ETH_P_IPV6, bpf.assemble(bpf.na_filter(ipv6))))
    own = bpf.vrrp_filter([config.vrid], ipv4=config.family is Family.INET)
    return Ward(
        interface=interface.name,
        index=interface.index,
        neighbours=config.usevmac or config.interface,
        family=int(config.family),
        mac=b"" if config.usevmac else interface.mac,
        farewells=_farewells(vr),
        deletions=deletions,
        vips=tuple(v.packed for v in vips),
        filters=tuple(filters),
        advert_filter=bpf.assemble(own),
        group=b"" if config.peers else packet.MULTICAST[config.family].packed,
        limit=relief_timeout(config),
    )


def _farewells(vr: VirtualRouter) -> tuple[Packet, ...]:
    """The priority-0 adverts, one per destination."""
    source = vr.source
    if source is None:
        return ()
    advert = advertisement(vr, 0)
    return tuple(
        Packet(to.packed, source.packed, packet.encode(advert, source, to), hops(vr))
        for to in destinations(vr)
    )
