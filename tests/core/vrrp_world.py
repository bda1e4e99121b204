"""What the VRRP tests share: one router, its peers, and a `Bench` that steps it through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from lvsd.core.model import Family, IPAddress, RouterConfig, Vip
from lvsd.core.packet import Advertisement
from lvsd.core.vrrp import (
    AdvertReceived,
    DeadlineReached,
    Effect,
    Event,
    Startup,
    State,
    VipsBound,
    VirtualRouter,
    VmacChanged,
    next_deadline,
    step,
)

LOW, OWN, HIGH = ip_address("192.0.2.1"), ip_address("192.0.2.5"), ip_address("192.0.2.9")
VIP, VIP2, EXCLUDED = (ip_address(f"192.0.2.{n}") for n in (100, 101, 110))
KEY = ("eth0", 51, Family.INET)


def config(**changes) -> RouterConfig:
    """A version 2 router of priority 100 with one VIP, without services to wait for."""
    return replace(RouterConfig("VI_1", "eth0", 51, 100, (Vip(VIP, 32),)), **changes)


def advert(
    priority: int, source: IPAddress = HIGH, interval: float = 1.0, addresses=(VIP,), version=2
) -> AdvertReceived:
    return AdvertReceived(source, Advertisement(version, 51, priority, interval, tuple(addresses)))


class Bench:
    """One router and its clock; `do` returns the effects."""

    def __init__(self, now: float = 0.0, **changes) -> None:
        self.vr = VirtualRouter.initial(config(**changes), OWN)
        self.now = now

    def do(self, event: Event, now: float | None = None) -> tuple[Effect, ...]:
        self.now = self.now if now is None else now
        self.vr, effects = step(self.vr, event, self.now)
        return effects

    def deadline(self) -> tuple[Effect, ...]:
        """Jump to the next deadline."""
        at = next_deadline(self.vr)
        assert at is not None
        return self.do(DeadlineReached(), at)

    @property
    def state(self) -> State:
        return self.vr.state


def backup(**changes) -> Bench:
    bench = Bench(**changes)
    if bench.vr.config.usevmac:
        bench.do(VmacChanged(""))
    bench.do(Startup())
    assert bench.state is State.BACKUP
    return bench


def master(**changes) -> Bench:
    """MASTER at its bench's `now`, VIPs bound."""
    bench = backup(**changes)
    bench.deadline()
    assert bench.state is State.MASTER
    bench.do(VipsBound())
    return bench


def kinds(effects: Sequence[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]
