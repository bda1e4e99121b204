"""`checktype=ping`: an ICMP echo request (RFC 792, RFC 4443 §4) and its reply.

One raw socket per address family serves all pings of an engine, behind a filter that lets only
echo replies through; without CAP_NET_RAW a datagram ICMP socket takes its place (where
net.ipv4.ping_group_range allows it). A reply counts when sequence number, sender and a secret
token in the payload fit, so nobody off the path can answer for a dead server.

`attempts` requests are spread evenly over the timeout; the first reply settles the check.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from functools import partial

from lvsd.checks.probe import LocalFault, Probe, Run, seconds
from lvsd.checks.reactor import READ, Reactor
from lvsd.core.model import Check, Family, IPAddress

_HEADER = struct.Struct("!BBHHH")
_REQUEST = {Family.INET: 8, Family.INET6: 128}
_REPLY = {Family.INET: 0, Family.INET6: 129}

# linux/icmp.h and linux/icmpv6.h: a set bit blocks the type.
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1

#: Replies taken from the socket per wake-up.
_DRAIN = 32


class Ping:
    """The question. Passes on the first echo reply."""

    def __init__(self, check: Check) -> None:
        self.check = check

    def probe(self, run: Run) -> Probe:
        """One round of echo requests."""
        return _Echo(run)


class _Echo:
    """One ping under way; `answered` is set by the Pinger."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._family = Family.of(run.check.address)
        self._pinger: Pinger | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sequences: list[int] = []
        self.answered = False

    def start(self) -> str | None:
        """Send the first request."""
        make = partial(Pinger, self._run.reactor, self._family)
        self._pinger = self._run.reactor.shared(("ping", self._family), make)
        self._send()
        return None

    def ready(self) -> str | None:
        """A reply came, or it is time for the next request."""
        if self.answered:
            return "echo reply"
        self._send()
        return None

    def expired(self) -> str:
        """No reply to any request."""
        return f"no echo reply within {seconds(self._run.check.timeout)}"

    def close(self) -> None:
        """Expect nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._pinger is not None:
            for sequence in self._sequences:
                self._pinger.forget(sequence)

    def _answer(self) -> None:
        self.answered = True
        self._run.step()

    def _send(self) -> None:
        assert self._pinger is not None
        check = self._run.check
        self._sequences.append(self._pinger.expect(check.address, self._answer))
        self._pinger.send(check.address, self._sequences[-1])
        if len(self._sequences) < check.attempts:
            pause = check.timeout / check.attempts
            self._timer = self._run.loop.call_later(pause, self._run.step)


class Pinger:
    """The shared socket of one family. Raises LocalFault when no ICMP socket may be had."""

    def __init__(self, reactor: Reactor, family: Family) -> None:
        self._reactor = reactor
        self._family = family
        self._token = os.urandom(16)
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sequence = 0
        self._expected: dict[int, tuple[str, Callable[[], None]]] = {}
        self._socket = _icmp_socket(family)
        self._raw = self._socket.type == socket.SOCK_RAW
        reactor.register(self._socket.fileno(), READ, self._receive)

    def expect(self, address: IPAddress, answered: Callable[[], None]) -> int:
        """A free sequence number, whose reply from `address` will call `answered`."""
        if len(self._expected) > 0xF000:
            raise LocalFault("too many pings under way")
        while self._sequence in self._expected:
            self._sequence = (self._sequence + 1) & 0xFFFF
        sequence = self._sequence
        self._sequence = (sequence + 1) & 0xFFFF
        self._expected[sequence] = (str(address).partition("%")[0], answered)
        return sequence

    def forget(self, sequence: int) -> None:
        """The reply is of no interest any more."""
        self._expected.pop(sequence, None)

    def send(self, address: IPAddress, sequence: int) -> None:
        """Send one request; OSError as the kernel reports it (no route, no buffer)."""
        kind = _REQUEST[self._family]
        body = self._token + struct.pack("!H", sequence)
        packet = _HEADER.pack(kind, 0, 0, self._identifier, sequence) + body
        if self._family is Family.INET:  # for IPv6 the kernel fills the checksum in
            total = checksum(packet)
            packet = _HEADER.pack(kind, 0, total, self._identifier, sequence) + body
        self._socket.sendto(packet, (str(address), 0))

    def close(self) -> None:
        """Close the socket."""
        self._reactor.unregister(self._socket.fileno())
        self._socket.close()

    def _receive(self, _mask: int) -> None:
        for _ in range(_DRAIN):
            if self._socket.fileno() < 0:  # closed by what an answer led to
                return
            try:
                packet, sender = self._socket.recvfrom(512)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for some request: that ping ends at its deadline
                continue
            self._take(packet, str(sender[0]).partition("%")[0])

    def _take(self, packet: bytes, sender: str) -> None:
        if self._raw and self._family is Family.INET and packet:
            packet = packet[(packet[0] & 0x0F) * 4 :]  # raw IPv4 sockets hand up the IP header
        if len(packet) < _HEADER.size + len(self._token):
            return
        kind, _code, _sum, identifier, sequence = _HEADER.unpack_from(packet)
        if kind != _REPLY[self._family] or not packet.startswith(self._token, _HEADER.size):
            return
        address, answered = self._expected.get(sequence, ("", None))
        # Datagram sockets carry the kernel's own identifier, already matched.
        if answered is None or address != sender or (self._raw and identifier != self._identifier):
            return
        self.forget(sequence)
        answered()


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even or odd number of bytes."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF ^ ((total + (total >> 16)) & 0xFFFF)


def _icmp_socket(family: Family) -> socket.socket:
    protocol = socket.IPPROTO_ICMP if family is Family.INET else socket.IPPROTO_ICMPV6
    try:
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
    except PermissionError:
        try:
            return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
        except PermissionError as error:
            raise LocalFault("ping needs CAP_NET_RAW") from error
    if family is Family.INET:
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << 0)))
    else:
        words = [0xFFFFFFFF] * 8
        words[129 // 32] &= ~(1 << 129 % 32)
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
    return sock
