"""Gratuitous ARP and unsolicited neighbour advertisements: sent by us, heard from others.

The listener hears only frames that claim one of the watched addresses (a BPF filter); it never
sees our own. Neither ever blocks.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address

from lvsd.core.model import IPAddress
from lvsd.linux import bpf

#: Frames read per wake-up.
BATCH = 32
_FRAME = 2048


class Announcer:
    """Sends whole Ethernet frames out of interfaces."""

    def __init__(self) -> None:
        self.sent = 0
        self.errors = 0
        self.last_error = ""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)

    def send(self, interface: str, frame: bytes) -> None:
        """Send one frame, or count why it could not be sent."""
        try:
            self._socket.sendto(frame, (interface, 0))
            self.sent += 1
        except OSError as error:
            self.errors += 1
            self.last_error = f"{interface}: {error.strerror}"

    def close(self) -> None:
        """Give the socket back."""
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
