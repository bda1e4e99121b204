"""Whether a received VRRP message is for us and right: keepalived's checks in keepalived's order.

The length comes first, then TTL, version, authentication, interval, type, checksum, destination
and source. Each failure has its own counter, so an operator sees what is wrong with a neighbour.
"""

from __future__ import annotations

import hmac

from lvsd.core.model import Family, IPAddress
from lvsd.core.packet import AUTH_NONE, AUTH_PASS, Advertisement, PacketError, Reason, parse, verify
from lvsd.core.vrrp.events import AdvertReceived, AdvertRejected
from lvsd.core.vrrp.router import VirtualRouter, destinations


def receive(
    vr: VirtualRouter, message: bytes, *, source: IPAddress, destination: IPAddress, ttl: int
) -> AdvertReceived | AdvertRejected:
    """All receive checks; the result is an event for `step`.

    A differing version 3 interval is learnt and a differing address list is reported; both are
    accepted here (keepalived does so since 2.3.3).
    """
    try:
        advert = parse(message, source=source, destination=destination, ttl=ttl)
        _near(vr, source, ttl)
        _suits(vr, advert)
        advert = verify(message, advert, source=source, destination=destination)
        _fits(vr, source, destination)
    except PacketError as error:
        return AdvertRejected(error.reason, str(source))
    return AdvertReceived(source, advert)


def _near(vr: VirtualRouter, source: IPAddress, ttl: int) -> None:
    """A peer with a TTL range keeps to it; raises PacketError."""
    for limits in vr.config.peer_ttls:
        if limits.peer == source and not limits.minimum <= ttl <= limits.maximum:
            raise PacketError(Reason.TTL)


def _suits(vr: VirtualRouter, advert: Advertisement) -> None:
    """Version, authentication and version 2's interval are ours; raises PacketError."""
    config = vr.config
    if advert.version != config.version:
        raise PacketError(Reason.VERSION)
    if advert.vrid != config.vrid:
        raise PacketError(Reason.VRID)
    if advert.version == 3:
        return
    if advert.auth_type != (AUTH_PASS if config.authpass else AUTH_NONE):
        raise PacketError(Reason.AUTH_TYPE)
    expected = config.authpass[:8].rstrip(b"\0")
    if config.authpass and not hmac.compare_digest(advert.authpass, expected):
        raise PacketError(Reason.AUTH)
    if advert.interval != config.advertint:
        raise PacketError(Reason.INTERVAL)


def _fits(vr: VirtualRouter, source: IPAddress, destination: IPAddress) -> None:
    """Multicast or unicast as configured, and from a peer; raises PacketError."""
    if Family.of(source) is not vr.config.family:
        raise PacketError(Reason.FAMILY)
    if destination.is_multicast == bool(vr.config.peers):
        raise PacketError(Reason.DESTINATION)
    if vr.config.peers and vr.config.checkunicastsrc and source not in destinations(vr):
        raise PacketError(Reason.SOURCE)
