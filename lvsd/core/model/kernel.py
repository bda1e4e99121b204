"""What the kernel holds: virtual services, destinations, sync threads.

Numbers are the kernel's own (linux/ip_vs.h), so a codec needs no translation table.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import field
from ipaddress import IPv4Address, IPv6Address

from lvsd.core.record import dataclass

IPAddress = IPv4Address | IPv6Address


class Family(enum.IntEnum):
    """Address family, with the values of AF_INET and AF_INET6 on Linux."""

    INET = 2
    INET6 = 10

    @staticmethod
    def of(address: IPAddress) -> Family:
        """The family an address belongs to."""
        return Family.INET if address.version == 4 else Family.INET6


class Protocol(enum.IntEnum):
    """Transport protocol of a virtual service; FWM stands for a firewall mark."""

    FWM = 0
    TCP = 6
    UDP = 17
    SCTP = 132

    @property
    def word(self) -> str:
        """`tcp`, `udp`, `sctp` or `fwm`, as ldirectord's `protocol=` spells it."""
        return self.name.lower()


class Forwarding(enum.IntEnum):
    """How IPVS hands a packet to a real server: IP_VS_CONN_F_* of linux/ip_vs.h."""

    MASQ = 0
    LOCAL = 1
    TUNNEL = 2
    ROUTE = 3
    BYPASS = 4

    @property
    def word(self) -> str:
        """The operator's word: masq, local, ipip, gate (ldirectord), bypass."""
        return ("masq", "local", "ipip", "gate", "bypass")[self]


#: Every scheduler of the kernel (net/netfilter/ipvs/ip_vs_*.c as of Linux 6.1).
SCHEDULERS = (
    *("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh"),
    *("sed", "nq", "fo", "ovf", "mh", "twos"),
)


class ServiceFlag(enum.IntFlag):
    """IP_VS_SVC_F_* of linux/ip_vs.h. HASHED is the kernel's own and never sent."""

    NONE = 0
    PERSISTENT = 0x1
    HASHED = 0x2
    ONEPACKET = 0x4
    SCHED1 = 0x8
    SCHED2 = 0x10
    SCHED3 = 0x20


class Hashed(ABC):
    """A hash worked out once: that of an address is slow, and keys and checks are looked up a lot.

    It stays behind when an object is copied or pickled, for that of a text is another in each
    process. A class says `__hash__ = Hashed.__hash__`, or the decorator would make one.
    """

    __slots__ = ("_hash",)
    _hash: int

    @abstractmethod
    def identity(self) -> tuple[object, ...]:
        """What makes it equal to another, in values that are quick to hash."""

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash(self.identity()))
            return self._hash


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey(Hashed):
    """Identity of a virtual service in the kernel.

    Either protocol + address + port, or FWM + `fwmark` (then `address` is None, `port` 0).
    """

    family: Family
    protocol: Protocol
    address: IPAddress | None
    port: int
    fwmark: int = 0

    __hash__ = Hashed.__hash__

    def identity(self) -> tuple[object, ...]:
        """As `Hashed` says."""
        address = None if self.address is None else int(self.address)
        return self.family, self.protocol, address, self.port, self.fwmark

    def __str__(self) -> str:
        if self.address is None:
            return f"{self.fwmark}" if self.family is Family.INET else f"{self.fwmark} IPv6"
        return endpoint(self.address, self.port)


@dataclass(frozen=True, slots=True, order=True)
class DestinationKey(Hashed):
    """Identity of a destination within its service."""

    address: IPAddress
    port: int

    __hash__ = Hashed.__hash__

    def identity(self) -> tuple[object, ...]:
        """As `Hashed` says."""
        return int(self.address), self.port

    def __str__(self) -> str:
        return endpoint(self.address, self.port)


@dataclass(frozen=True, slots=True)
class VirtualService:
    """A virtual service as the kernel holds it: identity and attributes.

    `timeout` is the persistence timeout in seconds, meaningful with PERSISTENT.
    `prefixlen` is the persistence granularity (ipvsadm -M), 32 or 128 for single hosts.
    """

    key: ServiceKey
    scheduler: str
    flags: ServiceFlag = ServiceFlag.NONE
    timeout: int = 0
    prefixlen: int = 32
    pe_name: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """What the kernel holds for a real server in one service."""

    key: DestinationKey
    forwarding: Forwarding
    weight: int
    u_threshold: int = 0
    l_threshold: int = 0
    tun_type: int = 0
    tun_port: int = 0
    tun_flags: int = 0


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """One service with its destinations, in the order they were added."""

    service: VirtualService
    destinations: Mapping[DestinationKey, Destination]


#: The IPVS table, actual or desired.
Table = Mapping[ServiceKey, ServiceEntry]


@dataclass(frozen=True, slots=True)
class Usage:
    """Connections a destination has now, and its totals since it was added or zeroed."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0
    conns: int = 0
    inpkts: int = 0
    outpkts: int = 0
    inbytes: int = 0
    outbytes: int = 0


#: Where the kernel's sync threads talk unless told otherwise (net/netfilter/ipvs/ip_vs_sync.c).
SYNC_GROUP = IPv4Address("224.0.0.81")


class SyncRole(enum.IntEnum):
    """IP_VS_STATE_MASTER and IP_VS_STATE_BACKUP of linux/ip_vs.h."""

    MASTER = 1
    BACKUP = 2


@dataclass(frozen=True, slots=True)
class SyncDaemon:
    """A connection synchronisation thread of the kernel.

    `maxlen` is the most octets of a message, 0 for what fits the interface; the kernel tells the
    value it chose, so it does not count in comparisons.
    """

    role: SyncRole
    interface: str
    syncid: int = 0
    port: int = 8848
    ttl: int = 1
    group: IPAddress = SYNC_GROUP
    maxlen: int = field(default=0, compare=False)


def endpoint(address: IPAddress, port: int) -> str:
    """`192.0.2.1:80` or `[2001:db8::1]:80`."""
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port}"
