"""The nouns every other module speaks in.

Two worlds meet here and are kept apart by type: what the operator wrote (`Virtual`,
`RealServer`, `RouterConfig`) and what the kernel holds (`VirtualService`, `Destination`,
`SyncDaemon`, `Table`). Everything is frozen: a new wish is a new value.

Numbers are the kernel's own (linux/ip_vs.h), so a codec needs no translation table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

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

    @property
    def ipvsadm(self) -> str:
        """The column `ipvsadm -Ln` prints."""
        return ("Masq", "Local", "Tunnel", "Route", "Bypass")[self]


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


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """Identity of a virtual service in the kernel.

    Either protocol + address + port, or FWM + `fwmark` (then `address` is None, `port` 0).
    """

    family: Family
    protocol: Protocol
    address: IPAddress | None
    port: int
    fwmark: int = 0

    def __str__(self) -> str:
        if self.address is None:
            return f"{self.fwmark}" if self.family is Family.INET else f"{self.fwmark} IPv6"
        return endpoint(self.address, self.port)


@dataclass(frozen=True, slots=True, order=True)
class DestinationKey:
    """Identity of a destination within its service."""

    address: IPAddress
    port: int

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


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What `syncdaemon=` says behind interface and ID. `both` runs both threads in any state."""

    both: bool = False
    maxlen: int = 0
    port: int = 8848
    ttl: int = 1
    group: IPAddress = SYNC_GROUP


class CheckKind(enum.StrEnum):
    """What a check does on the wire. The registry in `lvsd.checks` has one class per kind."""

    ON = "on"  # never asked, always up
    OFF = "off"  # never asked, never up
    CONNECT = "connect"
    PING = "ping"
    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True)
class Check:
    """One distinct question to one target. Equal checks are probed once (design rule 11).

    `interval` and `timeout` are seconds; `timeout` bounds the whole exchange. `port` is where
    the check connects, which may differ from the destination's port (`checkport=`).
    `receive` is a regular expression over the body's bytes, "" for none. `attempts` is the number
    of echo requests of one ping (`checkcount=`).
    """

    kind: CheckKind
    address: IPAddress
    port: int
    interval: float = 10.0
    timeout: float = 5.0
    request: bytes = b"/"
    receive: bytes = b""
    method: str = "GET"
    virtualhost: bytes = b""
    attempts: int = 1
    verify: bool = False
    cafile: str = ""


@dataclass(frozen=True, slots=True)
class RealServer:
    """A real server as the operator wrote it, in one virtual.

    `key` is the kernel's (port already forced to the service's port for gate and ipip, as
    ipvsadm does); `check` carries its own address and port. `name` is the text of the
    configuration after resolution, `ADDRESS:PORT` (the port as written; without one, the
    service's), used by operators to name it.
    """

    key: DestinationKey
    forwarding: Forwarding
    weight: int
    check: Check
    u_threshold: int = 0
    l_threshold: int = 0

    @property
    def name(self) -> str:
        """`address:port` as operators and `ipvsadm -Ln` name it."""
        return str(self.key)


@dataclass(frozen=True, slots=True)
class Virtual:
    """A `virtual=` block: the service, its real servers and its policy.

    `fall` is failurecount, `rise` the passes needed to come back (ldirectord: 1).
    `quiescent`: a failed real stays in the table at weight 0, else it is removed.
    `fallback` is the sorry server, in the table (weight 1) only while no real is up.
    `quorum` and `hysteresis` are keepalived's, over the sum of weights of live reals; the
    service is up from quorum + hysteresis and down below quorum - hysteresis (or at 0).
    `cleanstop`: the service is removed when the daemon stops.
    """

    service: VirtualService
    reals: tuple[RealServer, ...]
    fallback: RealServer | None = None
    quiescent: bool = True
    fall: int = 1
    rise: int = 1
    quorum: int = 1
    hysteresis: int = 0
    cleanstop: bool = True

    @property
    def key(self) -> ServiceKey:
        """Identity of the service."""
        return self.service.key


@dataclass(frozen=True, slots=True)
class Vip:
    """An address a VirtualRouter installs while MASTER.

    `dev` "" means the instance's interface. `scope` is the rtnetlink number (0 global,
    253 link, 254 host). `label` is an IPv4 label (`eth0:0`), "" for none.
    """

    address: IPAddress
    prefixlen: int
    dev: str = ""
    label: str = ""
    scope: int = 0

    def __str__(self) -> str:
        return f"{self.address}/{self.prefixlen}"


class TrackKind(enum.StrEnum):
    """What a `track=` line watches."""

    INTERFACE = "interface"
    SCRIPT = "script"
    VIRTUAL = "virtual"
    PROCESS = "process"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Track:
    """A tracked object: without weight its failure is a fault, with one it moves the priority.

    A positive weight is added while the object is up, a negative one while it is down
    (keepalived's arithmetic). A file is up while its number is 0; with a weight, number times
    weight is added. `name` is the interface, the virtual, or the block of the other kinds.
    """

    kind: TrackKind
    name: str
    weight: int = 0


@dataclass(frozen=True, slots=True)
class PeerTtl:
    """The TTLs or hop limits, both ends included, in which a unicast peer's adverts arrive."""

    peer: IPAddress
    minimum: int = 0
    maximum: int = 255


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """A `vrrp=` block as the operator wrote it, defaults filled in.

    Identity is (interface, vrid, family). `advertint` is seconds (whole in version 2, 0.01 to
    40.95 in version 3). `addresses` are advertised in this order; `excluded` are installed but
    not advertised. `authpass` is version 2's simple password, b"" for no authentication.
    `peers` non-empty means unicast. `lease` False installs addresses for ever.
    `startupdelay` None means the default of design rule 3. `has_services` says that the
    configuration has virtual services, so the router waits for the child's word before it
    leaves INITIALIZE. `downtimeradverts` is the number of adverts a BACKUP does without.
    The `garp*` words are keepalived's: repeats are rounds of announcements, delays seconds to the
    second burst (0 for none), `garpmasterrefresh` seconds between announcements while MASTER.
    `v3checksumasv2` leaves the pseudo-header out of version 3's checksum over IPv4 (RFC 9568);
    `lowerprionoadvert` lets a MASTER not answer a lower bidder, `higherpriosendadvert` lets it
    send a last advert to a higher one. `unicastttl` is the TTL or hop limit of unicast adverts,
    `peer_ttls` what is accepted from peers with a range; `checkunicastsrc` False accepts unicast
    adverts from others than peers. Nothing begins before `delayafterboot` seconds of uptime.
    `notify` and its kin are programs with their arguments. An interface is down or up once it has
    been so for `interfacedowndelay` or `interfaceupdelay` seconds.
    """

    name: str
    interface: str
    vrid: int
    priority: int
    addresses: tuple[Vip, ...]
    version: int = 2
    family: Family = Family.INET
    advertint: float = 1.0
    excluded: tuple[Vip, ...] = ()
    authpass: bytes = b""
    peers: tuple[IPAddress, ...] = ()
    source: IPAddress | None = None
    preempt: bool = True
    preemptdelay: float = 0.0
    startupdelay: float | None = None
    syncgroup: str = ""
    syncdaemon: tuple[str, int] | None = None
    syncoptions: SyncOptions = SyncOptions()
    tracks: tuple[Track, ...] = ()
    notify: tuple[str, ...] = ()
    lease: bool = True
    has_services: bool = False
    downtimeradverts: int = 3
    garpmasterrepeat: int = 5
    garpmasterdelay: float = 5.0
    garpmasterrefresh: float = 0.0
    garpmasterrefreshrepeat: int = 1
    garplowerpriorepeat: int = 5
    garplowerpriodelay: float = 5.0
    v3checksumasv2: bool = False
    lowerprionoadvert: bool = False
    higherpriosendadvert: bool = False
    unicastttl: int = 255
    peer_ttls: tuple[PeerTtl, ...] = ()
    checkunicastsrc: bool = True
    delayafterboot: float = 0.0
    interfacedowndelay: float = 0.0
    interfaceupdelay: float = 0.0
    notifymaster: tuple[str, ...] = ()
    notifybackup: tuple[str, ...] = ()
    notifyfault: tuple[str, ...] = ()
    notifystop: tuple[str, ...] = ()
    notifymasterrxlowerpri: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int, Family]:
        """Identity: interface, VRID and family."""
        return (self.interface, self.vrid, self.family)


@dataclass(frozen=True, slots=True)
class TrackScript:
    """A `script=` block: a program whose exit status `track=script NAME` follows."""

    name: str
    command: tuple[str, ...]
    interval: float = 1.0
    timeout: float = 1.0
    rise: int = 1
    fall: int = 1
    user: str = ""


@dataclass(frozen=True, slots=True)
class TrackProcess:
    """A `process=` block: up while `quorum` to `quorummax` (0: any number) processes run.

    `command` is the name of the program, or its path, and the first of its arguments. The delays
    are seconds for which processes must be there or gone before it counts.
    """

    name: str
    command: tuple[str, ...]
    quorum: int = 1
    quorummax: int = 0
    forkdelay: float = 0.0
    terminatedelay: float = 0.0


@dataclass(frozen=True, slots=True)
class TrackFile:
    """A `file=` block: a file that holds a number; 0 where there is none."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration, valid by construction (only `lvsd.config.load` makes one)."""

    virtuals: tuple[Virtual, ...] = ()
    routers: tuple[RouterConfig, ...] = ()
    scripts: tuple[TrackScript, ...] = ()
    processes: tuple[TrackProcess, ...] = ()
    files: tuple[TrackFile, ...] = ()
    autoreload: bool = False
    logfile: str = ""
    standbytable: bool = True
    operators: tuple[str, ...] = ()
    # Where it came from does not count: the normal form loads back to an equal Config.
    path: str = field(default="", compare=False)
    sha256: str = field(default="", compare=False)
    #: Every file read, for autoreload.
    sources: tuple[str, ...] = field(default=(), compare=False)
    #: Warnings and notices, each as `FILE:LINE:COLUMN: warning: text`.
    warnings: tuple[str, ...] = field(default=(), compare=False)


def endpoint(address: IPAddress, port: int) -> str:
    """`192.0.2.1:80` or `[2001:db8::1]:80`."""
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port}"
