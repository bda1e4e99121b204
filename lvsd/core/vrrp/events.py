"""What can happen to a VirtualRouter, and what it asks for in return.

An event is a fact with no time of its own: `now` is an argument of `step`. An effect is something
that must happen exactly once. What must remain true (which VIPs are bound) is never an effect:
`desired` says it afresh after every step.
"""

from __future__ import annotations

import enum
from dataclasses import field

from lvsd.core.model import IPAddress, RouterConfig, Track
from lvsd.core.packet import Advertisement, Reason
from lvsd.core.record import dataclass


class State(enum.StrEnum):
    """RFC 5798 §6.4. keepalived's FAULT is INITIALIZE with a reason, see `router.faults`."""

    INITIALIZE = "initialize"
    BACKUP = "backup"
    MASTER = "master"


# --- events ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Startup:
    """The router may begin. What is known of link, source and tracks is told before it.

    `uptime` is the system's, in seconds; None where it does not matter (any more).
    """

    uptime: float | None = None


@dataclass(frozen=True, slots=True)
class ServicesReady:
    """The child's word on the services: applied, and every real judged once (design rule 3)."""

    ready: bool


@dataclass(frozen=True, slots=True)
class AdvertReceived:
    """An advertisement that passed every receive check (`router.receive` makes these)."""

    source: IPAddress
    advert: Advertisement


@dataclass(frozen=True, slots=True)
class AdvertRejected:
    """An advertisement that failed a receive check; it is counted and changes nothing else."""

    reason: Reason
    source: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class NeighbourAnnounced:
    """Somebody else's gratuitous ARP or unsolicited NA for one of our VIPs was heard."""

    address: IPAddress
    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The instance's interface exists, is up and has a carrier, or not. Assumed up at first.

    `exists` False goes with `up` False and only changes the words.
    """

    up: bool
    exists: bool = True


@dataclass(frozen=True, slots=True)
class SourceChanged:
    """The address adverts are sent from; None when the interface has none."""

    source: IPAddress | None


@dataclass(frozen=True, slots=True)
class VmacChanged:
    """How it stands with the macvlan of `usevmac=`: None while it is not there, "" when it is.

    Any other text is why it can't be, and a fault.
    """

    problem: str | None


@dataclass(frozen=True, slots=True)
class VipsBound:
    """The kernel confirmed that everything in `desired` is bound. Repeating it is harmless.

    Routes and rules are there, too, except for those that are not tracked.
    """


@dataclass(frozen=True, slots=True)
class VipsReleased:
    """The kernel confirmed that none of this router's VIPs is bound by us any more.

    To be told whenever `desired` is empty and the kernel agrees. A yielding MASTER reports its new
    role only now, and `stopped` becomes true only now. Repeating it is harmless.
    """


@dataclass(frozen=True, slots=True)
class VipsFailed:
    """The kernel refused a VIP; the applier goes on trying unless `desired` changes.

    `what` is "routes" where it was a route or a rule.
    """

    error: str
    what: str = "VIPs"


@dataclass(frozen=True, slots=True)
class VipsLost:
    """Somebody removed VIPs that we had bound. They are announced again after VipsBound."""

    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class LeaseRefreshed:
    """The kernel confirmed the refresh that the last `RefreshLease` asked for."""


@dataclass(frozen=True, slots=True)
class TrackChanged:
    """A tracked object is up or down. Matched by kind and name; the weight is the config's.

    `number` is what a tracked file holds; `exists` is as for `LinkChanged`, for an interface.
    """

    track: Track
    up: bool
    number: int = 0
    exists: bool = True


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop in order: a MASTER serves until relieved. There is no way back from here."""


@dataclass(frozen=True, slots=True)
class StepDown:
    """Give mastership to the peer and do not take it back by preemption until `Resume`.

    Answered by one `Relieved` (at once when not MASTER) or one `StepDownFailed`.
    """


@dataclass(frozen=True, slots=True)
class Resume:
    """Undo `StepDown`."""


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """A new configuration with the same key. The same configuration again changes nothing."""

    config: RouterConfig


@dataclass(frozen=True, slots=True)
class ChildLost:
    """The director child cannot come back (True): advertise priority 1; False when it has."""

    lost: bool


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """Time has passed. To be told only after every received packet has been."""


Event = (
    Startup
    | ServicesReady
    | AdvertReceived
    | AdvertRejected
    | NeighbourAnnounced
    | LinkChanged
    | SourceChanged
    | VmacChanged
    | VipsBound
    | VipsReleased
    | VipsFailed
    | VipsLost
    | LeaseRefreshed
    | TrackChanged
    | Shutdown
    | StepDown
    | Resume
    | Reconfigured
    | ChildLost
    | DeadlineReached
)

# --- effects --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendAdvert:
    """Send `advertisement(vr, priority)` once to each of `destinations(vr)`."""

    priority: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Send `count` gratuitous ARPs or unsolicited NAs for each address, back to back."""

    addresses: tuple[IPAddress, ...]
    count: int = 5


@dataclass(frozen=True, slots=True)
class RefreshLease:
    """Renew the lease of everything in `desired` in one batch, then tell `LeaseRefreshed`."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The role to report outside. Leaving MASTER is reported once its VIPs are gone."""

    old: State
    new: State
    reason: str


@dataclass(frozen=True, slots=True)
class Relieved:
    """The VIPs of an orderly stop or a step-down are let go; `reason` says who relieved us."""

    reason: str


@dataclass(frozen=True, slots=True)
class StepDownFailed:
    """Nobody took over in time; this router goes on as MASTER."""

    reason: str


@dataclass(frozen=True, slots=True)
class LowerPriorityHeard:
    """A MASTER heard a lower bidder (keepalived's MASTER_RX_LOWER_PRI)."""

    source: IPAddress
    priority: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Who announced which of our VIPs, when last, and when that was told."""

    address: IPAddress
    by: str
    heard_at: float
    told_at: float | None


@dataclass(frozen=True, slots=True)
class DuplicateOwnerHeard:
    """Another MAC (`by`) announces a VIP that this MASTER holds (see `duplicates`)."""

    address: IPAddress
    by: str


@dataclass(frozen=True, slots=True)
class AddressListDiffers:
    """A peer advertises other addresses than we do. Said once until the lists agree again."""

    source: IPAddress
    theirs: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class ChecksumReadingDiffers:
    """A peer makes version 3's checksum over IPv4 otherwise than we do. Said once per change.

    `pseudo_header` says whether the peer's covers it.
    """

    source: IPAddress
    pseudo_header: bool


Effect = (
    SendAdvert
    | Announce
    | RefreshLease
    | StateChanged
    | Relieved
    | StepDownFailed
    | LowerPriorityHeard
    | DuplicateOwnerHeard
    | AddressListDiffers
    | ChecksumReadingDiffers
)
