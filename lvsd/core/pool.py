"""The pool of one Virtual: from health and the operator's word to kernel destinations.

The effective weight of a real is its configured weight while it is up and enabled, else 0. A real
that is down stays at weight 0 (quiescent) or leaves the table; a drained real stays at 0, so that
its connections end by themselves, until the deadline of the drain takes it out (disabled).

The pool is up from quorum + hysteresis on and stays so until the weights of its live reals fall
below quorum - hysteresis, or to nothing. While it is not up the fallback is in the table. Until
every real was judged once the fallback stays as it was found (design rule 6). Live reals keep
their weight beside the fallback: nobody who is being served is turned away.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lvsd.core.record import dataclass

from .health import Health, Status, adopted, always, observe, unknown
from .model import (
    CheckKind,
    Destination,
    DestinationKey,
    RealServer,
    ServiceEntry,
    Virtual,
)

#: What the fallback weighs, alone as it is (ldirectord's figure).
FALLBACK_WEIGHT = 1


class Admin(enum.StrEnum):
    """What the operator says of a real server."""

    ENABLED = "enabled"
    DRAIN = "drain"  # weight 0, its connections go on
    DISABLED = "disabled"  # the deadline of the drain has passed: out of the table


@dataclass(frozen=True, slots=True)
class Pool:
    """One Virtual with the state of its reals, and the kernel entry that follows from it.

    `admin` holds only reals that are not enabled. `fallback_in` says whether the fallback is in
    the table, `judged` whether every real has had its first result. `live` is the sum of the
    effective weights, `unjudged` a number of reals, `reals` finds them by key.
    """

    virtual: Virtual
    health: Mapping[DestinationKey, Health]
    admin: Mapping[DestinationKey, Admin]
    up: bool
    fallback_in: bool
    live: int
    unjudged: int
    entry: ServiceEntry
    reals: Mapping[DestinationKey, RealServer]

    @property
    def judged(self) -> bool:
        return not self.unjudged


@dataclass(frozen=True, slots=True)
class Finding:
    """One check result, addressed to one real of a pool (`gone`: see `CheckFinished`)."""

    real: DestinationKey
    passed: bool
    reason: str
    gone: bool = False


def effective_weight(real: RealServer, health: Health, admin: Admin = Admin.ENABLED) -> int:
    """The weight a real should have in the kernel now."""
    return real.weight if health.up and admin is Admin.ENABLED else 0


def quorate(virtual: Virtual, live: int, was_up: bool) -> bool:
    """Whether `live`, the sum of the effective weights, keeps or makes the pool up."""
    if was_up:
        return live >= max(virtual.quorum - virtual.hysteresis, 1)
    return live >= max(virtual.quorum + virtual.hysteresis, 1)


def form(
    virtual: Virtual,
    now: float,
    *,
    found: ServiceEntry | None = None,
    before: Pool | None = None,
    admin: Mapping[DestinationKey, Admin] | None = None,
) -> Pool:
    """The pool of a newly loaded Virtual.

    Reals that `before` knows keep their health; others are judged by the weight they were `found`
    with in the kernel: positive is up until proven otherwise, anything else unknown.
    """
    known = before.health if before is not None else {}
    there = found.destinations if found is not None else {}
    health = {
        real.key: _first_health(real, known.get(real.key), there.get(real.key), now)
        for real in virtual.reals
    }
    if before is not None:
        up, fallback_in = before.up, before.fallback_in
    else:
        fallback_in = _found_fallback(virtual, there)
        up = found is not None and not fallback_in
    admin = {} if admin is None else dict(admin)
    held = found if before is None else before.entry
    return _settle(virtual, health, admin, up, fallback_in, held)


def examine(pool: Pool, findings: Iterable[Finding], now: float) -> Pool:
    """The pool after some check results; the same object when they say nothing new."""
    rise, fall = pool.virtual.rise, pool.virtual.fall
    changed: dict[DestinationKey, Health] = {}
    for finding in findings:
        old = changed.get(finding.real) or pool.health.get(finding.real)
        if old is None:
            continue
        enough = 1 if finding.gone and pool.virtual.failfast else fall
        new = observe(old, finding.passed, finding.reason, now, rise, enough)
        if new is not old:
            changed[finding.real] = new
    if not changed:
        return pool
    return _revised(pool, changed)


def administer(pool: Pool, words: Mapping[DestinationKey, Admin]) -> Pool:
    """The pool after the operator's words on some reals."""
    said = {**pool.admin, **words}
    words = {key: word for key, word in said.items() if word is not Admin.ENABLED}
    return _settle(pool.virtual, pool.health, words, pool.up, pool.fallback_in, pool.entry)


def weights(pool: Pool) -> dict[DestinationKey, int]:
    """The effective weight of every real of the pool, in or out of the table."""
    return {
        real.key: effective_weight(real, pool.health[real.key], _word(pool.admin, real.key))
        for real in pool.virtual.reals
    }


def in_service(virtual: Virtual) -> ServiceEntry:
    """The service as the table holds it while every real server passes and none is drained."""
    held = {real.key: _destination(real, real.weight) for real in virtual.reals}
    return ServiceEntry(virtual.service, held)


def _word(admin: Mapping[DestinationKey, Admin], real: DestinationKey) -> Admin:
    return admin.get(real, Admin.ENABLED)


def _first_health(
    real: RealServer, known: Health | None, there: Destination | None, now: float
) -> Health:
    if real.check.kind in (CheckKind.ON, CheckKind.OFF):
        fixed = always(real.check.kind is CheckKind.ON, now)
        if known is not None and known.judged and known.status is fixed.status:
            return replace(fixed, since_at=known.since_at)
        return fixed
    if known is not None:
        return known
    return adopted(now) if there is not None and there.weight > 0 else unknown(now)


def _found_fallback(virtual: Virtual, there: Mapping[DestinationKey, Destination]) -> bool:
    if virtual.fallback is None:
        return False
    fallback = there.get(virtual.fallback.key)
    shared = any(real.key == virtual.fallback.key for real in virtual.reals)
    return fallback is not None and fallback.weight > 0 and not shared


def _settle(
    virtual: Virtual,
    health: Mapping[DestinationKey, Health],
    admin: Mapping[DestinationKey, Admin],
    was_up: bool,
    fallback_in: bool,
    held: ServiceEntry | None,
) -> Pool:
    """The pool that follows, all of it worked out; `held` is in the table now."""
    live = sum(
        effective_weight(real, health[real.key], _word(admin, real.key)) for real in virtual.reals
    )
    unjudged = sum(not h.judged for h in health.values())
    up = quorate(virtual, live, was_up)
    fallback_in = _fallback_in(virtual, up, unjudged, fallback_in)
    entry = ServiceEntry(virtual.service, _destinations(virtual, health, admin, fallback_in))
    if held == entry:
        entry = held  # identity tells the applier that there is nothing to do
    reals = {real.key: real for real in virtual.reals}
    return Pool(virtual, health, admin, up, fallback_in, live, unjudged, entry, reals)


def _revised(pool: Pool, changed: Mapping[DestinationKey, Health]) -> Pool:
    """The pool after changes of health: the same as `_settle` says, by work on these reals only."""
    virtual, live, unjudged = pool.virtual, pool.live, pool.unjudged
    health = {**pool.health, **changed}
    wanted: dict[DestinationKey, Destination | None] = {}
    for key, new in changed.items():
        real, old, word = pool.reals[key], pool.health[key], _word(pool.admin, key)
        weight = effective_weight(real, new, word)
        live += weight - effective_weight(real, old, word)
        unjudged += old.judged - new.judged
        there = _present(new, word, virtual.quiescent)
        wanted[key] = _destination(real, weight) if there else None
    up = quorate(virtual, live, pool.up)
    fallback_in = _fallback_in(virtual, up, unjudged, pool.fallback_in)
    if fallback_in or pool.fallback_in or len(pool.reals) < len(virtual.reals):
        return _settle(virtual, health, pool.admin, pool.up, pool.fallback_in, pool.entry)
    held, entry = pool.entry.destinations, pool.entry
    if any(held.get(key) != destination for key, destination in wanted.items()):
        known = {**held, **wanted}.items()
        entry = ServiceEntry(virtual.service, {key: d for key, d in known if d is not None})
    return Pool(virtual, health, pool.admin, up, False, live, unjudged, entry, pool.reals)


def _fallback_in(virtual: Virtual, up: bool, unjudged: int, was_in: bool) -> bool:
    if virtual.fallback is None:
        return False
    return was_in if unjudged else not up


def _destinations(
    virtual: Virtual,
    health: Mapping[DestinationKey, Health],
    admin: Mapping[DestinationKey, Admin],
    fallback_in: bool,
) -> dict[DestinationKey, Destination]:
    wanted: dict[DestinationKey, Destination] = {}
    for real in virtual.reals:
        word = _word(admin, real.key)
        if _present(health[real.key], word, virtual.quiescent):
            weight = effective_weight(real, health[real.key], word)
            wanted[real.key] = _destination(real, weight)
    if fallback_in and virtual.fallback is not None:
        wanted[virtual.fallback.key] = _destination(virtual.fallback, FALLBACK_WEIGHT)
    return wanted


def _present(health: Health, admin: Admin, quiescent: bool) -> bool:
    if admin is not Admin.ENABLED:
        return admin is Admin.DRAIN
    return quiescent or health.status is not Status.DOWN


def _destination(real: RealServer, weight: int) -> Destination:
    return Destination(real.key, real.forwarding, weight, real.u_threshold, real.l_threshold)
