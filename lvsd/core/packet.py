"""VRRP messages and the frames that announce an address: bytes in, values out.

Owns the wire forms of RFC 3768 (version 2, with simple password authentication of RFC 2338),
RFC 5798 and RFC 9568 (version 3), gratuitous ARP (RFC 826, as a request, which is what keepalived
sends) and unsolicited neighbour advertisements (RFC 4861 §4.4). Knows no router and no policy:
whether the password or the interval is the right one is asked in `core.vrrp`.

Two readings of one field exist in the wild: RFC 5798 was read with and without a pseudo-header in
the checksum of version 3 over IPv4. keepalived includes it, RFC 9568, Cisco and Juniper do not.
`decode` accepts both and says which it was.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from lvsd.core.model import Family, IPAddress

PROTOCOL = 112
TTL = 255
MULTICAST: dict[Family, IPAddress] = {
    Family.INET: IPv4Address("224.0.0.18"),
    Family.INET6: IPv6Address("ff02::12"),
}
AUTH_NONE = 0
AUTH_PASS = 1


class Reason(enum.StrEnum):
    """Why an advertisement was dropped; each is a counter of its router."""

    LENGTH = "length"
    TTL = "ttl"
    VERSION = "version"
    AUTH_TYPE = "auth_type"
    AUTH = "auth"
    INTERVAL = "interval"
    TYPE = "type"
    CHECKSUM = "checksum"
    DESTINATION = "destination"
    SOURCE = "source"
    FAMILY = "family"
    VRID = "vrid"


class PacketError(Exception):
    """A message that is not acceptable, and why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One VRRP advertisement.

    `interval` is seconds: whole in version 2 (1–255), multiples of 0.01 in version 3 (to 40.95).
    `authpass` has at most 8 octets, without trailing zeros. `pseudo_header` tells, for version 3
    over IPv4, which reading of the checksum is or was used; elsewhere it is True.
    """

    version: int
    vrid: int
    priority: int
    interval: float
    addresses: tuple[IPAddress, ...]
    authpass: bytes = b""
    auth_type: int = AUTH_NONE
    pseudo_header: bool = True


def encode(advert: Advertisement, source: IPAddress, destination: IPAddress) -> bytes:
    """The VRRP message without IP header.

    Version 2 always ends in 8 authentication octets, zeros without authentication (a keepalived
    peer drops any other length).
    """


def decode(
    message: bytes, *, source: IPAddress, destination: IPAddress, ttl: int
) -> Advertisement:
    """The advertisement in a VRRP message; raises PacketError.

    `source` and `destination` are the IP header's. A hop limit other than 255 is refused for
    multicast only. Checks run in keepalived's order as far as they need no configuration.
    """


def vrid(message: bytes) -> int | None:
    """The VRID a message claims, to find its router before anything is checked."""


def gratuitous_arp(mac: bytes, address: IPAddress) -> bytes:
    """A whole Ethernet frame: broadcast ARP request with sender = target = `address`."""


def unsolicited_na(mac: bytes, address: IPAddress, router: bool = False) -> bytes:
    """A whole Ethernet frame: neighbour advertisement to ff02::1 with the override flag."""


def announced_address(frame: bytes) -> tuple[bytes, IPAddress] | None:
    """The (MAC, address) an ARP or NA frame claims; None for anything else."""
