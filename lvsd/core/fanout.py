"""Which real servers hang on which check, kept from one configuration to the next.

A reload mostly leaves all virtuals but a few the very objects they were; what hangs on those is not
touched, so that the work is that of what has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

from .happenings import RealKey
from .model import Check, Config

if TYPE_CHECKING:
    from .director import Director

Fanout = Mapping[Check, tuple[RealKey, ...]]


def present(config: Config, named: Set[RealKey]) -> set[RealKey]:
    """Those of the reals named that the configuration has."""
    virtuals = {key.virtual for key in named}
    found = (
        RealKey(virtual.key, real.key)
        for virtual in config.virtuals
        if virtual.key in virtuals
        for real in virtual.reals
    )
    return {key for key in found if key in named}


def followed(fanout: Fanout, old: Config, new: Config) -> dict[Check, tuple[RealKey, ...]]:
    """The reals of each check in `new`, from those in `old`."""
    before = {id(virtual): virtual for virtual in old.virtuals}
    after = {id(virtual): virtual for virtual in new.virtuals}
    gone = [virtual for number, virtual in before.items() if number not in after]
    keys = {virtual.key for virtual in gone}
    made = dict(fanout)
    for check in {real.check for virtual in gone for real in virtual.reals}:
        made[check] = tuple(key for key in made[check] if key.virtual not in keys)
        if not made[check]:
            del made[check]
    asking: dict[Check, list[RealKey]] = {}
    for number, virtual in after.items():
        if number not in before:
            for real in virtual.reals:
                asking.setdefault(real.check, []).append(RealKey(virtual.key, real.key))
    return made | {check: (*made.get(check, ()), *added) for check, added in asking.items()}


def quiet(director: Director, check: Check, reason: str) -> bool:
    """Whether one more pass of `check` for this `reason` would change nothing, and nobody notes it.

    So it stays until the check fails or says something else, or a configuration comes.
    """
    fed = [(director.pools[key.virtual], key.real) for key in director.fanout.get(check, ())]
    return all(
        not pool.virtual.actions.monitorfile
        and pool.health[real].at_rest
        and pool.health[real].reason == reason
        for pool, real in fed
    )


def waiting(director: Director) -> set[Check]:
    """The checks of real servers that have not been judged."""
    return {
        real.check
        for pool in director.pools.values()
        if pool.unjudged
        for real in pool.virtual.reals
        if not pool.health[real.key].judged
    }
