"""Addresses through rtnetlink, as prebuilt bytes: what repeats every second costs microseconds.

Also what every reader of rtnetlink needs: dumps, messages, attributes.

The kernel works a request off inside `send`, so the answers are queued when it returns and one
batch is one send and one or two receives. Only the last message asks for an acknowledgement;
failures of the others are reported without asking.

A leased address has a finite valid_lft, after which the kernel removes it by itself (design
rule 2, "last line"). linux/if_addr.h, linux/netlink.h, net/ipv4/devinet.c, net/ipv6/addrconf.c.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

from lvsd.core.model import IPAddress, Vip
from lvsd.core.record import dataclass

NEWADDR, DELADDR = 20, 21
#: IFA_PROTO value by which keepalived's and our addresses are told from others.
PROTOCOL_VRRP = 18
FOREVER = 0xFFFFFFFF

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_REPLACE, _CREATE = 0x100, 0x400
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
_CACHEINFO = struct.Struct("=IIII")
_ATTRIBUTE = struct.Struct("=HH")
#: What the upper bits of an attribute's type say: nested, or in network order (linux/netlink.h).
_TYPE = 0x3FFF
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_CACHEINFO, _IFA_FLAGS, _IFA_PROTO = 1, 2, 3, 6, 8, 11
_F_NODAD = 0x02
_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_ACK_OFFSET = 6  # of the flags in nlmsghdr


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """One prebuilt rtnetlink request; `sequence` is filled in when it is sent."""

    message: bytes


def new_address(vip: Vip, index: int, lease: int | None) -> AddressRequest:
    """Add an address or extend its lease (`lease` in seconds, None for ever).

    A single host address never becomes a source address: an IPv6 /128 is deprecated from the
    start (preferred lifetime 0), as keepalived has it. DAD would delay service and lose against
    the old master. A wider address brings its prefix route, as from any other tool.
    """
    seconds = FOREVER if lease is None else lease
    ipv6 = vip.address.version == 6
    preferred = 0 if ipv6 and vip.prefixlen == vip.address.max_prefixlen else seconds
    flags = _F_NODAD if ipv6 else 0
    attributes = _local(vip.address)
    if vip.label:
        attributes += attribute(_IFA_LABEL, vip.label.encode() + b"\0")
    attributes += attribute(_IFA_CACHEINFO, _CACHEINFO.pack(preferred, seconds, 0, 0))
    attributes += attribute(_IFA_FLAGS, struct.pack("=I", flags))
    attributes += attribute(_IFA_PROTO, bytes([PROTOCOL_VRRP]))
    return _request(NEWADDR, _CREATE | _REPLACE, vip, index, attributes)


def delete_address(vip: Vip, index: int) -> AddressRequest:
    """Remove an address."""
    return _request(DELADDR, 0, vip, index, _local(vip.address))


class AddressSocket:
    """A route socket for address requests. `send` and `dump` never wait for a peer.

    The kernel works a dump off inside the calls.
    """

    def __init__(self) -> None:
        self.writes = 0
        self._sequence = 0
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((0, 0))

    def send(self, requests: Sequence[AddressRequest]) -> list[int]:
        """One errno per request, 0 for success, in order."""
        results: list[int] = []
        for start in range(0, len(requests), _BATCH):
            results += self._send(requests[start : start + _BATCH])
        return results

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The messages that answer a request for everything of a kind. Raises OSError."""
        self._drain()
        head = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _DUMP, 0, 0)
        self._socket.send(head + body)
        while True:
            for number, message in messages(self._socket.recv(1 << 16)):
                if number == _DONE:
                    return
                if number == _ERROR:
                    code = -struct.unpack_from("=i", message, _HEADER.size)[0]
                    if code == errno.EOPNOTSUPP:  # a kernel without IPv6
                        return
                    raise OSError(code, f"rtnetlink dump: {os.strerror(code)}")
                yield message

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _send(self, requests: Sequence[AddressRequest]) -> list[int]:
        first = self._sequence + 1
        self._sequence += len(requests)
        batch = bytearray()
        for offset, request in enumerate(requests):
            message = bytearray(request.message)
            struct.pack_into("=I", message, 8, (first + offset) & 0xFFFFFFFF)
            batch += message
        struct.pack_into("=H", batch, len(batch) - len(message) + _ACK_OFFSET, _last(message))
        try:
            self._drain()
            self._socket.send(batch)
        except OSError as error:
            return [error.errno or errno.EIO] * len(requests)
        self.writes += len(requests)
        return self._answers(first, len(requests))

    def _answers(self, first: int, count: int) -> list[int]:
        results = [0] * count
        acknowledged = False
        while not acknowledged:
            try:
                answer = self._socket.recv(1 << 16)
            except OSError:
                # Overrun or nothing there: what was not acknowledged counts as failed.
                return [result or errno.ENOBUFS for result in results]
            for sequence, code in _errors(answer):
                if first <= sequence < first + count:
                    results[sequence - first] = -code
                    acknowledged = acknowledged or sequence == first + count - 1
        return results

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


#: Requests in one send (about 100 bytes each).
_BATCH = 200


def _last(message: bytes | bytearray) -> int:
    (flags,) = struct.unpack_from("=H", message, _ACK_OFFSET)
    return int(flags) | _ACK


def _errors(answer: bytes) -> list[tuple[int, int]]:
    found, at = [], 0
    while at + _HEADER.size + 4 <= len(answer):
        length, kind, _, sequence, _ = _HEADER.unpack_from(answer, at)
        if length < _HEADER.size:
            break
        if kind == _ERROR:
            found.append((sequence, struct.unpack_from("=i", answer, at + _HEADER.size)[0]))
        at += (length + 3) & ~3
    return found


def _request(kind: int, flags: int, vip: Vip, index: int, attributes: bytes) -> AddressRequest:
    family = socket.AF_INET if vip.address.version == 4 else socket.AF_INET6
    body = _IFADDRMSG.pack(family, vip.prefixlen, 0, vip.scope, index) + attributes
    length = _HEADER.size + len(body)
    return AddressRequest(_HEADER.pack(length, kind, _REQUEST | flags, 0, 0) + body)


def _local(address: IPAddress) -> bytes:
    return attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded; attributes nest as values (linux/netlink.h)."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and whole of each message in a datagram."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size:
            return
        yield kind, datagram[at : at + length]
        at += (length + 3) & ~3


def attributes(message: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute from `at` on."""
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE, message[at + 4 : at + length]
        at += (length + 3) & ~3


def word(packed: bytes | None) -> int:
    """The number in an attribute of four octets; 0 where there is none."""
    return 0 if packed is None or len(packed) < 4 else int(struct.unpack_from("=I", packed)[0])


def text(packed: bytes | None) -> str:
    """The name in an attribute, "" where there is none."""
    return "" if packed is None else packed.rstrip(b"\0").decode("utf-8", "surrogateescape")


def promote_secondaries(interface: str) -> bool:
    """Make removal of a subnet's first address leave the others alone; True if it was changed.

    Without it the kernel deletes every secondary address of the subnet with the primary one
    (net/ipv4/devinet.c). Raises OSError when it can neither be read nor set.
    """
    path = f"/proc/sys/net/ipv4/conf/{interface}/promote_secondaries"
    with open(path) as setting:
        if setting.read().strip() != "0":
            return False
    with open(path, "w") as setting:
        setting.write("1")
    return True
