"""Neighbours that may be gone: what the kernel says of ARP and neighbour discovery.

An entry that failed, was removed (as all of an interface that lost its carrier are) or has another
MAC from now on is a reason to ask the host again. linux/rtnetlink.h, linux/neighbour.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

from lvsd.core.model import IPAddress
from lvsd.linux.rtnl import attributes

#: Datagrams read per wake-up.
BATCH = 64

_RTMGRP_NEIGH = 0x4
_NEWNEIGH, _DELNEIGH = 28, 29
_HEAD, _HEAD_LENGTH = struct.Struct("=IH"), 16
_NDMSG, _NDMSG_LENGTH = struct.Struct("=BxxxiH"), 12
_SHORTEST = _HEAD_LENGTH + _NDMSG_LENGTH
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_FAILED = 0x20
_LARGEST = 1 << 15
#: Entries whose MAC is remembered; beyond that all are forgotten.
_MOST = 1 << 14


class Neighbours:
    """The event socket. Raises OSError when it cannot be opened."""

    def __init__(self) -> None:
        self._macs: dict[tuple[int, bytes], bytes] = {}
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        try:
            self._socket.bind((0, _RTMGRP_NEIGH))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def receive(self, limit: int = BATCH) -> Iterator[IPAddress]:
        """The addresses that up to `limit` queued notifications cast doubt on.

        Raises OSError when notifications were lost.
        """
        for _ in range(limit):
            try:
                datagram = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return
            yield from self._doubts(datagram)

    def _doubts(self, datagram: bytes) -> Iterator[IPAddress]:
        while len(datagram) >= _SHORTEST:
            length, kind = _HEAD.unpack_from(datagram)
            if length < _SHORTEST:
                return
            message, datagram = datagram[_HEAD_LENGTH:length], datagram[(length + 3) & ~3 :]
            family, index, state = _NDMSG.unpack_from(message)
            if kind not in (_NEWNEIGH, _DELNEIGH) or family not in _FAMILIES:
                continue  # a bridge has entries, too
            told = dict(attributes(message, _NDMSG_LENGTH))
            address, mac = told.get(_NDA_DST, b""), told.get(_NDA_LLADDR, b"")
            if len(address) not in (4, 16):
                continue
            if kind == _DELNEIGH or state & _NUD_FAILED or self._changed((index, address), mac):
                yield ip_address(address)

    def _changed(self, key: tuple[int, bytes], mac: bytes) -> bool:
        """Whether an entry had another MAC before; one that is being asked for has none."""
        if not mac:
            return False
        if len(self._macs) >= _MOST:
            self._macs.clear()
        before, self._macs[key] = self._macs.get(key, mac), mac
        return before != mac
