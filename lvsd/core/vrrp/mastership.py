"""MASTER: becoming it, advertising, announcing, and what it makes of other bidders.

Orders that matter: advert, then VIPs (`desired` has them from the same step on), then the
announcement once the kernel confirmed them. The ways out are in `departure`.
"""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.vrrp.departure import (
    change,
    last_word,
    lease_expired,
    vips_refused,
    yield_to,
)
from lvsd.core.vrrp.duplicates import HANDOVER_WINDOW, defence_due
from lvsd.core.vrrp.events import (
    AdvertReceived,
    Announce,
    Effect,
    LowerPriorityHeard,
    State,
)
from lvsd.core.vrrp.router import (
    VirtualRouter,
    bind_ends_at,
    desired,
    effective_priority,
    lease_ends_at,
)
from lvsd.core.vrrp.sending import Stepped, count, send_advert
from lvsd.core.vrrp.timers import BURST_INTERVAL, RETRY_DELAY


def promote(vr: VirtualRouter, now: float) -> Stepped:
    """BACKUP → MASTER: the advert first; `desired` has the VIPs from here on (design rule 1)."""
    vr = replace(
        vr,
        wants_master=False,
        preempt_at=None,
        master=vr.source,
        bound=False,
        announced=(),
        announce_at=None,
        vip_failures=0,
        leased_at=None,
        refreshed_at=now,
    )
    vr, advert = send_advert(vr, effective_priority(vr), now)
    vr, told = change(count(vr, "became_master"), State.MASTER, vr.takeover, now)
    return replace(vr, holding=True, takeover=""), advert + told


def master_heard(vr: VirtualRouter, event: AdvertReceived, now: float) -> Stepped:
    """RFC 5798 §6.4.3; RFC 9568 asks for the answer to a lower bidder."""
    theirs, ours = event.advert.priority, effective_priority(vr)
    if theirs == 0:
        return send_advert(vr, ours, now)
    if theirs > ours:
        return _give_way(vr, event, f"higher priority {theirs} from {event.source}", now)
    assert vr.source is not None  # else it would be a fault
    if theirs == ours:
        if event.source == vr.source:
            return vr, ()  # our own advert, or an address conflict: not an election
        if int(event.source) > int(vr.source):
            words = f"equal priority {theirs} and higher address from {event.source}"
            return _give_way(vr, event, words, now)
    effects: tuple[Effect, ...] = ()
    vr = count(vr, "lower_priority_heard")
    if not vr.config.lowerprionoadvert:
        vr, effects = send_advert(vr, ours, now)
    if vr.since is None or now - vr.since >= HANDOVER_WINDOW:
        effects += (LowerPriorityHeard(event.source, theirs),)  # else the last word of the former
    if vr.announced and vr.config.garplowerpriorepeat and now - vr.burst_at >= BURST_INTERVAL:
        # At most one burst a second, or a hostile neighbour makes us flood the link.
        rounds, delay = vr.config.garplowerpriorepeat, vr.config.garplowerpriodelay
        effects += (Announce(vr.announced, rounds),)
        vr = _burst(vr, rounds, delay, now)
    return vr, effects


def _give_way(vr: VirtualRouter, event: AdvertReceived, reason: str, now: float) -> Stepped:
    """Yield after a last word."""
    vr, farewell = last_word(vr, now)
    vr, told = yield_to(vr, event, reason, now)
    return vr, farewell + told


def _burst(vr: VirtualRouter, rounds: int, delay: float, now: float) -> VirtualRouter:
    """A burst goes out now; the second one follows after `delay` seconds, 0 for none."""
    if not delay:
        return replace(vr, burst_at=now)
    return replace(vr, burst_at=now, announce_at=now + delay, announce_rounds=rounds)


def master_deadline(vr: VirtualRouter, now: float) -> Stepped:
    """The VIPs first, then the advert, then announcements that are due."""
    ends_at = lease_ends_at(vr)
    if ends_at is not None and now >= ends_at and not late_itself(vr, now):
        return lease_expired(vr, now)
    bind_ends = bind_ends_at(vr)
    if bind_ends is not None and now >= bind_ends:
        return vips_refused(vr, "VIPs: no word from the kernel", now)
    effects: tuple[Effect, ...] = ()
    if vr.adver_at is not None and now >= vr.adver_at:
        vr, effects = send_advert(vr, effective_priority(vr), now)
    if vr.announce_at is not None and now >= vr.announce_at:
        if vr.announced:
            effects += (Announce(vr.announced, vr.announce_rounds),)
        vr = replace(vr, announce_at=None)
    if vr.defend_at is not None and now >= vr.defend_at:
        vr, answer = defence_due(vr, now)
        effects += answer
    if vr.reannounce_at is not None and now >= vr.reannounce_at:
        if vr.announced:
            effects += (Announce(vr.announced, vr.config.garpmasterrefreshrepeat),)
        vr = replace(vr, reannounce_at=_next_refresh(vr, now))
    return vr, effects


def late_itself(vr: VirtualRouter, now: float) -> bool:
    """Whether a lease ran out because this process did not run, not because the kernel was silent.

    Its peers are still patient (see `departure.overslept`), so nobody has taken over and none of
    them should: it advertises, asks the kernel now, and yields unless the answer comes at once.
    """
    asked = vr.leased_at is not None and vr.refreshed_at > vr.leased_at
    return vr.bound and not asked and vr.adver_at is not None and vr.adver_at <= now


def _next_refresh(vr: VirtualRouter, now: float) -> float | None:
    return now + vr.config.garpmasterrefresh if vr.config.garpmasterrefresh else None


def refresh_changed(vr: VirtualRouter, now: float) -> VirtualRouter:
    """A reload changed `garpmasterrefresh`: it counts from now, where something is announced."""
    return replace(vr, reannounce_at=_next_refresh(vr, now) if vr.announced else None)


def vips_bound(vr: VirtualRouter, now: float) -> Stepped:
    """Announce what has not been announced yet; the lease runs from the first confirmation."""
    if vr.leased_at is None:
        vr = replace(vr, leased_at=now, refreshed_at=now)
    elif vr.refreshed_at > vr.leased_at:
        vr = replace(vr, leased_at=vr.refreshed_at)  # binding anew renews every lease
    addresses = tuple(vip.address for vip in desired(vr))
    new = tuple(address for address in addresses if address not in vr.announced)
    vr = replace(vr, bound=True, vip_failures=0, retry_delay=RETRY_DELAY, announced=addresses)
    if not new:
        return vr, ()
    if vr.reannounce_at is None:
        vr = replace(vr, reannounce_at=_next_refresh(vr, now))
    rounds = vr.config.garpmasterrepeat
    return _burst(vr, rounds, vr.config.garpmasterdelay, now), (Announce(new, rounds),)
