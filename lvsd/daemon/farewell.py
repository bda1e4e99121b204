"""What the guard does once main is dead: it speaks for each router, listens, and lets go.

Standard library only, as for the guard: neither asyncio nor the core is imported here.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time

from lvsd.core.record import dataclass
from lvsd.linux.bpf import attach_code

#: Seconds between a peer's advert and the end, unless its announcement comes first (rule 1).
RELIEF_DELAY = 0.1
#: The farewell is sent this often: one lost packet must not cost three seconds.
FAREWELLS = 2

_PROTOCOL = 112
_FRAME = 2048

Remain = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Packet:
    """A prebuilt advert. `source` and `destination` are packed; `source` b"" lets the kernel.

    `hops` is the TTL or hop limit.
    """

    destination: bytes
    source: bytes
    payload: bytes
    hops: int = 255


@dataclass(frozen=True, slots=True)
class Ward:
    """What the guard must know about one router that holds its VIPs.

    `interface` and `index` are where adverts are sent and heard, `neighbours` the interface where
    announcements are. `mac` is ours alone, b"" where the others have the same (a virtual MAC).
    `deletions` are complete rtnetlink requests. `vips` are packed addresses whose announcement by
    somebody else relieves us. `filters` are assembled BPF programs by ethertype, `advert_filter`
    the one of the raw socket. `limit` bounds the wait in seconds.
    """

    interface: str
    index: int
    neighbours: str
    family: int
    mac: bytes
    farewells: tuple[Packet, ...]
    deletions: tuple[bytes, ...]
    vips: tuple[bytes, ...]
    filters: tuple[tuple[int, bytes], ...]
    advert_filter: bytes
    group: bytes
    limit: float


class _Watch:
    """The sockets of one ward after main's death, and when its VIPs go."""

    def __init__(self, ward: Ward) -> None:
        self.ward = ward
        self.deadline = time.monotonic() + ward.limit
        self.frames: list[socket.socket] = []
        self.adverts: socket.socket | None = None
        with contextlib.suppress(OSError):  # without ears the limit holds
            self.adverts = _vrrp_socket(ward)
            for protocol, code in ward.filters:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
                self.frames.append(sock)
                attach_code(sock, code)
                sock.bind((ward.neighbours, protocol))

    def say_farewell(self) -> None:
        """Priority 0, from the source the peers know."""
        if self.adverts is None:
            return
        for packet in self.ward.farewells:
            with contextlib.suppress(OSError):
                _send(self.adverts, self.ward, packet)

    def listen(self, now: float) -> None:
        """Move the deadline to what was heard: an announcement ends it, an advert nearly."""
        for sock in self.frames:
            while (frame := _read(sock)) is not None:
                if _claims(frame, self.ward):
                    self.deadline = min(self.deadline, now)
        while self.adverts is not None and (message := _read(self.adverts)) is not None:
            if _is_peer(message, self.ward):
                self.deadline = min(self.deadline, now + RELIEF_DELAY)


def hand_over(wards: tuple[Ward, ...]) -> None:
    """Take leave for each ward and give its VIPs up; returns when all of them are gone."""
    watches = [_Watch(ward) for ward in wards]
    for _ in range(FAREWELLS):
        for watch in watches:
            watch.say_farewell()
    netlink = _netlink(socket.NETLINK_ROUTE)
    while watches:
        now = time.monotonic()
        for watch in watches:
            watch.listen(now)
        for watch in [w for w in watches if w.deadline <= now]:
            for request in watch.ward.deletions:
                with contextlib.suppress(OSError):
                    netlink.send(request)
            watches.remove(watch)
        ears = [s for w in watches for s in (*w.frames, *([w.adverts] if w.adverts else []))]
        if watches:
            wait = min(w.deadline for w in watches) - time.monotonic()
            select.select(ears, [], [], max(0.0, wait))


def clear(remains: tuple[Remain, ...]) -> None:
    """What is left when nothing is served any more: macvlans, filters."""
    for family, request in remains:
        with contextlib.suppress(OSError), _netlink(family) as netlink:
            netlink.send(request)


def _netlink(family: int) -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)


def _vrrp_socket(ward: Ward) -> socket.socket:
    """As `lvsd.linux.wire` has it, which is not imported here to stay small."""
    sock = socket.socket(ward.family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _PROTOCOL)
    attach_code(sock, ward.advert_filter)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ward.interface.encode() + b"\0")
    if ward.family == socket.AF_INET:
        level, mreq = socket.IPPROTO_IP, ward.group + struct.pack("@4xi", ward.index)
        sock.setsockopt(level, socket.IP_TTL, 255)
        sock.setsockopt(level, socket.IP_TOS, 0xC0)
        sock.setsockopt(level, socket.IP_MULTICAST_TTL, 255)
        sock.setsockopt(level, socket.IP_MULTICAST_LOOP, 0)
        if ward.group:
            sock.setsockopt(level, socket.IP_MULTICAST_IF, mreq)
            sock.setsockopt(level, socket.IP_ADD_MEMBERSHIP, mreq)
    else:
        level, mreq = socket.IPPROTO_IPV6, ward.group + struct.pack("@i", ward.index)
        sock.setsockopt(level, socket.IPV6_UNICAST_HOPS, 255)
        sock.setsockopt(level, socket.IPV6_TCLASS, 0xC0)
        sock.setsockopt(level, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(level, socket.IPV6_MULTICAST_LOOP, 0)
        sock.setsockopt(level, socket.IPV6_MULTICAST_IF, ward.index)
        if not ward.mac:
            sock.setsockopt(level, 78, 1)  # IPV6_FREEBIND: a macvlan has no address of its own
        if ward.group:
            sock.setsockopt(level, socket.IPV6_JOIN_GROUP, mreq)
    return sock


def _send(sock: socket.socket, ward: Ward, packet: Packet) -> None:
    text = socket.inet_ntop(ward.family, packet.destination)
    if ward.family == socket.AF_INET:
        info = struct.pack("@i4s4x", ward.index, packet.source or bytes(4))
        hops = (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("@i", packet.hops))
        ancillary = [(socket.IPPROTO_IP, 8, info), hops]  # 8 is IP_PKTINFO
        sock.sendmsg([packet.payload], ancillary, 0, (text, 0))
    else:
        info = struct.pack("@16si", packet.source or bytes(16), ward.index)
        scope = ward.index if text.startswith(("ff", "fe8")) else 0
        hops = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("@i", packet.hops))
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info), hops]
        sock.sendmsg([packet.payload], ancillary, 0, (text, 0, 0, scope))


def _read(sock: socket.socket) -> bytes | None:
    try:
        return sock.recv(_FRAME)
    except OSError:
        return None


def _claims(frame: bytes, ward: Ward) -> bool:
    """Whether somebody else's ARP or NA frame claims one of our VIPs."""
    if frame[12:14] == b"\x08\x06":
        return frame[22:28] != ward.mac and frame[28:32] in ward.vips
    return frame[6:12] != ward.mac and frame[62:78] in ward.vips


def _is_peer(message: bytes, ward: Ward) -> bool:
    """Whether an advert (the filter has seen to the VRID) claims mastership.

    The group's loop is off, so it is never our own. Raw IPv4 hands up the IP header.
    """
    if ward.family == socket.AF_INET:
        message = message[4 * (message[0] & 0x0F) :]
    return len(message) >= 8 and message[0] & 0x0F == 1 and message[2] > 0
