"""One director of the simulation: the shipped core, a clock that drifts, a kernel and a guard.

The core is `lvsd.core.vrrp`, unchanged. The kernel is a dict of bound VIPs with the end of their
lease. The guard is what the shell's guard does once main is dead: it has told priority 0, serves
until a peer is heard, and lets go. Times of the core are the node's own; the rest is the cluster's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lvsd.core.model import IPAddress, RouterConfig
from lvsd.core.vrrp import Event, Key, State, VirtualRouters, lease_seconds

INFINITE = float("inf")
#: The kernel removes an address at most this late (measured).
LEASE_LATENESS = 0.8
#: Two readings of one moment that differ by rounding.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Datagram:
    """A VRRP message on its way."""

    message: bytes
    source: IPAddress
    destination: IPAddress


What = tuple[Key, Event] | Datagram


@dataclass
class Node:
    """A director and its machine."""

    name: str
    source: IPAddress
    configs: tuple[RouterConfig, ...]
    #: The node's clock: seconds per second, and its reading when the cluster's was `epoch`.
    rate: float = 1.0
    reading: float = 0.0
    epoch: float = 0.0
    routers: VirtualRouters = field(default_factory=VirtualRouters)
    #: Held VIP → when the kernel removes it by itself.
    bound: dict[tuple[Key, IPAddress], float] = field(default_factory=dict)
    #: The guard's patience per router, while it outlives main.
    guard: dict[Key, float] = field(default_factory=dict)
    #: What waits in the sockets of a paused process, and what its kernel took away.
    inbox: list[What] = field(default_factory=list)
    lost: list[tuple[Key, IPAddress]] = field(default_factory=list)
    up: bool = False
    paused: bool = False
    frozen: bool = False
    frozen_at: float = 0.0
    stopping: bool = False
    #: Its last life ended in an orderly stop.
    stopped: bool = False
    refusing: bool = False
    link: bool = True
    retry_at: float = 0.0
    #: Invalidates what was scheduled for this node before.
    version: int = 0

    @property
    def awake(self) -> bool:
        """Its main process runs."""
        return self.up and not self.paused and not self.frozen

    @property
    def able(self) -> bool:
        """Awake and with nothing that keeps it from being MASTER, as far as the machine goes."""
        return self.awake and self.link and not self.refusing and not self.stopping

    def time(self, now: float) -> float:
        """The node's clock when the cluster's is `now`."""
        return self.reading + (now - self.epoch) * self.rate

    def moment(self, reading: float) -> float:
        """When, on the cluster's clock, the node's shows `reading`."""
        return self.epoch + (reading - self.reading) / self.rate

    def set_clock(self, now: float, reading: float) -> None:
        """The clock shows `reading` now."""
        self.epoch, self.reading = now, reading

    def step_time(self, now: float) -> float:
        """The time to step with: a deadline reached but for rounding is reached."""
        reading, deadline = self.time(now), self.routers.next_deadline()
        if deadline is not None and 0 < deadline - reading < ROUNDING:
            return deadline
        return reading

    def wished(self) -> set[tuple[Key, IPAddress]]:
        """What the core wants bound."""
        return {(k, vip.address) for k, vips in self.routers.desired().items() for vip in vips}

    def lease_end(self, key: Key, now: float, late: float) -> float:
        """When a VIP bound or refreshed now goes by itself."""
        lease = lease_seconds(self.routers.routers[key].config)
        return INFINITE if lease is None else now + lease / self.rate + late

    def holds(self, address: IPAddress) -> bool:
        """Whether it would answer for an address. A frozen machine answers nothing."""
        return not self.frozen and any(held == address for _, held in self.bound)

    def glyph(self) -> str:
        """`M` master, `B` backup, `I` initialize, `z` paused, `g` guard, `.` dead; `*` holds."""
        if self.frozen or self.paused:
            state = "z"
        elif not self.up:
            state = "g" if self.guard else "."
        else:
            states = {vr.state for vr in self.routers.routers.values()}
            state = "".join(s.name[0] for s in State if s in states) or "I"
        return f"{self.name}:{state}{'*' if self.bound else ''}"
