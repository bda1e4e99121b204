"""Gratuitous ARP and unsolicited neighbour advertisements: sent by us, heard from others.

The sender paces: frames leave in small bursts, so that a few hundred addresses do not overflow a
switch's control plane. The listener hears only frames that claim one of the watched addresses
(a BPF filter); it never sees our own. Neither ever blocks.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from lvsd.core.model import IPAddress
from lvsd.linux import bpf

#: Frames per burst, and seconds from one burst to the next: 32,000 frames a second at most.
BURST = 32
BURST_INTERVAL = 0.001
#: Frames read per wake-up.
BATCH = 32
_FRAME = 2048


class Announcer:
    """Sends whole Ethernet frames out of interfaces, oldest first, in bursts."""

    def __init__(self) -> None:
        self.sent = 0
        self.errors = 0
        self.last_error = ""
        self._queue: deque[tuple[Hashable, str, bytes]] = deque()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)

    def enqueue(self, owner: Hashable, interface: str, frames: Iterable[bytes]) -> None:
        """Line frames up; `send_burst` sends them."""
        self._queue.extend((owner, interface, frame) for frame in frames)

    def forget(self, owner: Hashable) -> None:
        """Drop what is still lined up for an owner who has lost the addresses meanwhile."""
        if self._queue:
            self._queue = deque(entry for entry in self._queue if entry[0] != owner)

    def send_burst(self) -> bool:
        """Send up to BURST frames; True when more wait for the next burst."""
        for _ in range(min(BURST, len(self._queue))):
            _, interface, frame = self._queue.popleft()
            try:
                self._socket.sendto(frame, (interface, 0))
                self.sent += 1
            except OSError as error:
                self.errors += 1
                self.last_error = f"{interface}: {error.strerror}"
        return bool(self._queue)

    def close(self) -> None:
        """Give the socket back; what is still lined up is lost."""
        self._queue.clear()
        self._socket.close()


class NeighbourListener:
    """Frames of one interface in which somebody else claims a watched address.

    Raises OSError when the interface is missing. One socket per protocol, so that ordinary
    traffic of the director never passes through the filters.
    """

    def __init__(self, interface: str, index: int, addresses: Collection[IPAddress]) -> None:
        self.interface = interface
        self.index = index
        self.addresses = frozenset(addresses)
        self.sockets: list[socket.socket] = []
        ipv4 = [a for a in addresses if isinstance(a, IPv4Address)]
        ipv6 = [a for a in addresses if isinstance(a, IPv6Address)]
        try:
            if ipv4:
                self._open(bpf.ETH_P_ARP, bpf.arp_filter(ipv4))
            if ipv6:
                self._open(bpf.ETH_P_IPV6, bpf.na_filter(ipv6))
        except OSError:
            self.close()
            raise

    def receive(self, limit: int = BATCH) -> Iterator[bytes]:
        """Up to `limit` queued frames of each protocol."""
        for sock in self.sockets:
            for _ in range(limit):
                try:
                    yield sock.recv(_FRAME)
                except BlockingIOError:
                    break
                except OSError:  # ENETDOWN, once per change; the monitor tells us more
                    continue

    def close(self) -> None:
        """Give the sockets back."""
        for sock in self.sockets:
            sock.close()
        self.sockets = []

    def _open(self, protocol: int, program: list[bpf.Instruction]) -> None:
        # Protocol 0 receives nothing, so no frame slips in before the filter is attached.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.sockets.append(sock)
        bpf.attach(sock, program)
        sock.bind((self.interface, protocol))
