"""Interfaces that flap: a change counts once it has lasted (keepalived's interface_up_down_delays).

The own interface and tracked ones are treated alike. What is told before `Startup`, or of an
interface never heard of, counts at once.
"""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.model import TrackKind
from lvsd.core.vrrp.events import Event, LinkChanged, TrackChanged
from lvsd.core.vrrp.router import OWN_LINK, VirtualRouter


def held_back(vr: VirtualRouter, event: Event, now: float) -> VirtualRouter | None:
    """The router that remembers a change it does not believe yet; None when the event counts now.

    An interface that is back as it was before the delay has passed leaves no trace.
    """
    match event:
        case LinkChanged(up=up):
            name, present = OWN_LINK, vr.link_up
        case TrackChanged(track=track, up=up) if track.kind is TrackKind.INTERFACE:
            known = vr.tracked.get((track.kind, track.name))
            name, present = track.name, up if known is None else known
        case _:
            return None
    if up is present:
        pending = {n: wait for n, wait in vr.pending.items() if n != name}
        return replace(vr, pending=pending) if name in vr.pending else None
    delay = vr.config.interfaceupdelay if up else vr.config.interfacedowndelay
    if vr.since is None or not delay:
        return None
    if name in vr.pending:
        return vr
    return replace(vr, pending={**vr.pending, name: (up, now + delay)})


def noted(vr: VirtualRouter, event: Event) -> VirtualRouter:
    """The router that knows at once which interfaces exist: for the words, whatever is believed."""
    match event:
        case LinkChanged(exists=exists):
            name = OWN_LINK
        case TrackChanged(track=track, exists=exists) if track.kind is TrackKind.INTERFACE:
            name = track.name
        case _:
            return vr
    missing = vr.missing - {name} if exists else vr.missing | {name}
    return vr if missing == vr.missing else replace(vr, missing=missing)


def believed(vr: VirtualRouter, now: float) -> VirtualRouter:
    """The router with every change that has lasted for its delay by `now`."""
    due = {name: up for name, (up, at) in vr.pending.items() if at <= now}
    if not due:
        return vr
    tracked = {(TrackKind.INTERFACE, name): up for name, up in due.items() if name != OWN_LINK}
    return replace(
        vr,
        pending={name: wait for name, wait in vr.pending.items() if name not in due},
        link_up=due.get(OWN_LINK, vr.link_up),
        tracked={**vr.tracked, **tracked},
    )
