"""What is on the wire of a namespace, decoded by scapy and by nothing of lvsd."""

from __future__ import annotations

import ctypes
import socket
import threading
import time
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.layers.vrrp import VRRP, VRRPv3

CLONE_NEWNET = 0x40000000


class Capture:
    """Every frame that reaches eth0 of a namespace from now on, kept by the kernel until read."""

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
        made.bind(("eth0", 0))
        made.setblocking(False)
        self._made.append(made)

    def read(self) -> list[Any]:
        """All frames so far."""
        while True:
            try:
                self.frames.append(Ether(self.socket.recv(4096)))
            except BlockingIOError:
                return self.frames

    def adverts(self, source: str, since: int = 0) -> list[Any]:
        """The VRRP frames over IPv4 from an address, after the first `since` frames."""
        return [
            frame
            for frame in self.read()[since:]
            if IP in frame and frame[IP].src == source and (VRRP in frame or VRRPv3 in frame)
        ]

    def wait_adverts(self, source: str, count: int, timeout: float = 15.0) -> None:
        """Wait for so many more adverts from an address."""
        since, deadline = len(self.read()), time.monotonic() + timeout
        while len(self.adverts(source, since)) < count:
            assert time.monotonic() < deadline, f"fewer than {count} adverts of {source}"
            time.sleep(0.05)

    def close(self) -> None:
        self.socket.close()
