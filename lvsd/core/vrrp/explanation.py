"""Why a router is, or is not, master: what an operator wants to read beside state and reason."""

from __future__ import annotations

from lvsd.core.model import Family, Track, TrackKind
from lvsd.core.packet import Reason
from lvsd.core.vrrp.events import State
from lvsd.core.vrrp.router import (
    LAST_RESORT,
    OWNER,
    VirtualRouter,
    absent,
    contribution,
    effective_priority,
    known,
)

#: Adverts that go unanswered before silence is worth a word.
_UNANSWERED = 10


def priority_parts(vr: VirtualRouter) -> tuple[str, ...]:
    """How the effective priority comes about; empty where it is simply the configured one."""
    base = vr.config.priority
    if vr.child_lost:
        return (f"base {base}", f"{LAST_RESORT} while the director process is lost")
    weighed = [track for track in vr.config.tracks if track.weight]
    if base == OWNER or not weighed:
        return ()
    parts = (f"base {base}", *(_part(vr, track) for track in weighed))
    total = base + sum(contribution(vr, track) for track in weighed)
    effective = effective_priority(vr)
    return parts if total == effective else (*parts, f"kept within 1 to 254: {effective}")


def _part(vr: VirtualRouter, track: Track) -> str:
    up = known(vr, track)
    how = "not judged yet" if up is None else "up" if up else "down"
    if up is False and absent(vr, track):
        how = "does not exist"
    if track.kind is TrackKind.FILE and up is not None:
        how = f"holds {vr.numbers.get((track.kind, track.name), 0)}"
    return f"{track.kind} {track.name} {contribution(vr, track):+d} ({how})"


def checksum_reading(vr: VirtualRouter) -> str:
    """How the peer's version 3 checksum is made over IPv4; "" where that is no question."""
    if vr.config.version != 3 or vr.config.family is not Family.INET:
        return ""
    return "" if vr.heard_pseudo_header is None else _reading(vr.heard_pseudo_header)


def checksum_advice(pseudo_header: bool) -> str:
    """What a peer does whose reading is not ours, and the word that would align us with it."""
    word = "no" if pseudo_header else "yes"
    return f"sends checksums {_reading(pseudo_header)}; v3checksumasv2={word} would do so too"


def _reading(pseudo_header: bool) -> str:
    return "with pseudo-header" if pseudo_header else "without pseudo-header"


def notes(vr: VirtualRouter) -> tuple[str, ...]:
    """What deserves a look: silence, dropped adverts, a peer that is configured otherwise."""
    found = []
    sent, heard = (vr.counters.get(f"adverts_{what}", 0) for what in ("sent", "received"))
    if sent >= _UNANSWERED and not heard:
        where = "the peers" if vr.config.peers else f"interface {vr.config.interface}"
        found.append(f"sent {sent} adverts, heard 0 since the start: nobody else on {where}")
    counts = {reason: vr.counters.get(f"rejected_{reason}", 0) for reason in Reason}
    dropped = [f"{reason} {count}" for reason, count in counts.items() if count]
    if dropped:
        found.append(f"adverts dropped: {', '.join(dropped)}")
    if vr.theirs:
        found.append(
            f"{vr.heard_from} advertises other addresses: {', '.join(map(str, vr.theirs))}"
        )
    if vr.state is State.BACKUP and vr.master and vr.master_interval != vr.config.advertint:
        theirs, ours = f"{vr.master_interval:g}", f"{vr.config.advertint:g}"
        found.append(f"{vr.master} advertises every {theirs} s, this router would every {ours} s")
    if vr.heard_pseudo_header is vr.config.v3checksumasv2:
        found.append(f"{vr.heard_from} {checksum_advice(vr.heard_pseudo_header)}")
    return tuple(found)
