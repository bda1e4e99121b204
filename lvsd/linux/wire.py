"""VRRP on the wire: one raw socket (protocol 112) per interface and family.

The kernel filters by VRID and joins the group by interface index; everything else about a packet
is judged by `lvsd.core.packet`, which gets what it needs: payload, source, destination and TTL.
Sending and receiving never block. A wake-up reads a bounded number of datagrams, so a flood
delays nothing else; what the kernel had to drop meanwhile is lost as on any full link.

RFC 5798 §5.1 (TTL 255, addresses), §7.2; keepalived sets the same socket options.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lvsd.core.model import Family, IPAddress
from lvsd.linux import bpf

PROTOCOL = 112
GROUP = {
    Family.INET: ipaddress.ip_address("224.0.0.18"),
    Family.INET6: ipaddress.ip_address("ff02::12"),
}
#: RFC 5798 §5.1.1.3 and §5.1.2.3.
HOPS = 255
#: Internetwork control (RFC 4594), keepalived's choice too.
TRAFFIC_CLASS = 0xC0
#: Datagrams read per wake-up.
BATCH = 32

_TC_PRIO_CONTROL = 7
_RECEIVE_BUFFER = 256 << 10
_LARGEST = 65535
# linux/in.h and linux/in6.h; not all of them are in the socket module.
_IP_PKTINFO = 8
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_IPV6_FREEBIND = 78
_IN_PKTINFO = struct.Struct("@i4s4s")
_IN6_PKTINFO = struct.Struct("@16si")


class Received(NamedTuple):
    """One datagram with what the receive checks need. `ttl` is the hop limit in IPv6."""

    payload: bytes
    source: IPAddress
    destination: IPAddress
    ttl: int


@dataclass(slots=True)
class WireCounters:
    """What happened on one socket since it was opened."""

    sent: int = 0
    send_errors: int = 0
    received: int = 0
    receive_errors: int = 0


class VrrpSocket:
    """The raw socket of one interface and family. Raises OSError when it cannot be opened.

    `vrids` are the virtual routers heard. `multicast` False leaves the group alone (unicast).
    `sender` limits it to frames from this MAC: a macvlan gets what its base gets, too.
    """

    def __init__(
        self,
        interface: str,
        index: int,
        family: Family,
        vrids: Collection[int],
        *,
        multicast: bool = True,
        sender: bytes = b"",
    ) -> None:
        self.interface = interface
        self.index = index
        self.family = family
        self.vrids = frozenset(vrids)
        self.multicast = multicast
        self.sender = sender
        self.counters = WireCounters()
        self.last_error = ""
        self._socket = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
        try:
            ipv4 = family is Family.INET
            bpf.attach(self._socket, bpf.vrrp_filter(vrids, ipv4=ipv4, sender=sender))
            self._prepare()
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave the group and give the socket back."""
        self._socket.close()

    def send(
        self,
        payload: bytes,
        source: IPAddress | None,
        destination: IPAddress,
        hops: int = HOPS,
    ) -> bool:
        """Send one advert; False when the kernel did not take it (counted, `last_error` says why).

        `source` None lets the kernel choose. `hops` is the TTL or hop limit.
        """
        ancillary = self._ancillary(source)
        if hops != HOPS:
            ancillary.append(self._hop_limit(hops))
        try:
            self._socket.sendmsg([payload], ancillary, 0, self._destination(destination))
        except OSError as error:
            self.counters.send_errors += 1
            self.last_error = f"{destination}: {error.strerror}"
            return False
        self.counters.sent += 1
        return True

    def receive(self, limit: int = BATCH) -> Iterator[Received]:
        """Up to `limit` queued datagrams; ends early when the queue is empty."""
        for _ in range(limit):
            try:
                message, ancillary, _, peer = self._socket.recvmsg(_LARGEST, 256)
            except BlockingIOError:
                return
            except OSError as error:
                # ENETDOWN when the interface goes down: reported once per change by the kernel.
                self.counters.receive_errors += 1
                self.last_error = error.strerror or str(error)
                if error.errno in (errno.ENODEV, errno.EBADF):
                    return
                continue
            received = (
                _from_ipv4(message)
                if self.family is Family.INET
                else _from_ipv6(message, ancillary, peer)
            )
            if received is not None:
                self.counters.received += 1
                yield received

    def _prepare(self) -> None:
        sock = self._socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode() + b"\0")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if self.family is Family.INET:
            self._prepare_ipv4()
        else:
            self._prepare_ipv6()
        # After the traffic class, which sets a priority of its own.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _TC_PRIO_CONTROL)
        # What arrived between socket() and the binding came from any interface.
        for _ in self.receive(_LARGEST):
            pass
        self.counters = WireCounters()

    def _prepare_ipv4(self) -> None:
        sock, ip = self._socket, socket.IPPROTO_IP
        sock.setsockopt(ip, socket.IP_TTL, HOPS)
        sock.setsockopt(ip, socket.IP_TOS, TRAFFIC_CLASS)
        sock.setsockopt(ip, socket.IP_MULTICAST_TTL, HOPS)
        sock.setsockopt(ip, socket.IP_MULTICAST_LOOP, 0)
        sock.setsockopt(ip, _IP_MULTICAST_ALL, 0)
        group = struct.pack("@4s4si", GROUP[Family.INET].packed, bytes(4), self.index)
        sock.setsockopt(ip, socket.IP_MULTICAST_IF, group)
        if self.multicast:
            sock.setsockopt(ip, socket.IP_ADD_MEMBERSHIP, group)

    def _prepare_ipv6(self) -> None:
        sock, ip = self._socket, socket.IPPROTO_IPV6
        sock.setsockopt(ip, socket.IPV6_UNICAST_HOPS, HOPS)
        sock.setsockopt(ip, socket.IPV6_TCLASS, TRAFFIC_CLASS)
        sock.setsockopt(ip, socket.IPV6_MULTICAST_HOPS, HOPS)
        sock.setsockopt(ip, socket.IPV6_MULTICAST_LOOP, 0)
        sock.setsockopt(ip, _IPV6_MULTICAST_ALL, 0)
        sock.setsockopt(ip, socket.IPV6_MULTICAST_IF, self.index)
        if self.sender:
            # A macvlan sends from the link-local address of its base, which it has not itself.
            sock.setsockopt(ip, _IPV6_FREEBIND, 1)
        sock.setsockopt(ip, socket.IPV6_RECVPKTINFO, 1)
        sock.setsockopt(ip, socket.IPV6_RECVHOPLIMIT, 1)
        if self.multicast:
            group = GROUP[Family.INET6].packed + struct.pack("@i", self.index)
            sock.setsockopt(ip, socket.IPV6_JOIN_GROUP, group)

    def _ancillary(self, source: IPAddress | None) -> list[tuple[int, int, bytes]]:
        if source is None:
            return []
        if self.family is Family.INET:
            info = _IN_PKTINFO.pack(self.index, source.packed, bytes(4))
            return [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
        info = _IN6_PKTINFO.pack(source.packed, self.index)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]

    def _hop_limit(self, hops: int) -> tuple[int, int, bytes]:
        if self.family is Family.INET:
            return (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("@i", hops))
        return (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("@i", hops))

    def _destination(self, address: IPAddress) -> tuple[str, int] | tuple[str, int, int, int]:
        if self.family is Family.INET:
            return (str(address), 0)
        scope = self.index if address.is_link_local or address.is_multicast else 0
        return (str(address), 0, 0, scope)


def _from_ipv4(message: bytes) -> Received | None:
    # Raw IPv4 sockets hand up the whole packet, header first, already cut to its total length.
    if len(message) < 20:
        return None
    header = 4 * (message[0] & 0x0F)
    return Received(
        payload=message[header:],
        source=ipaddress.IPv4Address(message[12:16]),
        destination=ipaddress.IPv4Address(message[16:20]),
        ttl=message[8],
    )


def _from_ipv6(
    message: bytes, ancillary: list[tuple[int, int, bytes]], peer: tuple[str, ...]
) -> Received | None:
    destination, hops = None, -1
    for level, kind, content in ancillary:
        if level != socket.IPPROTO_IPV6:
            continue
        if kind == socket.IPV6_PKTINFO and len(content) >= _IN6_PKTINFO.size:
            destination = ipaddress.IPv6Address(content[:16])
        elif kind == socket.IPV6_HOPLIMIT and len(content) >= 4:
            (hops,) = struct.unpack_from("@i", content)
    if destination is None:
        return None
    # The scope is ours by construction; peers are compared without it.
    source = ipaddress.IPv6Address(peer[0].partition("%")[0])
    return Received(message, source, destination, hops)
