"""The macvlan that carries a virtual MAC (RFC 5798 §7.3), as keepalived makes it, in bytes.

Making, raising and asking take about a millisecond. Lowering and removing wait for the kernel's
readers (5 to 20 ms): `Errands` does them in a thread of its own, so that no advert waits.

The mode is private, as keepalived's: two of them on one interface never talk to each other. A
raised one alone gets a multicast or broadcast frame whose sender is its own MAC (the other
director's advert or announcement); the interface below does not (drivers/net/macvlan.c).
linux/if_link.h.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable, Mapping

from lvsd.linux import KernelError, sysctl
from lvsd.linux.interface import Interface
from lvsd.linux.rtnl import AddressRequest, AddressSocket, attribute

_NEWLINK, _DELLINK = 16, 17
_REQUEST, _EXCL, _CREATE = 0x1, 0x200, 0x400
_HEADER = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_IFF_UP = 0x1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER = 1, 3, 5, 10
_IFLA_LINKINFO, _IFLA_AF_SPEC = 18, 26
_INFO_KIND, _INFO_DATA, _MACVLAN_MODE, _PRIVATE = 1, 2, 1, 1
_INET6_ADDR_GEN_MODE, _GEN_MODE_NONE = 8, 1

#: Settings of the macvlan without which IPv4 goes wrong. It answers ARP for its own addresses
#: only; and packets arrive here that are answered through the interface below, which a strict
#: rp_filter drops (the kernel takes the larger one of `all` and this: 2 is loose whatever `all`
#: says, where keepalived's 0 needs `all` to be 0).
_IPV4 = {"arp_ignore": 1, "rp_filter": 2}
#: What the interface below must not do with its own MAC: answer ARP for the macvlan's addresses
#: (keepalived sets that, too), nor ask for others on their behalf, or each neighbour that the host
#: answers learns its MAC again. IPv6 knows no such confusion.
_BASE = {"arp_ignore": "1", "arp_announce": "2"}
#: Nobody's router advertisement gives it addresses or routes.
_IPV6 = {"accept_ra": 0, "autoconf": 0}


def make(name: str, base: int, mac: bytes, vrf: int = 0) -> AddressRequest:
    """A new macvlan, down, in private mode, on the interface of index `base`, in its VRF if any."""
    mode = attribute(_INFO_DATA, attribute(_MACVLAN_MODE, struct.pack("=I", _PRIVATE)))
    info = attribute(_INFO_KIND, b"macvlan") + mode
    attributes = attribute(_IFLA_IFNAME, name.encode() + b"\0") + attribute(_IFLA_ADDRESS, mac)
    attributes += attribute(_IFLA_LINK, struct.pack("=I", base))
    attributes += attribute(_IFLA_LINKINFO, info)
    if vrf:
        attributes += attribute(_IFLA_MASTER, struct.pack("=I", vrf))
    return _request(_NEWLINK, _CREATE | _EXCL, 0, 0, 0, attributes)


def without_link_local(index: int) -> AddressRequest:
    """No address made from the MAC: several hosts would have the same one."""
    mode = attribute(_INET6_ADDR_GEN_MODE, bytes([_GEN_MODE_NONE]))
    attributes = attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
    return _request(_NEWLINK, 0, index, 0, 0, attributes)


def raising(index: int, up: bool) -> AddressRequest:
    """Up or down."""
    return _request(_NEWLINK, 0, index, _IFF_UP if up else 0, _IFF_UP, b"")


def removal(index: int) -> AddressRequest:
    """Away, with everything on it."""
    return _request(_DELLINK, 0, index, 0, 0, b"")


def is_ours(found: Interface, base: int, mac: bytes) -> bool:
    """Whether an interface is what `make` makes."""
    return (found.kind, found.mode, found.parent, found.mac) == ("macvlan", "private", base, mac)


def configure(name: str, index: int, kernel: AddressSocket, *, ipv6: bool) -> None:
    """Settings of a macvlan that is still down. Raises KernelError.

    Without an IPv6 address it has no IPv6 at all: no router solicitations, no MLD reports.
    """
    for word, value in _IPV4.items():
        sysctl.write(f"net/ipv4/conf/{name}/{word}", value)
    try:
        for word, value in {**_IPV6, "disable_ipv6": int(not ipv6)}.items():
            sysctl.write(f"net/ipv6/conf/{name}/{word}", value)
    except KernelError as error:
        if ipv6 or error.errno != errno.ENOENT:
            raise
        return  # a kernel without IPv6
    (code,) = kernel.send([without_link_local(index)])
    if code:
        raise KernelError(code, f"ip link set {name} addrgenmode none: errno {code}")


def keep_to_own(base: str) -> dict[str, str]:
    """Let the interface below speak of its own addresses alone; the settings as they were.

    Raises KernelError.
    """
    before = {word: sysctl.read(f"net/ipv4/conf/{base}/{word}") for word in _BASE}
    for word, value in _BASE.items():
        if before[word] < value:
            sysctl.write(f"net/ipv4/conf/{base}/{word}", value)
    return before


def set_back(base: str, before: Mapping[str, str]) -> None:
    """Undo `keep_to_own`, except for what somebody else has set since. Raises KernelError."""
    for word, value in _BASE.items():
        name = f"net/ipv4/conf/{base}/{word}"
        if before[word] < value and sysctl.read(name) == value:
            sysctl.write(name, before[word])


class Errands:
    """Requests that take long, one after another, in a thread of its own.

    `done(index, errno)` is called in that thread.
    """

    def __init__(self, done: Callable[[int, int], None]) -> None:
        self._done = done
        self._changed = threading.Condition()
        self._waiting: dict[int, AddressRequest] = {}
        self._current = 0
        self._ended = False
        self._thread: threading.Thread | None = None

    def put(self, index: int, request: AddressRequest) -> None:
        """Send a request about an interface; it replaces one that waits."""
        with self._changed:
            self._waiting[index] = request
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="links", daemon=True)
            self._thread.start()

    def withdraw(self, index: int) -> bool:
        """Take back what waits; False when it is being done this moment."""
        with self._changed:
            self._waiting.pop(index, None)
            return index != self._current

    def close(self, timeout: float = 1.0) -> None:
        """Forget what waits and let the one under way end, for a limited time."""
        with self._changed:
            self._waiting.clear()
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _work(self) -> None:
        kernel = AddressSocket()
        while True:
            with self._changed:
                self._current = 0
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    break
                self._current = next(iter(self._waiting))
                request = self._waiting.pop(self._current)
                index = self._current
            (code,) = kernel.send([request])
            self._done(index, code)
        kernel.close()


def _request(
    kind: int, flags: int, index: int, state: int, change: int, attributes: bytes
) -> AddressRequest:
    body = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, state, change) + attributes
    length = _HEADER.size + len(body)
    return AddressRequest(_HEADER.pack(length, kind, _REQUEST | flags, 0, 0) + body)
