"""One VirtualRouter: RFC 3768 §6.4, RFC 5798 §6.4, with keepalived's choices where they are silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from lvsd.core.model import IPAddress, RouterConfig, TrackKind, Vip
from lvsd.core.packet import Advertisement
from lvsd.core.vrrp.events import AdvertReceived, AdvertRejected, Effect, Event, State


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

    @staticmethod
    def initial(config: RouterConfig, source: IPAddress | None) -> VirtualRouter:
        """A router that has not started: it does nothing until `Startup`."""
        return VirtualRouter(config, source)


Stepped = tuple[VirtualRouter, tuple[Effect, ...]]


def step(vr: VirtualRouter, event: Event, now: float) -> Stepped:
    """The router after `event` at `now`, and what must happen once because of it."""


def next_deadline(vr: VirtualRouter) -> float | None:
    """When `DeadlineReached` is due next; later than `now` after a DeadlineReached at `now`."""


def desired(vr: VirtualRouter) -> tuple[Vip, ...]:
    """The VIPs to hold now: all of them (advertised first, then excluded) or none."""


def stopped(vr: VirtualRouter) -> bool:
    """Whether an orderly stop is complete: relieved, and the kernel holds nothing of ours."""


def faults(vr: VirtualRouter) -> tuple[str, ...]:
    """Why this router may not take part, in words; empty when it may."""


def reported_state(vr: VirtualRouter) -> str:
    """`master`, `backup`, `fault` or `initialize`, as told outside by `StateChanged`."""


def effective_priority(vr: VirtualRouter) -> int:
    """The priority to advertise: base and weights within 1–254, 255 for an owner, 1 if alone."""


def advertisement(vr: VirtualRouter, priority: int) -> Advertisement:
    """What `SendAdvert(priority)` puts on the wire; needs `vr.source`."""


def destinations(vr: VirtualRouter) -> tuple[IPAddress, ...]:
    """Where adverts go: the multicast group, or the peers without ourselves."""


def counters(vr: VirtualRouter) -> Mapping[str, int]:
    """Every counter, zeros included, in a fixed order."""


def receive(
    vr: VirtualRouter, message: bytes, *, source: IPAddress, destination: IPAddress, ttl: int
) -> AdvertReceived | AdvertRejected:
    """All receive checks, in keepalived's order; the result is an event for `step`."""
