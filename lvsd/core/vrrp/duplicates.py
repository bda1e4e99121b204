"""Somebody else announces an address that this MASTER holds: a second owner.

What belongs to a hand-over is no alarm: the first second of a mastership (the former master's last
words, answered at the end of it) and a router that waits to be relieved. A better master needs no
window: its advert precedes its announcement and we are BACKUP by then.

Each claim is counted, told at most once a second and once a minute per address, and answered with
an announcement of our own, at most once a second, so that the clients come back. The last answer
follows the last claim. The alarm ends after a minute of silence, or with the mastership.
"""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.model import IPAddress
from lvsd.core.vrrp.events import (
    Announce,
    Claim,
    DuplicateOwnerHeard,
    Effect,
    NeighbourAnnounced,
)
from lvsd.core.vrrp.router import VirtualRouter, desired
from lvsd.core.vrrp.sending import Stepped, count

#: Seconds after becoming MASTER in which others may still announce what was theirs.
HANDOVER_WINDOW = 1.0
#: Seconds between two answers, and between two events, at least.
DEFENCE_INTERVAL = 1.0
TELLING_INTERVAL = 1.0
#: Seconds for which an address that was told is not told again, and after which one is forgotten.
REPEAT_INTERVAL = 60.0
SILENCE = 60.0
#: Claimants remembered: a neighbour with ever new MACs must not fill the memory.
MOST_CLAIMS = 16


def claimed(vr: VirtualRouter, event: NeighbourAnnounced, now: float) -> Stepped:
    """Another MAC announced one of our VIPs; a MASTER past the hand-over makes an alarm of it."""
    if vr.since is None or all(vip.address != event.address for vip in desired(vr)):
        return vr, ()
    if now - vr.since < HANDOVER_WINDOW:
        return _answer_at(vr, event.address, vr.since + HANDOVER_WINDOW), ()
    vr, told = _remember(count(vr, "duplicate_owner"), event, now)
    vr, answer = _defend(vr, event.address, now)
    return vr, told + answer


def defence_due(vr: VirtualRouter, now: float) -> Stepped:
    """One announcement of everything claimed since the last one."""
    addresses = tuple(a for a in vr.undefended if a in vr.announced)
    vr = replace(vr, defend_at=None, defended_at=now, undefended=())
    return vr, (Announce(addresses, 1),) if addresses else ()


def alarms(vr: VirtualRouter, now: float) -> tuple[str, ...]:
    """The claims of the last minute in words, newest first; empty while all is well."""
    ours = {vip.address for vip in desired(vr)}
    return tuple(
        f"second owner: {claim.address} was announced by {claim.by or 'another host'} "
        f"{max(0.0, now - claim.heard_at):.0f} s ago"
        for claim in sorted(vr.claims, key=lambda c: -c.heard_at)
        if now - claim.heard_at < SILENCE and claim.address in ours
    )


def _remember(vr: VirtualRouter, event: NeighbourAnnounced, now: float) -> Stepped:
    """Note the claim; the event, unless the address was told lately or another just now."""
    who = (event.address, event.by)
    known = next((c for c in vr.claims if (c.address, c.by) == who), None)
    told = [(c.told_at, c.address) for c in vr.claims if c.told_at is not None]
    last_told = max((at for at, _ in told), default=None)
    told_at = max((at for at, address in told if address == event.address), default=None)
    effects: tuple[Effect, ...] = ()
    fresh = told_at is None or now - told_at >= REPEAT_INTERVAL
    if fresh and (last_told is None or now - last_told >= TELLING_INTERVAL):
        told_at = now
        effects = (DuplicateOwnerHeard(event.address, event.by),)
    others = tuple(c for c in vr.claims if c is not known and now - c.heard_at < SILENCE)
    claim = Claim(event.address, event.by, now, told_at)
    return replace(vr, claims=(*others, claim)[-MOST_CLAIMS:]), effects


def _defend(vr: VirtualRouter, address: IPAddress, now: float) -> Stepped:
    due_at = now if vr.defended_at is None else vr.defended_at + DEFENCE_INTERVAL
    vr = _answer_at(vr, address, due_at)
    return defence_due(vr, now) if vr.undefended and now >= due_at else (vr, ())


def _answer_at(vr: VirtualRouter, address: IPAddress, due_at: float) -> VirtualRouter:
    """Announce the address then; one that waits for the kernel's word is announced anyway."""
    if address not in vr.announced:
        return vr
    undefended = tuple(dict.fromkeys((*vr.undefended, address)))
    return replace(vr, undefended=undefended, defend_at=due_at)
