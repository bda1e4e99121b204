"""All the ways out of MASTER, and the reporting of states.

A better master is yielded to after a last advert: BACKUP at once, but the VIPs *serve until
relieved*, that is, until the new master announces one, 100 ms or one interval at most. An orderly
stop or step-down sends priority 0 and remains MASTER until relieved: until the announcement, else
100 ms after the new master's advert, else after `relief_timeout`. A fault sends priority 0 (twice,
as it may get lost) and lets go at once.

The new role is reported when `desired` is empty and `VipsReleased` says that the kernel has
followed (design rule 1).
"""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.vrrp.events import (
    AdvertReceived,
    DeadlineReached,
    Effect,
    Event,
    NeighbourAnnounced,
    Relieved,
    State,
    StateChanged,
    StepDownFailed,
    VipsFailed,
)
from lvsd.core.vrrp.router import VirtualRouter, desired, effective_priority, patience
from lvsd.core.vrrp.sending import Stepped, count, send_advert
from lvsd.core.vrrp.timers import (
    RELIEF_DELAY,
    RETRY_DELAY_MAX,
    VIP_FAILURES,
    master_down_interval,
    relief_timeout,
    skew_time,
)


def change(vr: VirtualRouter, state: State, reason: str, now: float) -> Stepped:
    """Enter a state, and report it unless VIPs must go first.

    Staying in INITIALIZE with another reason is reported too: waiting and faults look different.
    """
    if vr.state is state and vr.reason == reason:
        return vr, ()
    pending = StateChanged(vr.reported, vr.state, vr.reason)
    left = vr.state is State.MASTER and state is not State.MASTER
    was = vr.state
    vr = replace(vr, state=state, reason=reason, since=now, release_at=None)
    if left:
        vr = _cleared(count(vr, "released_master"))
    if state is not State.MASTER and vr.holding:
        return vr, ()
    effects = (pending,) if pending.old is not pending.new else ()
    return replace(vr, reported=state), (*effects, StateChanged(was, state, reason))


def _cleared(vr: VirtualRouter) -> VirtualRouter:
    """Nothing of a mastership stays behind."""
    return replace(
        vr,
        adver_at=None,
        announce_at=None,
        reannounce_at=None,
        announced=(),
        bound=False,
        leased_at=None,
        relieve_at=None,
        relieved_by="",
        claims=(),
        defend_at=None,
        undefended=(),
    )


def vips_released(vr: VirtualRouter) -> Stepped:
    """The kernel holds nothing of ours any more; a role that waited for this is reported."""
    if desired(vr):
        return vr, ()  # said of an older wish
    old, vr = vr.reported, replace(vr, holding=False, reported=vr.state)
    return vr, () if old is vr.state else (StateChanged(old, vr.state, vr.reason),)


def to_backup(vr: VirtualRouter, reason: str, now: float) -> Stepped:
    """MASTER → BACKUP without a word on the wire; full patience with the interval known."""
    vr = replace(vr, heard_at=now, preempt_at=None, wants_master=False, takeover="")
    vr = replace(vr, master_down_at=now + patience(vr))
    return change(vr, State.BACKUP, reason, now)


def last_word(vr: VirtualRouter, now: float) -> Stepped:
    """A last advert to a better master, which then announces its VIPs again.

    Where both were MASTER (a healed partition, a machine that stood still) the clients may have
    heard us last, and the better one has no other sign of us: it would announce nothing.
    """
    if not vr.config.higherpriosendadvert:
        return vr, ()
    return send_advert(replace(vr, bound=False), effective_priority(vr), now)


def yield_to(vr: VirtualRouter, event: AdvertReceived, reason: str, now: float) -> Stepped:
    """A better master is there; its interval is learnt (version 3)."""
    vr = replace(vr, master=event.source, master_interval=event.advert.interval)
    return to_backup_serving(vr, reason, now)


def to_backup_serving(vr: VirtualRouter, reason: str, now: float) -> Stepped:
    """`to_backup`; what clients know us to have stays until they know better.

    The better master's advert comes before it has the VIPs (design rule 1), so whoever let go on
    hearing it would leave them to nobody for as long as that takes.
    """
    known = bool(vr.announced)
    vr, told = to_backup(vr, reason, now)
    if not known:
        return vr, told
    return replace(vr, release_at=now + min(RELIEF_DELAY, vr.config.advertint)), told


def relieved_backup(vr: VirtualRouter, event: NeighbourAnnounced) -> VirtualRouter:
    """Whom one yielded to has announced a VIP: it is there, and ours go."""
    ours = any(vip.address == event.address for vip in desired(vr))
    return replace(vr, release_at=None) if ours else vr


def retreat(vr: VirtualRouter, reason: str, now: float) -> Stepped:
    """To INITIALIZE because of a fault, with priority 0 if it was MASTER and can still speak."""
    farewell: tuple[Effect, ...] = ()
    if vr.state is State.MASTER and vr.link_up and vr.source is not None:
        vr, farewell = send_advert(replace(vr, bound=False), 0, now, copies=2)
    relieving = vr.relieve_at is not None
    vr = replace(vr, master_down_at=None, wants_master=False, master=None)
    vr, told = change(vr, State.INITIALIZE, reason, now)
    effects = farewell + told
    return vr, (*effects, Relieved(reason)) if relieving else effects


def overslept(vr: VirtualRouter, now: float) -> bool:
    """Whether a MASTER was silent for longer than the keenest possible peer waits."""
    if vr.state is not State.MASTER or vr.relieve_at is not None:
        return False
    config = vr.config
    keenest = master_down_interval(config.version, 255, config.advertint, config.downtimeradverts)
    return now - vr.sent_at > keenest


def listen(vr: VirtualRouter, now: float) -> Stepped:
    """A peer has taken over by now if there is one; hear it out for an interval (design rule 4)."""
    vr = replace(vr, master=None, master_interval=vr.config.advertint)
    slept = now - vr.sent_at
    vr, effects = to_backup(vr, f"slept for {slept:.1f} s, listening first", now)
    skew = skew_time(vr.config.version, effective_priority(vr), vr.config.advertint)
    return replace(vr, master_down_at=now + vr.config.advertint + skew), effects


def lease_expired(vr: VirtualRouter, now: float) -> Stepped:
    """The kernel did not confirm a refresh in time: the VIPs are about to vanish, so yield."""
    vr, farewell = send_advert(replace(vr, bound=False), 0, now, copies=2)
    vr = replace(vr, master=None, master_interval=vr.config.advertint)
    vr, told = to_backup(vr, "the lease of the VIPs was not refreshed in time", now)
    return vr, farewell + told


def vips_failed(vr: VirtualRouter, event: VipsFailed, now: float) -> Stepped:
    """Several refusals in a row are too many."""
    vr = replace(vr, vip_failures=vr.vip_failures + 1)
    if vr.vip_failures < VIP_FAILURES:
        return vr, ()
    return vips_refused(vr, f"{event.what}: {event.error}", now)


def vips_refused(vr: VirtualRouter, failure: str, now: float) -> Stepped:
    """Stop advertising what cannot be held, and try again later."""
    later = min(vr.retry_delay * 2, RETRY_DELAY_MAX)
    vr = replace(vr, failure=failure, retry_at=now + vr.retry_delay, retry_delay=later)
    return retreat(vr, f"cannot hold the {failure}", now)


# --- orderly stop and step-down -------------------------------------------------------------


def shutdown(vr: VirtualRouter, now: float) -> Stepped:
    """Stop in order; a BACKUP just stops."""
    if vr.stopping:
        return vr, ()
    vr = replace(vr, stopping=True, wants_master=False, master_down_at=None)
    if vr.state is State.MASTER:
        return (vr, ()) if vr.relieve_at is not None else _serve_on(vr, now)
    return change(vr, State.INITIALIZE, "shut down", now)


def step_down(vr: VirtualRouter, now: float) -> Stepped:
    """Hand mastership over; who has none has already done so."""
    if vr.stopping or vr.relieve_at is not None:
        return vr, ()
    vr = replace(vr, stepped_down=True)
    if vr.state is State.MASTER:
        return _serve_on(vr, now)
    return vr, (Relieved("not master"),)


def resume(vr: VirtualRouter, now: float) -> Stepped:
    """Take part in preemption again; a step-down under way is called off."""
    vr = replace(vr, stepped_down=False)
    if vr.relieve_at is None or vr.stopping:
        return vr, ()
    return _carry_on(vr, "called off", now)


def _serve_on(vr: VirtualRouter, now: float) -> Stepped:
    """Priority 0 now; the VIPs stay until relieved (design rule 1)."""
    vr, effects = send_advert(vr, 0, now)
    relieve_at = now + relief_timeout(vr.config)
    return replace(vr, relieve_at=relieve_at, relieved_by="", adver_at=None), effects


def relief(vr: VirtualRouter, event: Event, now: float) -> Stepped:
    """What happens to a MASTER that waits to be relieved."""
    match event:
        case NeighbourAnnounced(address=address) if any(
            vip.address == address for vip in desired(vr)
        ):
            return _relieved(vr, f"{address} was announced by its new master", now)
        case AdvertReceived(source=source, advert=advert) if advert.priority > 0:
            assert vr.relieve_at is not None
            by = vr.relieved_by or f"{source} took over"
            vr = replace(vr, relieved_by=by, relieve_at=min(vr.relieve_at, now + RELIEF_DELAY))
            return replace(vr, master=source, master_interval=advert.interval), ()
        case DeadlineReached() if vr.relieve_at is not None and now >= vr.relieve_at:
            if vr.relieved_by or vr.stopping:
                return _relieved(vr, vr.relieved_by or "nobody took over in time", now)
            return _carry_on(vr, "nobody took over in time", now)
        case _:
            pass
    return vr, ()


def _relieved(vr: VirtualRouter, reason: str, now: float) -> Stepped:
    if vr.stopping:
        vr, told = change(vr, State.INITIALIZE, f"shut down; {reason}", now)
    else:
        vr, told = to_backup(vr, f"stepped down; {reason}", now)
    return vr, (*told, Relieved(reason))


def _carry_on(vr: VirtualRouter, reason: str, now: float) -> Stepped:
    """Nobody relieved us: MASTER as before, and an advert is due at once."""
    vr = replace(vr, relieve_at=None, relieved_by="", master=vr.source, adver_at=now)
    return vr, (StepDownFailed(reason),)
