"""Link and address events from rtnetlink, without the ones that say nothing new.

Every refresh of a lease makes the kernel notify, once per VIP and second. Parsing all that would
cost more than everything else main does, so a notification that differs from the last one about
the same address only in its time stamp is dropped before it is parsed. An overrun surfaces as
OSError (ENOBUFS), after which everything must be read again. linux/rtnetlink.h,
linux/if_addr.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from lvsd.linux.rtnl import messages

NEWLINK, DELLINK, NEWADDR, DELADDR = 16, 17, 20, 21
#: Datagrams read per wake-up.
BATCH = 256

_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_GROUPS = _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR
_RECEIVE_BUFFER = 4 << 20
_SO_RCVBUFFORCE = 33
_LARGEST = 1 << 16
_KIND = struct.Struct("=IH")
_ATTRIBUTE = struct.Struct("=HH")
_ADDRESSES = 24  # offset of the first attribute, after nlmsghdr and ifaddrmsg
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_TIME_STAMP = 16  # offset of tstamp in the attribute


class Monitor:
    """The event socket. Raises OSError when it cannot be opened."""

    def __init__(self) -> None:
        #: Notifications read, and how many of them were news.
        self.read = 0
        self.parsed = 0
        self._known: dict[bytes, bytes] = {}
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        try:
            self._widen()
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def receive(self, limit: int = BATCH) -> Iterator[tuple[int, bytes]]:
        """What is new among up to `limit` queued notifications: type and message.

        Raises OSError when notifications were lost.
        """
        for _ in range(limit):
            try:
                datagram = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return
            self.read += 1
            if self._is_news(datagram):
                self.parsed += 1
                yield from messages(datagram)

    def _is_news(self, datagram: bytes) -> bool:
        length, kind = _KIND.unpack_from(datagram)
        if kind == DELLINK:
            self._known.clear()
        if kind not in (NEWADDR, DELADDR) or length != len(datagram):
            return True
        identity, essence = _read(datagram)
        if kind == DELADDR:
            self._known.pop(identity, None)
        elif self._known.get(identity) == essence:
            return False
        else:
            self._known[identity] = essence
        return True

    def _widen(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _read(datagram: bytes) -> tuple[bytes, bytes]:
    """Which address (family, prefix, interface, bytes), and all that is said but the time."""
    identity = datagram[16:18] + datagram[20:_ADDRESSES]
    essence = datagram[16:]
    offset = _ADDRESSES
    while offset + 4 <= len(datagram):
        length, kind = _ATTRIBUTE.unpack_from(datagram, offset)
        if length < 4:
            break
        if kind in (_IFA_ADDRESS, _IFA_LOCAL):
            identity += datagram[offset : offset + length]
        elif kind == _IFA_CACHEINFO:
            stamp = offset + _TIME_STAMP
            essence = datagram[16:stamp] + datagram[stamp + 4 :]
        offset += (length + 3) & ~3
    return identity, essence
