"""One VirtualRouter as a value, and what can be asked of it.

Nothing here changes anything: `machine.step` makes the next router, `reception.receive` judges
packets. All times are on the caller's clock. Vocabulary: RFC 3768 §6, RFC 5798 §6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from lvsd.core.model import Family, IPAddress, Path, RouterConfig, Track, TrackKind, Vip
from lvsd.core.packet import AUTH_NONE, AUTH_PASS, MULTICAST, TTL, Advertisement, Reason
from lvsd.core.record import dataclass
from lvsd.core.vrrp.events import Claim, State
from lvsd.core.vrrp.timers import (
    BIND_TIMEOUT,
    LEASE_GRACE,
    LEASE_MARGIN,
    RETRY_DELAY,
    lease_seconds,
    master_down_interval,
)

OWNER = 255
#: Advertised while the director child is lost for good: anybody else may take over.
LAST_RESORT = 1

#: The instance's own interface in `pending` and `missing`: no interface has this name.
OWN_LINK = ""
#: A tracked file that takes this much or more off the priority is a fault (keepalived).
FILE_FAULT = -254
#: What the child asks about; its first word is waited for where a failure is a fault.
_ASKED = (TrackKind.SCRIPT, TrackKind.PROCESS, TrackKind.FILE)

COUNTERS = (
    "adverts_sent",
    "adverts_received",
    "priority_zero_sent",
    "priority_zero_received",
    "became_master",
    "released_master",
    "lower_priority_heard",
    "address_list_differs",
    "interval_differs",
    "vips_lost",
    "duplicate_owner",
    *(f"rejected_{reason}" for reason in Reason),
)


@dataclass(frozen=True, slots=True)
class VirtualRouter:
    """Everything known about one instance. `*_at` are absolute times, None when not running."""

    config: RouterConfig
    source: IPAddress | None
    state: State = State.INITIALIZE
    #: Why the state is what it is, in words, and since when (None before Startup).
    reason: str = "starting"
    since: float | None = None
    #: The address of the present master as far as known; our own source while MASTER.
    master: IPAddress | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    #: The last state that `StateChanged` told; differs from `state` until the VIPs are gone.
    reported: State = State.INITIALIZE

    # What the world is like.
    link_up: bool = True
    #: Interfaces (OWN_LINK is ours) that are not there at all.
    missing: frozenset[str] = frozenset()
    tracked: Mapping[tuple[TrackKind, str], bool] = field(default_factory=dict)
    numbers: Mapping[tuple[TrackKind, str], int] = field(default_factory=dict)
    #: Interfaces (OWN_LINK is ours) that are otherwise for now, and when that is believed.
    pending: Mapping[str, tuple[bool, float]] = field(default_factory=dict)
    ready: bool = False
    child_lost: bool = False
    #: The macvlan of `usevmac=` as `VmacChanged` told.
    vmac: str | None = None
    group_fault: str = ""

    # INITIALIZE: the start is held (by startupdelay, by delayafterboot), the wait for services and
    # scripts ends, a VIP is retried.
    hold_at: float | None = None
    boot_at: float | None = None
    patience_at: float | None = None
    retry_at: float | None = None
    retry_delay: float = RETRY_DELAY
    failure: str = ""

    # BACKUP.
    master_interval: float = 0.0
    master_down_at: float | None = None
    heard_at: float = 0.0
    preempt_at: float | None = None
    #: One that yielded serves until the better master announces the VIPs, or until this.
    release_at: float | None = None
    #: The timer ran out and only the rest of the sync group is waited for.
    wants_master: bool = False
    #: Why the running timer will end in a takeover, "" for silence.
    takeover: str = ""

    # MASTER.
    adver_at: float | None = None
    sent_at: float = 0.0
    bound: bool = False
    #: Whether the kernel may hold a VIP of ours.
    holding: bool = False
    announced: tuple[IPAddress, ...] = ()
    #: The second burst: when, and how many rounds. When the last burst was, and the next refresh.
    announce_at: float | None = None
    announce_rounds: int = 0
    burst_at: float = 0.0
    reannounce_at: float | None = None
    vip_failures: int = 0
    #: The last refresh asked for, and the time of asking for the last one confirmed.
    refreshed_at: float = 0.0
    leased_at: float | None = None
    #: Who else announces our VIPs; the last answer, and the next with what it is to announce.
    claims: tuple[Claim, ...] = ()
    defended_at: float | None = None
    defend_at: float | None = None
    undefended: tuple[IPAddress, ...] = ()

    # Orderly stop and step-down.
    stopping: bool = False
    stepped_down: bool = False
    relieve_at: float | None = None
    relieved_by: str = ""

    #: The last advert heard listed other addresses than ours.
    differs: bool = False
    theirs: tuple[IPAddress, ...] = ()
    #: Who sent the last advert heard, and when.
    heard_from: IPAddress | None = None
    advert_at: float | None = None
    #: Whether the last advert's checksum covered the pseudo-header; None where only one reading
    #: exists (version 2, IPv6) or nothing was heard yet.
    heard_pseudo_header: bool | None = None

    @staticmethod
    def initial(config: RouterConfig, source: IPAddress | None) -> VirtualRouter:
        """A router that has not started: it does nothing until `Startup`."""
        return VirtualRouter(config, source, master_interval=config.advertint)


def next_deadline(vr: VirtualRouter) -> float | None:
    """When `DeadlineReached` is due next; later than `now` after a DeadlineReached at `now`."""
    running = [at for at in _deadlines(vr) if at is not None]
    return min(running, default=None)


def _deadlines(vr: VirtualRouter) -> tuple[float | None, ...]:
    if vr.relieve_at is not None:
        return (vr.relieve_at,)
    if vr.stopping or vr.since is None:
        return ()
    changes = tuple(at for _, at in vr.pending.values())
    if vr.state is State.INITIALIZE:
        return (*changes, vr.hold_at, vr.boot_at, vr.patience_at, vr.retry_at)
    if vr.state is State.BACKUP:
        return (*changes, vr.master_down_at, vr.release_at)
    running = (vr.adver_at, vr.announce_at, vr.reannounce_at, vr.defend_at)
    return (*changes, *running, lease_ends_at(vr), bind_ends_at(vr))


def bind_ends_at(vr: VirtualRouter) -> float | None:
    """When a MASTER whose VIPs were neither bound nor refused lets go; None once they are bound."""
    if vr.state is not State.MASTER or vr.bound or vr.since is None:
        return None
    return vr.since + BIND_TIMEOUT


def lease_ends_at(vr: VirtualRouter) -> float | None:
    """When a MASTER without a confirmed refresh yields; None without a running lease.

    Half a second before the kernel removes the VIPs. A process that was late itself and asks only
    now (see `mastership.late_itself`) gets a quarter of a second for the answer.
    """
    lease = lease_seconds(vr.config)
    if lease is None or vr.leased_at is None:
        return None
    end = vr.leased_at + lease - LEASE_MARGIN
    if vr.refreshed_at > vr.leased_at:
        end = max(end, vr.refreshed_at + LEASE_GRACE)
    return end


def desired(vr: VirtualRouter) -> tuple[Vip, ...]:
    """The VIPs to hold now: all of them (advertised first, then excluded) or none."""
    return vr.config.addresses + vr.config.excluded if serves(vr) else ()


def desired_paths(vr: VirtualRouter) -> tuple[Path, ...]:
    """The routes and rules to have now: all of them, in order, or none."""
    return vr.config.paths if serves(vr) else ()


def serves(vr: VirtualRouter) -> bool:
    """Whether the VIPs are to be held: a MASTER, or one that yielded and is not yet relieved."""
    return vr.state is State.MASTER or vr.release_at is not None


def stopped(vr: VirtualRouter) -> bool:
    """Whether an orderly stop is complete: relieved, and the kernel holds nothing of ours."""
    return vr.stopping and vr.state is not State.MASTER and not vr.holding


def faults(vr: VirtualRouter) -> tuple[str, ...]:
    """Why this router may not take part, in words; empty when it may."""
    found = own_faults(vr)
    return (*found, vr.group_fault) if vr.group_fault else found


def own_faults(vr: VirtualRouter) -> tuple[str, ...]:
    """The faults that are not the sync group's."""
    found = []
    if not vr.link_up:
        how = "does not exist" if OWN_LINK in vr.missing else "is down"
        found.append(f"interface {vr.config.interface} {how}")
    elif vr.source is None:
        kind = "IPv4" if vr.config.family is Family.INET else "IPv6 link-local"
        found.append(f"interface {vr.config.interface} has no {kind} address to send from")
    elif vr.config.usevmac and vr.vmac:
        found.append(vr.vmac)
    for track in vr.config.tracks:
        if not track.weight and known(vr, track) is track.reverse:
            found.append(_fault_of(vr, track))
        elif contribution(vr, track) <= FILE_FAULT:
            reverse = " reverse" if track.reverse else ""
            found.append(f"{_fault_of(vr, track)}, times weight {track.weight}{reverse}")
    if vr.retry_at is not None:
        found.append(f"cannot hold the {vr.failure}")
    return tuple(found)


def _fault_of(vr: VirtualRouter, track: Track) -> str:
    if track.kind is TrackKind.FILE:
        return f"file {track.name} holds {vr.numbers.get((track.kind, track.name), 0)}"
    if known(vr, track):
        return f"{track.kind} {track.name} is up (reverse)"
    return f"{track.kind} {track.name} {'does not exist' if absent(vr, track) else 'is down'}"


def absent(vr: VirtualRouter, track: Track) -> bool:
    """Whether a tracked interface is not there at all."""
    return track.kind is TrackKind.INTERFACE and track.name in vr.missing


def known(vr: VirtualRouter, track: Track) -> bool | None:
    """Whether a tracked object is up; None before its first word."""
    return vr.tracked.get((track.kind, track.name))


def waiting(vr: VirtualRouter) -> str:
    """What a faultless router still waits for before it leaves INITIALIZE, "" for nothing.

    The interface of a virtual MAC, an explicit startupdelay and a delayafterboot are waited for in
    any case. The child's word on
    the services, and the first word of each script whose failure is a fault, are waited for within
    `patience_at`.
    """
    if vr.config.usevmac and vr.vmac is None:
        return f"waiting for interface {vr.config.usevmac}"
    if vr.hold_at is not None:
        return f"waiting for startupdelay of {vr.config.startupdelay:g} s"
    if vr.boot_at is not None:
        return f"waiting until {vr.config.delayafterboot:g} s after boot"
    if vr.patience_at is None:
        return ""
    if vr.config.has_services and not vr.ready:
        return "waiting for services"
    for track in vr.config.tracks:
        if track.kind in _ASKED and not track.weight and known(vr, track) is None:
            return f"waiting for {track.kind} {track.name}"
    return ""


def reported_state(vr: VirtualRouter) -> str:
    """`master`, `backup`, `fault` or `initialize`, as told outside by `StateChanged`."""
    if vr.reported is State.INITIALIZE and not vr.stopping and faults(vr):
        return "fault"
    return str(vr.reported)


def effective_priority(vr: VirtualRouter) -> int:
    """The priority to advertise.

    255 for an owner whatever is tracked; else base and weights, clamped to 1–254; 1 while the
    director child is lost. An object that has not reported yet has no weight.
    """
    if vr.child_lost:
        return LAST_RESORT
    if vr.config.priority == OWNER:
        return OWNER
    total = vr.config.priority + sum(contribution(vr, track) for track in vr.config.tracks)
    return max(1, min(OWNER - 1, total))


def contribution(vr: VirtualRouter, track: Track) -> int:
    """What a tracked object adds to the priority now."""
    weight = -track.weight if track.reverse else track.weight
    if track.kind is TrackKind.FILE:
        return vr.numbers.get((track.kind, track.name), 0) * weight
    up = known(vr, track)
    return weight if up is not None and up == (track.weight > 0) else 0


def patience(vr: VirtualRouter) -> float:
    """This router's master-down interval, with the interval it presently believes in."""
    config = vr.config
    return master_down_interval(
        config.version, effective_priority(vr), vr.master_interval, config.downtimeradverts
    )


def advertisement(vr: VirtualRouter, priority: int) -> Advertisement:
    """What `SendAdvert(priority)` puts on the wire."""
    config = vr.config
    return Advertisement(
        version=config.version,
        vrid=config.vrid,
        priority=priority,
        interval=config.advertint,
        addresses=tuple(vip.address for vip in config.addresses),
        authpass=config.authpass[:8],
        auth_type=AUTH_PASS if config.authpass else AUTH_NONE,
        pseudo_header=not config.v3checksumasv2,
    )


def destinations(vr: VirtualRouter) -> tuple[IPAddress, ...]:
    """Where adverts go: the multicast group, or the peers without ourselves.

    One file may serve both directors, so our own address among the peers is no mistake.
    """
    if not vr.config.peers:
        return (MULTICAST[vr.config.family],)
    return tuple(peer for peer in vr.config.peers if peer != vr.source)


def hops(vr: VirtualRouter) -> int:
    """The TTL or hop limit to send with: RFC 5798 §5.1.1.3, except for unicast as configured."""
    return vr.config.unicastttl if vr.config.peers else TTL


def counters(vr: VirtualRouter) -> Mapping[str, int]:
    """Every counter, zeros included, in a fixed order."""
    return {name: vr.counters.get(name, 0) for name in COUNTERS}
