"""Sending an advert: the one place that arms the advert timer, counts, and renews the lease."""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.vrrp.events import Effect, RefreshLease, SendAdvert
from lvsd.core.vrrp.router import VirtualRouter
from lvsd.core.vrrp.timers import REFRESH_INTERVAL, REFRESH_SLACK, lease_seconds

Stepped = tuple[VirtualRouter, tuple[Effect, ...]]


def send_advert(vr: VirtualRouter, priority: int, now: float, copies: int = 1) -> Stepped:
    """Send `copies` adverts; the next one is an interval from now.

    The lease is renewed here and nowhere else, so a process that no longer advertises cannot
    keep its VIPs alive (design rule 2).
    """
    vr = count(vr, "adverts_sent", copies)
    if priority == 0:
        vr = count(vr, "priority_zero_sent", copies)
    vr = replace(vr, adver_at=now + vr.config.advertint, sent_at=now)
    effects: tuple[Effect, ...] = (SendAdvert(priority),) * copies
    if _refresh_due(vr, now):
        return replace(vr, refreshed_at=now), (*effects, RefreshLease())
    return vr, effects


def _refresh_due(vr: VirtualRouter, now: float) -> bool:
    """At most once a second, unless the next advert would come too late for the lease."""
    lease = lease_seconds(vr.config)
    if lease is None or not vr.bound:
        return False
    elapsed = now - vr.refreshed_at
    return elapsed >= REFRESH_INTERVAL or elapsed + vr.config.advertint > lease - REFRESH_SLACK


def count(vr: VirtualRouter, name: str, by: int = 1) -> VirtualRouter:
    """The router with one counter raised."""
    return replace(vr, counters={**vr.counters, name: vr.counters.get(name, 0) + by})
