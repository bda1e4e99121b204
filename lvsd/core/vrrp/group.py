"""All routers of one daemon, keyed by `RouterConfig.key`; sync groups move together.

The shell's only door: it feeds events to one router (or to all) and performs the effects, each
of which comes with its router's key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lvsd.core.model import Family, IPAddress, RouterConfig, Vip
from lvsd.core.vrrp.events import Effect, Event
from lvsd.core.vrrp.router import VirtualRouter

Key = tuple[str, int, Family]
Effects = tuple[tuple[Key, Effect], ...]


@dataclass(frozen=True, slots=True)
class VirtualRouters:
    """Immutable: each verb returns the new collection. Iterate over `routers` for status."""

    routers: Mapping[Key, VirtualRouter] = field(default_factory=dict)
    #: Routers to create again once their stopping namesake is gone.
    waiting: Mapping[Key, tuple[RouterConfig, IPAddress | None]] = field(default_factory=dict)

    def configure(
        self,
        configs: Sequence[RouterConfig],
        sources: Mapping[Key, IPAddress | None],
        now: float,
    ) -> tuple[VirtualRouters, Effects]:
        """The routers of a new configuration.

        New ones are created with their source but not started: tell them link and tracks, then
        `Startup`. Known ones get `Reconfigured`. The others stop in order as by `Shutdown` and
        leave the collection when they are stopped.
        """

    def receive(
        self,
        interface: str,
        message: bytes,
        *,
        source: IPAddress,
        destination: IPAddress,
        ttl: int,
    ) -> tuple[Key, Event] | None:
        """Check a VRRP message; the event to step with, or None when no router has its VRID."""

    def step(self, key: Key | None, event: Event, now: float) -> tuple[VirtualRouters, Effects]:
        """Feed an event to one router, or to every router with key None.

        `StepDown`, `Resume` and `Shutdown` to a member of a sync group go to the whole group.
        A key that is not (or no longer) there is ignored.
        """

    def next_deadline(self) -> float | None:
        """The earliest deadline of all; then `step(None, DeadlineReached(), now)`."""

    def desired(self) -> Mapping[Key, tuple[Vip, ...]]:
        """The VIPs to hold now, per router; stopping routers included until they are gone."""

    def stopped(self) -> bool:
        """Whether every router is stopped."""
