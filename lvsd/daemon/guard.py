"""The guard: a tiny process made before everything else, which outlives main by a second.

It blocks on a socket pair. Main keeps it current with prebuilt bytes: for each router that holds
VIPs the priority-0 advert, the address deletions, and what tells that a peer has taken over. When
the pair closes without an orderly end, main is dead: the guard sends the adverts, lets the VIPs
serve until the peer is heard, deletes them, and exits (design rule 2, "first line"). If the guard
dies as well, the kernel's lease is the last line.

Standard library only, imported before asyncio; no allocation to speak of while it waits. It
ignores the signals that end main and has a process group of its own. Messages are marshal'ed
tuples, one datagram each, so a message is whole or absent.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import astuple, dataclass
from typing import Any, NoReturn

from lvsd.linux.bpf import attach_code
from lvsd.linux.precedence import be_real_time

#: Seconds between a peer's advert and the end, unless its announcement comes first (rule 1).
RELIEF_DELAY = 0.1
#: The farewell is sent this often: one lost packet must not cost three seconds.
FAREWELLS = 2

#: What a manager, a terminal or a watchdog (the unit's WatchdogSignal) sends to the whole group:
#: it is meant for main.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGVTALRM)

_RELEASE, _UPDATE, _HANDOVER = 0, 1, 2
_BUFFER = 4 << 20
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_PROTOCOL = 112
_FRAME = 2048
#: Where a guard that is a program of its own finds its end of the pair.
_DESCRIPTOR = 3
#: Above what main has open, below the usual limit of 1024.
_HIGH = 1000


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


class Guard:
    """Main's end. Every method is a no-op once the guard is gone; `alive` tells."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.pid = pid
        self.alive = True
        self._socket = sock
        self._briefing: bytes | None = None
        self._unsent: bytes | None = None

    def update(self, wards: tuple[Ward, ...], remains: tuple[Remain, ...] = ()) -> bool:
        """Replace everything the guard knows. False: could not be told now, `retry` later.

        `remains` are netlink families and complete requests, sent when every VIP is gone.
        """
        told = (_UPDATE, tuple(map(astuple, wards)), remains)
        self._briefing = self._unsent = marshal.dumps(told)
        return self.retry()

    def retry(self) -> bool:
        """Send the newest update that has not been sent yet."""
        if self._unsent is not None and self._send(self._unsent):
            self._unsent = None
        return self._unsent is None or not self.alive

    def handover(self, deadline: float) -> None:
        """Keep quiet about main's death until `deadline` (CLOCK_MONOTONIC seconds)."""
        self._send(marshal.dumps((_HANDOVER, deadline)))

    def release(self) -> None:
        """All is well: the guard exits without doing anything. Waits for it, at most 1 s."""
        self._socket.setblocking(True)
        self._socket.settimeout(1.0)
        self._send(marshal.dumps((_RELEASE,)))
        self._socket.close()
        self.alive = False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def fileno(self) -> int:
        """Readable when the guard has died."""
        return self._socket.fileno()

    def lost(self) -> None:
        """The guard died first; take its exit status and stop talking to it."""
        self.alive = False
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def revive(self) -> None:
        """Start another in place of one that was `lost`, and brief it. Raises OSError.

        A fresh program: main is no longer small, and a fork of it would copy a running loop.
        """
        ours, theirs = _pair()
        argv = [sys.executable, "-m", "lvsd.daemon.guard", str(_DESCRIPTOR)]
        with theirs:
            # A duplicate is inherited where the original is closed.
            actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), _DESCRIPTOR)]
            try:
                pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions)
            except OSError:
                ours.close()
                raise
        self.pid, self.alive, self._socket = pid, True, ours
        self._unsent = self._briefing
        self.retry()

    def _send(self, message: bytes) -> bool:
        if not self.alive:
            return False
        try:
            self._socket.send(message)
        except OSError:  # full or gone; the reader of `fileno` learns which
            return False
        return True


def fork() -> Guard:
    """Make the guard process; returns in the parent only. Raises OSError."""
    ours, theirs = _pair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid:
        theirs.close()
        return Guard(ours, pid)
    ours.close()
    _main(theirs)


def _pair() -> tuple[socket.socket, socket.socket]:
    """Main's end and the guard's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock, option in ((ours, _SO_SNDBUFFORCE), (theirs, _SO_RCVBUFFORCE)):
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    ours = _first_released(ours)
    ours.setblocking(False)
    return ours, theirs


def _first_released(sock: socket.socket) -> socket.socket:
    """The same socket under a number above all others.

    When a process dies the kernel releases its descriptors from the highest down, and each packet
    socket takes it 10 ms or more (synchronize_net). The guard must not wait for those.
    """
    with contextlib.suppress(OSError):  # the limit may be lower
        number = fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        sock.close()
        return socket.socket(fileno=number)
    return sock


def _main(sock: socket.socket) -> NoReturn:
    """The guard process. Leaves by `os._exit`, so nothing of the parent's is run or flushed."""
    status = 1
    try:
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        os.setpgid(0, 0)
        be_real_time()
        _set_name(b"lvsd-guard")
        wards, remains = _wait(sock)
        if wards:
            _hand_over(wards)
        _clear(remains)
        status = 0
    except OSError as error:
        os.write(2, f"lvsd-guard: {error}\n".encode())
    finally:
        os._exit(status)


def _wait(sock: socket.socket) -> tuple[tuple[Ward, ...], tuple[Remain, ...]]:
    """Block until main is dead; what it held then. Empty after an orderly end."""
    wards: tuple[Ward, ...] = ()
    remains: tuple[Remain, ...] = ()
    quiet_until = 0.0
    while True:
        # Memory of this size is mapped afresh and only what is written to it costs anything.
        datagram = sock.recv(_BUFFER)
        if not datagram:
            break
        message: tuple[Any, ...] = marshal.loads(datagram)
        if message[0] == _RELEASE:
            return (), ()
        if message[0] == _UPDATE:
            wards, remains = tuple(_ward(fields) for fields in message[1]), message[2]
        elif message[0] == _HANDOVER:
            quiet_until = message[1]
    # A main that is being replaced announced its absence; its heir holds the VIPs by then.
    while time.monotonic() < quiet_until:
        time.sleep(max(0.0, quiet_until - time.monotonic()))
    return wards, remains


def _ward(fields: tuple[Any, ...]) -> Ward:
    values: dict[str, Any] = dict(zip(Ward.__slots__, fields, strict=True))
    values["farewells"] = tuple(Packet(*packet) for packet in values["farewells"])
    return Ward(**values)


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


def _hand_over(wards: tuple[Ward, ...]) -> None:
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


def _clear(remains: tuple[Remain, ...]) -> None:
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


def _set_name(name: bytes) -> None:
    # The name `ps` and `top` show; /proc spares ctypes for prctl(PR_SET_NAME).
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as comm:
        comm.write(name)


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])))
