"""A `vrrp=` block as the operator wrote it, and the objects its `track=` lines name."""

from __future__ import annotations

import enum

from lvsd.core.model.kernel import SYNC_GROUP, Family, IPAddress
from lvsd.core.model.path import Path, VirtualRoute, VirtualRule
from lvsd.core.record import dataclass


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What `syncdaemon=` says behind interface and ID. `both` runs both threads in any state."""

    both: bool = False
    maxlen: int = 0
    port: int = 8848
    ttl: int = 1
    group: IPAddress = SYNC_GROUP


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


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two gratuitous ARPs, and between two unsolicited NAs, at least; 0 for none.

    `interfaces` keep it together, as if they were one (keepalived's garp_group). Without any it is
    the pace of each interface that is in no group.
    """

    interfaces: tuple[str, ...] = ()
    garpinterval: float = 0.0
    gnainterval: float = 0.0

    def __str__(self) -> str:
        where = " ".join(self.interfaces) or "all"
        return f"{where} {self.garpinterval:g}/{self.gnainterval:g}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a program runs as, by name. `group` "" means the user's own; `user` "" means lvsd's own.

    The user's supplementary groups go with it in any case.
    """

    user: str = ""
    group: str = ""

    def __str__(self) -> str:
        return f"{self.user} {self.group}" if self.group else self.user


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
    weight is added. `reverse` turns what happens around: without weight the object being up is
    the fault, with one the weight is subtracted when it would be added. `name` is the interface,
    the virtual, or the block of the other kinds.
    """

    kind: TrackKind
    name: str
    weight: int = 0
    reverse: bool = False


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
    `lowerprionoadvert` lets a MASTER not answer a lower bidder, `higherpriosendadvert` False lets
    it yield to a higher one without a last advert. `unicastttl` is the TTL or hop limit of unicast
    adverts, `peer_ttls` what is accepted from peers with a range; `checkunicastsrc` False accepts
    unicast adverts from others than peers. `usevmac` is the macvlan that carries the virtual MAC,
    "" for none; the addresses have it as `dev`. With `vmacxmitbase` adverts leave by `interface`
    all the same. `accept` False keeps the host itself from answering on the addresses. Nothing
    begins before `delayafterboot` seconds of uptime. `notify` and its kin are programs with their
    arguments, run as `scriptuser`. An interface is down or up once it has been so for
    `interfacedowndelay` or `interfaceupdelay` seconds.
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
    higherpriosendadvert: bool = True
    unicastttl: int = 255
    peer_ttls: tuple[PeerTtl, ...] = ()
    checkunicastsrc: bool = True
    usevmac: str = ""
    vmacxmitbase: bool = False
    accept: bool = True
    delayafterboot: float = 0.0
    interfacedowndelay: float = 0.0
    interfaceupdelay: float = 0.0
    notifymaster: tuple[str, ...] = ()
    notifybackup: tuple[str, ...] = ()
    notifyfault: tuple[str, ...] = ()
    notifystop: tuple[str, ...] = ()
    notifymasterrxlowerpri: tuple[str, ...] = ()
    scriptuser: Identity = Identity()
    routes: tuple[VirtualRoute, ...] = ()
    rules: tuple[VirtualRule, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Routes and rules in the order in which they are installed."""
        return (*self.routes, *self.rules)

    @property
    def key(self) -> tuple[str, int, Family]:
        """Identity: interface, VRID and family."""
        return (self.interface, self.vrid, self.family)

    @property
    def accepts(self) -> bool:
        """Whether the host itself answers on the addresses; their owner does in any case."""
        return self.accept or self.priority == 255

    @property
    def outgoing(self) -> str:
        """The interface that adverts leave by."""
        return self.interface if self.vmacxmitbase else self.usevmac or self.interface


@dataclass(frozen=True, slots=True)
class TrackScript:
    """A `script=` block: a program whose exit status `track=script NAME` follows."""

    name: str
    command: tuple[str, ...]
    interval: float = 1.0
    timeout: float = 1.0
    rise: int = 1
    fall: int = 1
    user: Identity = Identity()


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
