"""How late advertisements leave: what a busy machine, or a fault of ours, does to the beat.

A peer is patient for three intervals and its skew, so an advertisement that is half an interval
late is a warning long before it is a failover. Per router: how many were that late, the worst of
the last minute or two, and the worst of all. Taken from when the core had planned an advertisement
to when the kernel has it; one that left before its time (an answer to a lower priority) is neither.
It costs a subtraction and two comparisons for each, and is told only to those who ask.

Time is an argument: seconds of the loop's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvsd.core.vrrp import Effect, Key, SendAdvert, VirtualRouter, VirtualRouters

#: Seconds after which what was worst lately begins anew; it is shown for as long again.
PERIOD = 60.0
#: The part of its interval by which an advertisement is alarmingly late.
ALARMING = 0.5


@dataclass(slots=True)
class Lateness:
    """Of one router: `worst` since the start and `late` alarming ones; of this period and the one
    before it that ends at `until`. All in seconds."""

    worst: float = 0.0
    late: int = 0
    until: float = 0.0
    _this: float = 0.0
    _before: float = 0.0

    def add(self, lateness: float, interval: float, now: float) -> None:
        """One more advertisement, every `interval` seconds."""
        if now >= self.until:
            self._turn(now)
        if lateness > self._this:
            self._this = lateness
            self.worst = max(self.worst, lateness)
        if lateness > interval * ALARMING:
            self.late += 1

    def lately(self, now: float) -> float:
        """The worst of the last one or two periods."""
        if now >= self.until:
            self._turn(now)
        return max(self._this, self._before)

    def _turn(self, now: float) -> None:
        recent = now < self.until + PERIOD
        self._before, self._this = self._this if recent else 0.0, 0.0
        self.until = now + PERIOD


class Punctuality:
    """The lateness of every router."""

    def __init__(self) -> None:
        self._routers: dict[Key, Lateness] = {}

    def sent(
        self, before: VirtualRouters, effects: tuple[tuple[Key, Effect], ...], now: float
    ) -> None:
        """The advertisements among these effects have left; `before` has when they were due."""
        for key, effect in effects:
            if type(effect) is not SendAdvert or (vr := before.routers.get(key)) is None:
                continue
            if vr.adver_at is not None and vr.adver_at <= now:
                self.of(key).add(now - vr.adver_at, vr.config.advertint, now)

    def of(self, key: Key) -> Lateness:
        """The lateness of a router."""
        found = self._routers.get(key)
        if found is None:
            found = self._routers[key] = Lateness()
        return found

    def keep(self, routers: Mapping[Key, VirtualRouter]) -> None:
        """Forget those that are gone."""
        self._routers = {k: found for k, found in self._routers.items() if k in routers}

    def notes(self, vr: VirtualRouter, now: float) -> list[str]:
        """What an operator must know."""
        lately, interval = self.of(vr.config.key).lately(now), vr.config.advertint
        if lately <= interval * ALARMING:
            return []
        return [f"advertisements left up to {lately:.3g} s late lately (interval {interval:g} s)"]
