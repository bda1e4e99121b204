"""The state machine: `step` takes a router, an event and the time, and gives the next router.

RFC 3768 §6.4 and RFC 5798 §6.4 with keepalived's answers where they are silent. One function per
state. What leaves MASTER (yielding, faults, stops) is in `departure`; this file is the rest.

Orders that matter: advert, then VIPs (`desired` has them from the same step on), then the
announcement once the kernel confirmed them. A MASTER that slept longer than its peers' patience
listens for one interval before it speaks, whatever woke it.
"""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.model import Family
from lvsd.core.vrrp.debounce import believed, held_back, noted
from lvsd.core.vrrp.departure import (
    change,
    listen,
    overslept,
    relief,
    relieved_backup,
    resume,
    retreat,
    shutdown,
    step_down,
    vips_failed,
    vips_released,
)
from lvsd.core.vrrp.duplicates import claimed
from lvsd.core.vrrp.events import (
    AddressListDiffers,
    AdvertReceived,
    AdvertRejected,
    Announce,
    ChecksumReadingDiffers,
    ChildLost,
    DeadlineReached,
    Effect,
    Event,
    LeaseRefreshed,
    LinkChanged,
    NeighbourAnnounced,
    Reconfigured,
    Resume,
    ServicesReady,
    Shutdown,
    SourceChanged,
    Startup,
    State,
    StepDown,
    TrackChanged,
    VipsBound,
    VipsFailed,
    VipsLost,
    VipsReleased,
    VmacChanged,
)
from lvsd.core.vrrp.mastership import (
    master_deadline,
    master_heard,
    promote,
    refresh_changed,
    vips_bound,
)
from lvsd.core.vrrp.router import (
    OWNER,
    VirtualRouter,
    desired,
    effective_priority,
    faults,
    patience,
    waiting,
)
from lvsd.core.vrrp.sending import Stepped, count
from lvsd.core.vrrp.timers import (
    STARTUP_DELAY,
    lease_seconds,
    skew_time,
)

_Fact = LinkChanged | SourceChanged | TrackChanged | VmacChanged | ServicesReady | ChildLost


def step(vr: VirtualRouter, event: Event, now: float) -> Stepped:
    """The router after `event` at `now`, and what must happen once because of it.

    Pure. `now` never goes back. Received packets are told before a DeadlineReached of the same
    wake-up, else a stalled loop takes an advert for lost that is already there.
    """
    if overslept(vr, now):
        awake, said = listen(vr, now)
        after, effects = _dispatch(awake, event, now)
        return after, said + effects
    return _dispatch(vr, event, now)


def _dispatch(vr: VirtualRouter, event: Event, now: float) -> Stepped:
    """What is the same in every state; the rest goes to the state's own function."""
    match event:
        case Startup(uptime=uptime):
            return _startup(vr, uptime, now)
        case (
            LinkChanged()
            | SourceChanged()
            | TrackChanged()
            | VmacChanged()
            | ServicesReady()
            | ChildLost()
        ):
            vr = noted(vr, event)
            if (holding := held_back(vr, event, now)) is not None:
                return holding, ()
            return reconsider(vr, _learn(vr, event), now)
        case Reconfigured(config=config):
            return (vr, ()) if config == vr.config else _reconfigured(vr, event, now)
        case Shutdown():
            return shutdown(vr, now)
        case StepDown():
            return step_down(vr, now)
        case Resume():
            leaving = vr.relieve_at is not None
            return _going_on(resume(vr, now), now) if leaving else resume(vr, now)
        case VipsReleased():
            return vips_released(vr)
        case AdvertRejected(reason=reason):
            return count(vr, f"rejected_{reason}"), ()
        case AdvertReceived():
            vr, said = _heard(vr, event, now)
            after, effects = _on_advert(vr, event, now)
            return after, said + effects
        case DeadlineReached():
            vr, said = reconsider(vr, believed(vr, now), now) if vr.pending else (vr, ())
            after, effects = _on_deadline(vr, event, now)
            return after, said + effects
        case NeighbourAnnounced() if vr.release_at is not None:
            return relieved_backup(vr, event), ()
        case NeighbourAnnounced():
            return (claimed if vr.relieve_at is None else relief)(vr, event, now)
        case LeaseRefreshed() if vr.bound:
            return replace(vr, leased_at=vr.refreshed_at), ()
        case VipsBound() if vr.state is State.MASTER and not vr.relieved_by:
            # Also on the way out: a step-down may fail, and nobody would announce a new VIP.
            return vips_bound(vr, now)
        case VipsFailed() if _serving(vr):
            return vips_failed(vr, event, now)
        case VipsLost(addresses=lost) if _serving(vr):
            kept = tuple(address for address in vr.announced if address not in lost)
            return replace(count(vr, "vips_lost"), announced=kept), ()
        case _:
            return vr, ()


def _on_advert(vr: VirtualRouter, event: AdvertReceived, now: float) -> Stepped:
    if vr.relieve_at is not None:
        return relief(vr, event, now)
    if vr.state is State.BACKUP:
        return _backup_heard(vr, event, now)
    if vr.state is State.MASTER:
        return master_heard(vr, event, now)
    return vr, ()


def _on_deadline(vr: VirtualRouter, event: DeadlineReached, now: float) -> Stepped:
    if vr.relieve_at is not None:
        return _going_on(relief(vr, event, now), now)
    if vr.state is State.BACKUP:
        return _backup_deadline(vr, now)
    if vr.state is State.MASTER:
        return master_deadline(vr, now)
    return _initialize_deadline(vr, now)


def _going_on(stepped: Stepped, now: float) -> Stepped:
    """A step-down that failed: what a MASTER had to do meanwhile is done now."""
    vr, effects = stepped
    if vr.state is not State.MASTER or vr.relieve_at is not None:
        return vr, effects
    vr, more = master_deadline(vr, now)
    return vr, more + effects


def _serving(vr: VirtualRouter) -> bool:
    """MASTER and not on its way out: then the kernel's word on the VIPs counts."""
    return vr.state is State.MASTER and vr.relieve_at is None


# --- what every state has -------------------------------------------------------------------


def _startup(vr: VirtualRouter, uptime: float | None, now: float) -> Stepped:
    if vr.since is not None or vr.stopping:
        return vr, ()
    delay = vr.config.startupdelay
    booting = 0.0 if uptime is None else max(0.0, vr.config.delayafterboot - uptime)
    begun = replace(
        vr,
        since=now,
        hold_at=now + delay if delay else None,
        boot_at=now + booting if booting else None,
        patience_at=now + max(delay or 0.0, booting, STARTUP_DELAY),
    )
    return reconsider(begun, begun, now)


def _learn(vr: VirtualRouter, fact: _Fact) -> VirtualRouter:
    """The router's picture of the world with one fact changed."""
    match fact:
        case LinkChanged(up=up):
            return replace(vr, link_up=up)
        case SourceChanged(source=source):
            ours = source if vr.state is State.MASTER else vr.master
            return replace(vr, source=source, master=ours)
        case TrackChanged(track=track, up=up, number=number):
            key = (track.kind, track.name)
            numbers = {**vr.numbers, key: number}
            return replace(vr, tracked={**vr.tracked, key: up}, numbers=numbers)
        case VmacChanged(problem=problem):
            return replace(vr, vmac=problem)
        case ServicesReady(ready=ready):
            return replace(vr, ready=ready)
    return replace(vr, child_lost=fact.lost)


def reconsider(old: VirtualRouter, vr: VirtualRouter, now: float) -> Stepped:
    """Follow a changed picture of the world: faults, the end of INITIALIZE, a moved timer."""
    if vr.since is None or (vr.stopping and vr.state is not State.MASTER):
        return vr, ()
    found = faults(vr)
    if found and vr.state is not State.INITIALIZE:
        return retreat(vr, "; ".join(found), now)
    if vr.state is State.INITIALIZE:
        holdup = "; ".join(found) or waiting(vr)
        if holdup:
            return change(vr, State.INITIALIZE, holdup, now)
        return _begin(vr, now, recovered=bool(faults(old)))
    if vr.state is State.BACKUP and vr.master_down_at is not None:
        # keepalived shifts the running timer by the change of skew instead of restarting it.
        vr = replace(vr, master_down_at=max(now, vr.master_down_at + patience(vr) - patience(old)))
    return vr, ()


def _begin(vr: VirtualRouter, now: float, *, recovered: bool) -> Stepped:
    """Leave INITIALIZE: as BACKUP with full patience, an owner as MASTER at once."""
    vr = replace(
        vr,
        patience_at=None,
        master_interval=vr.config.advertint,
        heard_at=now,
        preempt_at=None,
        wants_master=False,
        takeover="",
        master=None,
    )
    vr, effects = change(vr, State.BACKUP, "fault cleared" if recovered else "started", now)
    if effective_priority(vr) == OWNER and not vr.stepped_down:
        vr, more = _claim(vr, "address owner", now)
        return vr, effects + more
    vr = replace(vr, master_down_at=now + patience(vr))
    if recovered and vr.config.peers and vr.source is not None:
        # Peers may have forgotten our address while the link was down (keepalived #1283).
        effects += (Announce((vr.source,), count=1),)
    return vr, effects


def _reconfigured(vr: VirtualRouter, event: Reconfigured, now: float) -> Stepped:
    config, old = event.config, vr
    assert config.key == vr.config.key
    if lease_seconds(config) != lease_seconds(vr.config) and vr.leased_at is not None:
        vr = replace(vr, leased_at=now, refreshed_at=now - config.advertint)
    if config.version == 2 or config.version != vr.config.version:
        vr = replace(vr, master_interval=config.advertint)
    if config.v3checksumasv2 != vr.config.v3checksumasv2:
        vr = replace(vr, heard_pseudo_header=None)  # compared anew with the next advert
    vr = replace(vr, config=config, release_at=None)
    wished = {vip.address for vip in desired(vr)}
    vr = replace(vr, announced=tuple(a for a in vr.announced if a in wished))
    if config.usevmac != old.config.usevmac:
        # The addresses have another MAC from now on, which the neighbours must be told.
        vr = replace(vr, vmac=None, announced=())
    if vr.adver_at is not None:
        vr = replace(vr, adver_at=min(vr.adver_at, now + config.advertint))
    if config.garpmasterrefresh != old.config.garpmasterrefresh:
        vr = refresh_changed(vr, now)
    if not config.startupdelay:
        vr = replace(vr, hold_at=None)
    if not config.delayafterboot:
        vr = replace(vr, boot_at=None)
    if vr.wants_master and not config.syncgroup and not faults(vr):
        return promote(vr, now)
    return reconsider(old, vr, now)


def _heard(vr: VirtualRouter, event: AdvertReceived, now: float) -> Stepped:
    """Count an advert; say once when a peer's checksums, or its addresses, differ from ours."""
    vr = replace(count(vr, "adverts_received"), heard_from=event.source, advert_at=now)
    advert = event.advert
    if advert.priority == 0:
        vr = count(vr, "priority_zero_received")
    if advert.interval != vr.config.advertint:
        vr = count(vr, "interval_differs")
    vr, news = _read(vr, event)
    ours = {vip.address for vip in vr.config.addresses}
    if set(advert.addresses) == ours:
        return replace(vr, differs=False, theirs=()), news
    if not vr.differs:
        news += (AddressListDiffers(event.source, advert.addresses),)
    vr = replace(vr, differs=True, theirs=advert.addresses)
    return count(vr, "address_list_differs"), news


def _read(vr: VirtualRouter, event: AdvertReceived) -> Stepped:
    """Note how version 3's checksum over IPv4 is made; a change away from our way is news."""
    if event.advert.version != 3 or vr.config.family is not Family.INET:
        return vr, ()
    theirs = event.advert.pseudo_header
    news: tuple[Effect, ...] = ()
    if theirs is vr.config.v3checksumasv2 and theirs is not vr.heard_pseudo_header:
        news = (ChecksumReadingDiffers(event.source, theirs),)
    return replace(vr, heard_pseudo_header=theirs), news


# --- INITIALIZE -----------------------------------------------------------------------------


def _initialize_deadline(vr: VirtualRouter, now: float) -> Stepped:
    """Holds that have run out are forgotten."""

    def running(at: float | None) -> float | None:
        return at if at is not None and at > now else None

    after = replace(
        vr,
        hold_at=running(vr.hold_at),
        boot_at=running(vr.boot_at),
        patience_at=running(vr.patience_at),
        retry_at=running(vr.retry_at),
    )
    return reconsider(vr, after, now)


# --- BACKUP ---------------------------------------------------------------------------------


def _backup_heard(vr: VirtualRouter, event: AdvertReceived, now: float) -> Stepped:
    """RFC 5798 §6.4.2. A lower bidder that may be preempted leaves the timer running down."""
    theirs, ours = event.advert.priority, effective_priority(vr)
    if theirs == 0:
        skew = skew_time(vr.config.version, ours, vr.master_interval)
        down_at = None if vr.wants_master else now + skew
        return replace(vr, master_down_at=down_at, takeover=f"{event.source} gave up"), ()
    if theirs >= ours:
        return _accept(replace(vr, preempt_at=None), event, now), ()
    vr = count(vr, "lower_priority_heard")
    if not vr.config.preempt or vr.stepped_down:
        return _accept(vr, event, now), ()
    if vr.config.preemptdelay:
        if vr.preempt_at is None:
            vr = replace(vr, preempt_at=now + vr.config.preemptdelay)
        if vr.preempt_at is not None and now < vr.preempt_at:
            return _accept(vr, event, now), ()
    words = f"priority {ours} preempts {theirs} of {event.source}"
    return replace(vr, master=event.source, heard_at=now, takeover=words), ()


def _accept(vr: VirtualRouter, event: AdvertReceived, now: float) -> VirtualRouter:
    """The sender is the master: its interval is learnt (version 3) and the timer restarts."""
    vr = replace(
        vr,
        master=event.source,
        heard_at=now,
        master_interval=event.advert.interval,
        wants_master=False,
        takeover="",
    )
    return replace(vr, master_down_at=now + patience(vr))


def _backup_deadline(vr: VirtualRouter, now: float) -> Stepped:
    if vr.release_at is not None and now >= vr.release_at:
        vr = replace(vr, release_at=None)
    if vr.master_down_at is None or now < vr.master_down_at:
        return vr, ()
    whom = f"from {vr.master} " if vr.master is not None else ""
    silence = f"no advert {whom}for {now - vr.heard_at:.1f} s"
    return _claim(vr, vr.takeover or silence, now)


def _claim(vr: VirtualRouter, reason: str, now: float) -> Stepped:
    """Become MASTER, or say so and wait for the rest of the sync group."""
    vr = replace(vr, master_down_at=None, wants_master=True, takeover=reason)
    return (vr, ()) if vr.config.syncgroup else promote(vr, now)
