"""What the guard is told about a router that holds its VIPs: everything as bytes, made in advance.

The guard must be right at the moment main dies, so a ward is made anew whenever anything it is made
of changes, and told before the kernel is asked for the VIPs.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from lvsd.core import packet
from lvsd.core.model import Family
from lvsd.core.vrrp import (
    VirtualRouter,
    advertisement,
    desired,
    destinations,
    hops,
    relief_timeout,
)
from lvsd.daemon.guard import Packet, Ward
from lvsd.linux import bpf
from lvsd.linux.link import Interface


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
        interface=config.interface,
        index=interface.index,
        family=int(config.family),
        mac=interface.mac,
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
