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
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from lvsd.core.model import Family, IPAddress
from lvsd.core.record import dataclass

PROTOCOL = 112
TTL = 255
MULTICAST: dict[Family, IPAddress] = {
    Family.INET: IPv4Address("224.0.0.18"),
    Family.INET6: IPv6Address("ff02::12"),
}
AUTH_NONE = 0
AUTH_PASS = 1

_TYPE = 1
_HEADER = 8
_AUTH_LENGTH = 8
_INTERVAL_MASK = 0xFFF
#: The shortest Ethernet payload (46 octets) less an IPv4 header.
_MINIMUM_FRAME = 26
_ETHERNET = 14
_ETH_IPV4, _ETH_ARP, _ETH_IPV6 = 0x0800, 0x0806, 0x86DD
_ARP_ETHERNET, _ARP_REQUEST = 1, 1
_ICMPV6, _NA_TYPE, _NA_LINK_ADDRESS = 58, 136, 2
_NA_ROUTER, _NA_OVERRIDE = 0x80000000, 0x20000000
_ALL_NODES = IPv6Address("ff02::1")
_VIRTUAL_MAC = b"\0\0\x5e\0"


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
    if advert.version == 2:
        timing = bytes((advert.auth_type, round(advert.interval)))
        trailer = advert.authpass[:_AUTH_LENGTH].ljust(_AUTH_LENGTH, b"\0")
    else:
        timing = struct.pack("!H", round(advert.interval * 100) & _INTERVAL_MASK)
        trailer = b""
    head = bytes((advert.version << 4 | _TYPE, advert.vrid, advert.priority, len(advert.addresses)))
    body = b"".join(address.packed for address in advert.addresses) + trailer
    covered = head + timing + b"\0\0" + body
    if advert.version == 3 and advert.pseudo_header:
        covered = _pseudo_header(source, destination, len(covered), PROTOCOL) + covered
    return head + timing + struct.pack("!H", checksum(covered)) + body


def decode(message: bytes, *, source: IPAddress, destination: IPAddress, ttl: int) -> Advertisement:
    """The advertisement in a VRRP message; raises PacketError.

    `source` and `destination` are the IP header's. A hop limit other than 255 is refused for
    multicast only, as keepalived does. It is `parse` and `verify`; between the two a router asks
    its own questions, so that the order of checks is keepalived's.
    """
    advert = parse(message, source=source, destination=destination, ttl=ttl)
    return verify(message, advert, source=source, destination=destination)


def parse(message: bytes, *, source: IPAddress, destination: IPAddress, ttl: int) -> Advertisement:
    """The fields of a message, as far as length, TTL, version and their ranges are right.

    Raises PacketError. Type and checksum are left to `verify`.
    """
    if source.version != destination.version:
        raise PacketError(Reason.FAMILY)
    if len(message) < _HEADER:
        raise PacketError(Reason.LENGTH)
    first, vrid_, priority, count, timing = struct.unpack_from("!BBBBH", message)
    version = first >> 4
    length = _length(version, count, source)
    padding = message[length:]
    # Raw sockets cut Ethernet padding off; a capture or a sloppy driver may not.
    if len(message) < length or (padding and (any(padding) or len(message) > _MINIMUM_FRAME)):
        raise PacketError(Reason.LENGTH)
    if destination.is_multicast and ttl != TTL:
        raise PacketError(Reason.TTL)
    if version not in (2, 3):
        raise PacketError(Reason.VERSION)
    if version == 2 and source.version == 6:
        raise PacketError(Reason.FAMILY)
    auth_type, authpass = AUTH_NONE, b""
    if version == 2:
        auth_type, interval = timing >> 8, float(timing & 0xFF)
        if auth_type not in (AUTH_NONE, AUTH_PASS):
            raise PacketError(Reason.AUTH_TYPE)
        if auth_type == AUTH_PASS:  # without authentication the octets mean nothing
            authpass = message[length - _AUTH_LENGTH : length].rstrip(b"\0")
    else:
        interval = (timing & _INTERVAL_MASK) / 100
    if not interval:
        raise PacketError(Reason.INTERVAL)
    if not vrid_:
        raise PacketError(Reason.VRID)
    return Advertisement(
        version=version,
        vrid=vrid_,
        priority=priority,
        interval=interval,
        addresses=_addresses(message, count, source),
        authpass=authpass,
        auth_type=auth_type,
    )


def verify(
    message: bytes, advert: Advertisement, *, source: IPAddress, destination: IPAddress
) -> Advertisement:
    """The advert of `parse` once type and checksum hold, with the checksum's reading noted.

    Raises PacketError.
    """
    if message[0] & 0xF != _TYPE:
        raise PacketError(Reason.TYPE)
    covered = message[: _length(advert.version, len(advert.addresses), source)]
    if advert.version == 3:
        pseudo = _pseudo_header(source, destination, len(covered), PROTOCOL)
        if checksum(pseudo + covered) == 0:
            return advert
    if source.version == 4 and checksum(covered) == 0:
        return replace(advert, pseudo_header=advert.version == 2)
    raise PacketError(Reason.CHECKSUM)


def vrid(message: bytes) -> int | None:
    """The VRID a message claims, to find its router before anything is checked."""
    return message[1] if len(message) > 1 else None


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071); 0 over octets that contain their own right checksum."""
    if len(octets) % 2:
        octets += b"\0"
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def virtual_mac(vrid: int, family: Family) -> bytes:
    """The MAC of a virtual router (RFC 5798 §7.3)."""
    return _VIRTUAL_MAC + bytes((1 if family is Family.INET else 2, vrid))


def is_virtual_mac(mac: bytes) -> bool:
    """Whether a MAC is a virtual router's: then several hosts have it."""
    return len(mac) == 6 and mac[:4] == _VIRTUAL_MAC and mac[4] in (1, 2)


def gratuitous_arp(mac: bytes, address: IPAddress) -> bytes:
    """A whole Ethernet frame: broadcast ARP request with sender = target = `address`."""
    broadcast = b"\xff" * 6
    ethernet = struct.pack("!6s6sH", broadcast, mac, _ETH_ARP)
    fixed = struct.pack("!HHBBH", _ARP_ETHERNET, _ETH_IPV4, 6, 4, _ARP_REQUEST)
    return ethernet + fixed + mac + address.packed + broadcast + address.packed


def unsolicited_na(mac: bytes, address: IPAddress, router: bool = False) -> bytes:
    """A whole Ethernet frame: neighbour advertisement to ff02::1 with the override flag.

    `router` sets the R flag, for a host that forwards. RFC 4861 §4.4, §7.2.6.
    """
    flags = _NA_OVERRIDE | (_NA_ROUTER if router else 0)
    option = struct.pack("!BB6s", _NA_LINK_ADDRESS, 1, mac)
    body = struct.pack("!I16s", flags, address.packed) + option
    unsigned = struct.pack("!BBH", _NA_TYPE, 0, 0) + body
    pseudo = _pseudo_header(address, _ALL_NODES, len(unsigned), _ICMPV6)
    message = struct.pack("!BBH", _NA_TYPE, 0, checksum(pseudo + unsigned)) + body
    ip = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255)
    ethernet = struct.pack("!6s6sH", b"\x33\x33\0\0\0\x01", mac, _ETH_IPV6)
    return ethernet + ip + address.packed + _ALL_NODES.packed + message


def announced_address(frame: bytes) -> tuple[bytes, IPAddress] | None:
    """The (MAC, address) that an ARP or neighbour advertisement frame claims.

    None for anything else: ARP probes (sender 0.0.0.0), other protocols, damaged frames.
    """
    if len(frame) < _ETHERNET:
        return None
    (ethertype,) = struct.unpack_from("!H", frame, 12)
    if ethertype == _ETH_ARP:
        return _arp_claim(frame[_ETHERNET:])
    if ethertype == _ETH_IPV6:
        return _na_claim(frame[6:12], frame[_ETHERNET:])
    return None


def _arp_claim(arp: bytes) -> tuple[bytes, IPAddress] | None:
    """The sender's claim of an ARP request or reply (RFC 826)."""
    if len(arp) < 28 or arp[:6] != struct.pack("!HHBB", _ARP_ETHERNET, _ETH_IPV4, 6, 4):
        return None
    address = IPv4Address(arp[14:18])
    return None if address.is_unspecified else (arp[8:14], address)


def _na_claim(ethernet_source: bytes, packet: bytes) -> tuple[bytes, IPAddress] | None:
    """The target's claim of a valid neighbour advertisement (RFC 4861 §7.1.2)."""
    if len(packet) < 64 or packet[0] >> 4 != 6:
        return None
    length, following, hop_limit = struct.unpack_from("!HBB", packet, 4)
    message = packet[40 : 40 + length]
    if (following, hop_limit) != (_ICMPV6, 255) or len(message) != length or length < 24:
        return None
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    pseudo = _pseudo_header(source, destination, length, _ICMPV6)
    if message[0] != _NA_TYPE or checksum(pseudo + message) != 0:
        return None
    option = message[24:32]
    mac = option[2:] if option[:2] == bytes((_NA_LINK_ADDRESS, 1)) else ethernet_source
    return (mac, IPv6Address(message[8:24])) if len(mac) == 6 else None


def _length(version: int, count: int, source: IPAddress) -> int:
    """Octets of a message with `count` addresses."""
    trailer = _AUTH_LENGTH if version == 2 else 0
    return _HEADER + count * len(source.packed) + trailer


def _addresses(message: bytes, count: int, source: IPAddress) -> tuple[IPAddress, ...]:
    size = len(source.packed)
    family = type(source)
    ends = range(_HEADER, _HEADER + count * size, size)
    return tuple(family(message[start : start + size]) for start in ends)


def _pseudo_header(source: IPAddress, destination: IPAddress, length: int, protocol: int) -> bytes:
    """What precedes the message in the checksum: RFC 793 §3.1 and RFC 8200 §8.1."""
    layout = "!BBH" if source.version == 4 else "!I3xB"
    tail = (0, protocol, length) if source.version == 4 else (length, protocol)
    return source.packed + destination.packed + struct.pack(layout, *tail)
