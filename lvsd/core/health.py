"""Health of one real server in one virtual: consecutive results, `rise` and `fall`.

A real begins UNKNOWN and is judged by its first result, whichever way it goes: nothing is known
that a single failure could contradict (keepalived does the same before a first success). From then
on `fall` consecutive failures take it down and `rise` consecutive passes bring it back. A real
found in the kernel at positive weight is adopted as UP but not yet judged (design rule 6): it goes
down like any live real, after `fall` failures.

`observe` returns the same object when a result says nothing new, so that the thousands of passes
of a quiet farm cost no copies further up.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from lvsd.core.record import dataclass


class Status(enum.StrEnum):
    """What the checks say of a real server."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict and what led to it.

    `streak` counts the consecutive results against the present status, `since_at` is the time of
    the last change of status on the loop's clock, `reason` the text of the last result that
    mattered. `judged` says that at least one result has been seen.
    """

    status: Status
    since_at: float
    reason: str = ""
    streak: int = 0
    judged: bool = False

    @property
    def up(self) -> bool:
        """True when the checks let traffic through."""
        return self.status is Status.UP

    @property
    def at_rest(self) -> bool:
        """True when it is up, and one more pass for the same reason would say nothing new."""
        return self.up and self.judged and self.streak == 0


def unknown(now: float) -> Health:
    """A real nobody has asked yet."""
    return Health(Status.UNKNOWN, now, "not checked yet")


def adopted(now: float) -> Health:
    """A real found in the kernel at positive weight: up until proven otherwise."""
    return Health(Status.UP, now, "found in the table with weight")


def always(up: bool, now: float) -> Health:
    """A real whose check is `on` or `off`: judged without a question."""
    if up:
        return Health(Status.UP, now, "checktype=on: not checked", judged=True)
    return Health(Status.DOWN, now, "checktype=off: never used", judged=True)


def observe(
    health: Health, passed: bool, reason: str, now: float, rise: int = 1, fall: int = 1
) -> Health:
    """The health after one more result.

    `rise` and `fall` are numbers of consecutive results, at least 1.
    """
    if health.status is Status.UNKNOWN:
        return _turned(passed, reason, now)
    if passed is health.up:
        return _confirmed(health, reason)
    streak = health.streak + 1
    if streak >= (rise if passed else fall):
        return _turned(passed, reason, now)
    return replace(health, streak=streak, reason=reason, judged=True)


def _turned(up: bool, reason: str, now: float) -> Health:
    return Health(Status.UP if up else Status.DOWN, now, reason, judged=True)


def _confirmed(health: Health, reason: str) -> Health:
    if health.judged and health.streak == 0 and health.reason == reason:
        return health
    return replace(health, streak=0, reason=reason, judged=True)
