"""An interface and an address, as rtnetlink's messages have them.

Read by hand: a library that knows every attribute of every message would be a third of main's
start and a quarter of its memory. linux/if_link.h, linux/if_addr.h.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from lvsd.core.model import Family, IPAddress
from lvsd.core.record import dataclass
from lvsd.linux.rtnl import FOREVER, AddressSocket, attributes, text, word

_GETLINK, _GETADDR = 18, 22
_IFF_UP, _IFF_RUNNING, _IFF_NOARP = 0x1, 0x40, 0x80
_HEADER = 16
_IFINFOMSG = struct.Struct("=BxHiII")
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 5, 10, 18
_INFO_KIND, _INFO_DATA = 1, 2
_VRF_TABLE, _MACVLAN_MODE = 1, 1
_MODES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}
_IFADDRMSG = struct.Struct("=BBBBI")
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_PROTO = 1, 2, 6, 11
_VALID = 4  # offset of ifa_valid in ifa_cacheinfo


@dataclass(frozen=True, slots=True)
class BoundAddress:
    """One address of one interface. `permanent` means an infinite valid lifetime."""

    address: IPAddress
    prefixlen: int
    scope: int
    flags: int
    protocol: int
    permanent: bool


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface. `up` means administratively up with a carrier; `arp` that it resolves.

    `master` is the index of the bridge, bond or VRF it belongs to, 0 for none. `table` is the
    routing table where it is a VRF itself, else 0. `raised` is administratively up alone. `kind`
    is the kernel's (`macvlan`), "" for hardware; `mode` a macvlan's. `parent` is the index of the
    interface below, 0 for none.
    """

    name: str
    index: int
    mac: bytes
    up: bool
    arp: bool
    master: int = 0
    table: int = 0
    raised: bool = False
    kind: str = ""
    mode: str = ""
    parent: int = 0


def interface_messages(kernel: AddressSocket) -> Iterator[bytes]:
    """The message of every interface. Raises OSError."""
    return kernel.dump(_GETLINK, bytes(_IFINFOMSG.size))


def address_messages(kernel: AddressSocket) -> Iterator[bytes]:
    """The message of every address of every interface. Raises OSError."""
    return kernel.dump(_GETADDR, bytes(_IFADDRMSG.size))


def read_interface(message: bytes) -> Interface | None:
    """The interface of an RTM_NEWLINK or RTM_DELLINK; None where it is about something else."""
    family, _, index, flags, _ = _IFINFOMSG.unpack_from(message, _HEADER)
    found = dict(attributes(message, _HEADER + _IFINFOMSG.size))
    if family or _IFLA_IFNAME not in found:  # bridge port notices come with AF_BRIDGE
        return None
    info = dict(attributes(found.get(_IFLA_LINKINFO, b"")))
    kind, data = text(info.get(_INFO_KIND)), dict(attributes(info.get(_INFO_DATA, b"")))
    return Interface(
        name=text(found[_IFLA_IFNAME]),
        index=index,
        mac=found.get(_IFLA_ADDRESS, b""),
        up=bool(flags & _IFF_UP) and bool(flags & _IFF_RUNNING),
        arp=not flags & _IFF_NOARP,
        master=word(found.get(_IFLA_MASTER)),
        table=word(data.get(_VRF_TABLE)) if kind == "vrf" else 0,
        raised=bool(flags & _IFF_UP),
        kind=kind,
        mode=_MODES.get(word(data.get(_MACVLAN_MODE)), "") if kind == "macvlan" else "",
        parent=word(found.get(_IFLA_LINK)),
    )


def read_address(message: bytes) -> tuple[int, BoundAddress] | None:
    """Interface index and address of an RTM_NEWADDR or RTM_DELADDR; None for other families."""
    family, prefixlen, flags, scope, index = _IFADDRMSG.unpack_from(message, _HEADER)
    found = dict(attributes(message, _HEADER + _IFADDRMSG.size))
    # IPv4 point-to-point addresses have their peer under IFA_ADDRESS, our end under IFA_LOCAL.
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if packed is None or family not in set(Family):
        return None
    lifetimes = found.get(_IFA_CACHEINFO, b"")
    return index, BoundAddress(
        address=ipaddress.ip_address(packed),
        prefixlen=prefixlen,
        scope=scope,
        flags=flags,
        protocol=found.get(_IFA_PROTO, b"\0")[0],
        permanent=not lifetimes or word(lifetimes[_VALID:]) == FOREVER,
    )
