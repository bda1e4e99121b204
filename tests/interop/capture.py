"""What is on the wire of a namespace, decoded by scapy and by nothing of lvsd.

A frame's `time` is the kernel's stamp of its arrival, on the clock of `time.monotonic`.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRP, VRRPv3

CLONE_NEWNET = 0x40000000
#: socket(7): each datagram comes with a struct timespec of the system clock.
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")


def network(frame: Any) -> Any:
    """The IPv4 or IPv6 packet of a frame; None for anything else."""
    return frame.getlayer(IP) or frame.getlayer(IPv6)


def message(frame: Any) -> Any:
    """The VRRP message of a frame; None for anything else (an ICMP error quotes one)."""
    packet = network(frame)
    inner = None if packet is None else packet.payload
    return inner if isinstance(inner, VRRP | VRRPv3) else None


class Capture:
    """Every frame on eth0 of a namespace from now on, kept by the kernel until read."""

    def __init__(self, namespace: str) -> None:
        self._made: list[socket.socket] = []
        thread = threading.Thread(target=self._open, args=(namespace,))
        thread.start()
        thread.join()
        (self.socket,) = self._made
        self.frames: list[Any] = []

    def _open(self, namespace: str) -> None:
        with Path("/run/netns", namespace).open() as name:
            if ctypes.CDLL(None, use_errno=True).setns(name.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {namespace}")
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.bind(("eth0", 0))
        made.setblocking(False)
        self._made.append(made)

    def read(self) -> list[Any]:
        """All frames so far."""
        behind = time.time() - time.monotonic()
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(4096, 64)
            except BlockingIOError:
                return self.frames
            frame = Ether(data)
            for _, kind, stamp in ancillary:
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = TIMESPEC.unpack(stamp)
                    frame.time = seconds + nanoseconds * 1e-9 - behind
            self.frames.append(frame)

    def adverts(self, source: str, since: int = 0, vrid: int | None = None) -> list[Any]:
        """The VRRP frames from an address or MAC, after the first `since` frames."""
        return [
            frame
            for frame in self.read()[since:]
            if (told := message(frame)) is not None
            and source in (frame.src, network(frame).src)
            and vrid in (None, told.vrid)
        ]

    def announcements(self, mac: str, address: str) -> list[Any]:
        """The gratuitous ARP or unsolicited neighbour advertisements of a MAC for an address."""
        return [
            frame
            for frame in self.read()
            if frame.src == mac
            and (
                (ARP in frame and frame[ARP].psrc == frame[ARP].pdst == address)
                or (
                    ICMPv6ND_NA in frame
                    and frame[ICMPv6ND_NA].tgt == address
                    and not frame[ICMPv6ND_NA].S
                )
            )
        ]

    def wait_for(self, claim: Callable[[], Any], what: str, timeout: float = 15.0) -> None:
        """Wait until a claim about the frames holds."""
        deadline = time.monotonic() + timeout
        while not claim():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)

    def wait_adverts(self, source: str, count: int, timeout: float = 15.0) -> None:
        """Wait for so many more adverts from an address."""
        since = len(self.read())
        what = f"fewer than {count} adverts of {source}"
        self.wait_for(lambda: len(self.adverts(source, since)) >= count, what, timeout)

    def close(self) -> None:
        self.socket.close()
