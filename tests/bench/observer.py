"""One process that sees everything a failover is about, in one clock (time.monotonic).

It sends the VIP a datagram every `interval` seconds from the client's network and answers for
whichever director gets it; it hears adverts and announcements (ARP) of the VIP at the switch, with
the kernel's timestamps, and is told by each director's kernel of addresses and carrier. Everything
is a JSON line in its log; `Observer` reads it along.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.bench.daemons import REAL_TIME, VIP, VRID, real_time
from tests.lab.topology import Process, Topology, wait_until

PORT = 7
PATIENCE = 0.5
SO_TIMESTAMPNS = 35
ETH_P_IP, ETH_P_ARP, IPPROTO_VRRP = 0x0800, 0x0806, 112
RTMGRP_LINK, RTMGRP_IPV4_IFADDR = 0x1, 0x10
RTM_NEWLINK, RTM_NEWADDR, RTM_DELADDR = 16, 20, 21
IFA_LOCAL, IFLA_IFNAME, IFF_LOWER_UP = 2, 3, 0x10000


@dataclass(frozen=True, slots=True)
class Advert:
    """A VRRP advertisement on the wire."""

    at: float
    source: str
    priority: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """An ARP frame with the VIP as sender; `source` is the adverts' of the same station."""

    at: float
    source: str


@dataclass(frozen=True, slots=True)
class Request:
    """A datagram to the VIP: when, and who answered within half a second, if anybody."""

    at: float
    node: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A director's kernel gained or lost the VIP ("vip") or the carrier of eth0 ("carrier")."""

    at: float
    node: str
    kind: str
    there: bool


@dataclass(slots=True)
class Observer:
    """Start it with a topology; `look` reads what it has seen since."""

    lab: Topology
    interval: float = 0.0
    adverts: list[Advert] = field(default_factory=list)
    announcements: list[Announcement] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    _process: Process | None = None
    _offset: int = 0

    def start(self) -> Observer:
        self._process = self.lab.fork("sw", self._main, [])
        self._process.wait_for('"ready"')
        return self

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self.look()

    def look(self) -> None:
        """Take in the lines written since the last look."""
        assert self._process is not None
        with self._process.log.open("rb") as log:
            log.seek(self._offset)
            data = log.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for line in data[:whole].splitlines():
            if not line.startswith(b"["):
                raise RuntimeError(f"the observer failed: {self._process.text()[-2000:]}")
            kind, *rest = json.loads(line)
            if kind == "advert":
                self.adverts.append(Advert(*rest))
            elif kind == "announcement":
                self.announcements.append(Announcement(*rest))
            elif kind == "request":
                self.requests.append(Request(*rest))
            elif kind == "change":
                self.changes.append(Change(*rest))

    def advert(self, source: str, since: float, timeout: float) -> Advert:
        """Wait for the first advert of `source` after `since`; priority 0 does not count."""
        found: list[Advert] = []

        def heard() -> bool:
            self.look()
            fresh = itertools.takewhile(lambda a: a.at > since, reversed(self.adverts))
            found[:] = [a for a in fresh if a.source == source and a.priority]
            return bool(found)

        wait_until(heard, timeout, f"an advert of {source}", interval=0.005)
        return found[-1]

    def announced(self, source: str, since: float) -> float | None:
        """When `source` announced the VIP first after `since`; None when it did not."""
        times = (a.at for a in self.announcements if a.source == source and a.at > since)
        return min(times, default=None)

    def holds(self, node: str) -> bool:
        """Whether the director has the VIP, as far as its kernel has told."""
        self.look()
        told = [c.there for c in self.changes if c.node == node and c.kind == "vip"]
        return bool(told) and told[-1]

    def outage(self, since: float, until: float) -> float:
        """Seconds of the longest run of lost requests: its first to the next answered one.

        Infinite when the last request was lost as well: nobody knows when it would have ended.
        """
        self.look()
        worst, lost = 0.0, 0.0
        for request in sorted(self.requests, key=lambda r: r.at):
            if not since <= request.at <= until:
                continue
            if request.node is None:
                lost = lost or request.at
            elif lost:
                worst, lost = max(worst, request.at - lost), 0.0
        return float("inf") if lost else worst

    def both(self, nodes: tuple[str, str], since: float, until: float) -> tuple[float, float]:
        """Seconds in which both directors had the VIP, and until when; inf if they still have."""
        self.look()
        held, from_, total, ended = dict.fromkeys(nodes, False), 0.0, 0.0, since
        for change in sorted(self.changes, key=lambda c: c.at):
            if change.kind != "vip" or change.at > until:
                continue
            was = all(held.values())
            held[change.node] = change.there
            if all(held.values()) and not was:
                from_ = change.at
            elif was and not all(held.values()) and change.at > since:
                total += change.at - max(from_, since)
                ended = change.at
        return (float("inf"), float("inf")) if all(held.values()) else (total, ended)

    def _main(self, argv: list[str]) -> None:
        Eyes(self.lab, self.interval).run()


class Eyes:
    """The observer's process."""

    def __init__(self, lab: Topology, interval: float) -> None:
        self.lab, self.interval = lab, interval
        self.selector = selectors.DefaultSelector()
        self.waiting: dict[int, float] = {}
        self.shift = time.monotonic() - time.time()
        self.known: dict[tuple[str, str], bool] = {}
        #: The address from which the station of a MAC address sends its adverts.
        self.stations: dict[bytes, str] = {}
        self.watch(wire(ETH_P_IP), self.hear)
        self.watch(wire(ETH_P_ARP), self.hear_arp)
        for node in ("dirA", "dirB"):
            self.watch(lab.inside(node, kernel), partial(self.told, node))
            if interval:
                self.watch(lab.inside(node, echo), partial(self.answer, node))
        self.client = lab.inside("client", socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self.watch(self.client, self.answered)

    def watch(self, sock: socket.socket, call: Callable[[socket.socket], None]) -> None:
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, call)

    def run(self) -> None:
        """Until killed."""
        real_time(0, REAL_TIME + 1)
        say("ready")
        next_at, serial = time.monotonic(), 0
        while True:
            timeout = max(0.0, next_at - time.monotonic()) if self.interval else None
            for key, _ in self.selector.select(timeout):
                with contextlib.suppress(OSError):  # unreachable: the request stays unanswered
                    key.data(key.fileobj)
            now = time.monotonic()
            if self.interval and now >= next_at:
                next_at, serial = max(next_at + self.interval, now), serial + 1
                self.waiting[serial] = now
                with contextlib.suppress(OSError):
                    self.client.sendto(b"%d" % serial, (VIP, PORT))
                self.give_up(now)

    def give_up(self, now: float) -> None:
        """Requests without an answer in time; one that waits to be read has come in time."""
        with contextlib.suppress(OSError):
            while True:
                self.answered(self.client)
        for number, at in list(self.waiting.items()):
            if now - at < PATIENCE:
                break
            del self.waiting[number]
            say("request", at, None)

    def answer(self, node: str, sock: socket.socket) -> None:
        """A director got a request."""
        data, client = sock.recvfrom(64)
        sock.sendto(data + b" " + node.encode(), client)

    def answered(self, sock: socket.socket) -> None:
        serial, _, node = sock.recv(64).partition(b" ")
        if (at := self.waiting.pop(int(serial), None)) is not None:
            say("request", at, node.decode())

    def hear(self, sock: socket.socket) -> None:
        """Something on the wire."""
        data, extra, _, _ = sock.recvmsg(512, 64)
        ip = data[14:]
        head = (ip[0] & 15) * 4
        if ip[9] != IPPROTO_VRRP or ip[head + 1] != VRID:
            return
        source = socket.inet_ntoa(ip[12:16])
        self.stations[data[6:12]] = source
        say("advert", self.stamped(extra), source, ip[head + 2])

    def hear_arp(self, sock: socket.socket) -> None:
        """Somebody says that the VIP is his."""
        data, extra, _, _ = sock.recvmsg(512, 64)
        if data[28:32] == socket.inet_aton(VIP) and (source := self.stations.get(data[6:12])):
            say("announcement", self.stamped(extra), source)

    def stamped(self, extra: list[tuple[int, int, bytes]]) -> float:
        """When the kernel got a frame."""
        for level, kind, value in extra:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("qq", value[:16])
                return float(seconds + nanoseconds / 1e9 + self.shift)
        return time.monotonic()

    def told(self, node: str, sock: socket.socket) -> None:
        """The kernel of a director speaks of its links and addresses."""
        data, now = sock.recv(65536), time.monotonic()
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            body, data = data[16:length], data[(length + 3) & ~3 :]
            if kind in (RTM_NEWADDR, RTM_DELADDR):
                if dict(attributes(body[8:])).get(IFA_LOCAL) == socket.inet_aton(VIP):
                    self.change(now, node, "vip", kind == RTM_NEWADDR)
            elif kind == RTM_NEWLINK and dict(attributes(body[16:]))[IFLA_IFNAME] == b"eth0\0":
                (flags,) = struct.unpack_from("=I", body, 8)
                self.change(now, node, "carrier", bool(flags & IFF_LOWER_UP))

    def change(self, at: float, node: str, kind: str, there: bool) -> None:
        if self.known.get((node, kind)) is not there:
            self.known[node, kind] = there
            say("change", at, node, kind, there)


def wire(protocol: int) -> socket.socket:
    """A socket that hears one kind of frames at the switch, each with its time."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind(("lan", protocol))
    return sock


def kernel() -> socket.socket:
    """A socket that hears of links and IPv4 addresses."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR))
    return sock


def echo() -> socket.socket:
    """A socket for any address of the machine."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", PORT))
    return sock


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each netlink attribute."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:length]
        data = data[max(4, (length + 3) & ~3) :]


def say(*words: Any) -> None:
    """One JSON line on stdout, at once."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()
