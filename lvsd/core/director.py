"""The Director: configuration, verdicts and operators' words in; the wished-for kernel out.

`step(director, event, now)` answers with the next Director and the effects to tell of.
`desired(director)` says afresh what the kernel shall hold: table, synchronisation threads,
settings. `next_deadline(director)` is when a `DeadlineReached` is due. Nothing here knows a clock,
a socket or a log.

One check may serve many reals (`fanout`); each of them counts for itself. A step that changes
nothing returns the same object, and an untouched pool keeps its `entry`, so that whoever applies
the wish can tell by identity what is left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import field, replace

from lvsd.core.record import dataclass

from .fanout import followed, present
from .happenings import (
    AllJudged,
    CheckFinished,
    ChecksFinished,
    ConfigLoaded,
    Drain,
    DrainEnded,
    DrainExpired,
    DrainStarted,
    Effect,
    Event,
    FallbackEntered,
    FallbackLeft,
    HealthChanged,
    LocalAddresses,
    Maintenance,
    MaintenanceEnded,
    MaintenanceStarted,
    RealKey,
    RouterStates,
    ServiceDown,
    ServiceUp,
    SoftFailure,
    TableAdopted,
    Undrain,
)
from .model import (
    Check,
    CheckKind,
    Config,
    DestinationKey,
    IPAddress,
    ServiceKey,
    SyncDaemon,
    Table,
)
from .pool import Admin, Finding, Pool, administer, examine, form
from .roles import bound, serves, sync_daemons, sysctls

_Word = DrainStarted | DrainEnded | DrainExpired | MaintenanceStarted | MaintenanceEnded


@dataclass(frozen=True, slots=True)
class DrainState:
    """One drain in force; `expired` once its deadline took the real out of the table."""

    deadline_at: float | None
    by_hand: bool
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Director:
    """Everything the director side knows.

    `maintenance` has the reals that a file takes out of service, with the file.
    `roles` is None until main has told them. `bound` has the services that are only in the table
    of the master, with the routers whose mastership counts.
    """

    config: Config = field(default_factory=Config)
    pools: Mapping[ServiceKey, Pool] = field(default_factory=dict)
    fanout: Mapping[Check, tuple[RealKey, ...]] = field(default_factory=dict)
    drains: Mapping[RealKey, DrainState] = field(default_factory=dict)
    maintenance: Mapping[RealKey, str] = field(default_factory=dict)
    found: Table = field(default_factory=dict)
    roles: Mapping[str, str] | None = None
    local: frozenset[IPAddress] = frozenset()
    judged: bool = False
    bound: Mapping[ServiceKey, frozenset[str]] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Desired:
    """What the kernel shall hold now; `sync_daemons` None leaves the threads as they are."""

    table: Table
    sync_daemons: tuple[SyncDaemon, ...] | None
    sysctls: Mapping[str, str]


def step(director: Director, event: Event, now: float) -> tuple[Director, tuple[Effect, ...]]:
    """The Director after `event`, and what to tell of it."""
    match event:
        case CheckFinished():
            return _examined(director, (event,), now)
        case ChecksFinished(results):
            return _examined(director, results, now)
        case ConfigLoaded():
            return _configured(director, event, now)
        case TableAdopted(table):
            return replace(director, found=table), ()
        case RouterStates(states):
            if director.roles == states:
                return director, ()
            return replace(director, roles=dict(states)), ()
        case LocalAddresses(addresses):
            return _placed(replace(director, local=addresses)), ()
        case Drain():
            return _drained(director, event)
        case Undrain():
            return _undrained(director, event)
        case Maintenance(files):
            return _maintained(director, files)
    return _expired(director, now)


def next_deadline(director: Director) -> float | None:
    """When the next drain expires, on the clock of `now`; None when nothing is due."""
    deadlines = [
        d.deadline_at
        for d in director.drains.values()
        if d.deadline_at is not None and not d.expired
    ]
    return min(deadlines, default=None)


def desired(director: Director) -> Desired:
    """The wish, computed afresh. Linear in the number of services, not of real servers.

    A service that hangs on roles nobody has told yet stays as it was found.
    """
    roles, places, found = director.roles, director.bound, director.found
    table = {
        key: pool.entry
        for key, pool in director.pools.items()
        if key not in places or serves(places[key], roles, key in found)
    }
    return Desired(table, sync_daemons(director.config, roles), director.sysctls)


def checks(config: Config) -> tuple[Check, ...]:
    """Every distinct question of a configuration that goes over the wire."""
    asked = (real.check for virtual in config.virtuals for real in virtual.reals)
    fixed = (CheckKind.ON, CheckKind.OFF)
    return tuple(dict.fromkeys(check for check in asked if check.kind not in fixed))


def watched(config: Config) -> tuple[Check, ...]:
    """The checks whose targets get a watch connection (`watch=`)."""
    found = (real.check for virtual in config.virtuals if virtual.watch for real in virtual.reals)
    return tuple(dict.fromkeys(found))


def tracked(director: Director) -> dict[str, bool]:
    """Each judged virtual by name: does it have its quorum? What `track=virtual` follows."""
    return {
        name: pool.up
        for key, pool in director.pools.items()
        if pool.judged
        for name in {str(key), virtual_name(key)}
    }


def virtual_name(key: ServiceKey) -> str:
    """`tcp 192.0.2.1:80`: the name of a virtual where the address alone is ambiguous."""
    return f"{key.protocol.word} {key}"


def find_reals(director: Director, real: str, virtual: str | None = None) -> tuple[RealKey, ...]:
    """The reals an operator means by one of its `names`, in one virtual or in all.

    Raises LookupError with a text for the operator when there is none.
    """
    pools = [
        pool
        for key, pool in director.pools.items()
        if virtual is None or virtual in (str(key), virtual_name(key))
    ]
    if not pools and virtual is not None:
        raise LookupError(f'no virtual "{virtual}" in the configuration')
    found = tuple(
        RealKey(pool.virtual.key, server.key)
        for pool in pools
        for server in pool.virtual.reals
        if real in server.names
    )
    if not found:
        where = "" if virtual is None else f' in virtual "{virtual}"'
        raise LookupError(f'no real server "{real}"{where}')
    return found


# --- configuration ------------------------------------------------------------


def _configured(
    director: Director, event: ConfigLoaded, now: float
) -> tuple[Director, tuple[Effect, ...]]:
    config, files = event.config, event.maintenance
    known = present(config, {*director.drains, *director.maintenance, *(files or ())})
    drains = {key: drain for key, drain in director.drains.items() if key in known}
    files = director.maintenance if files is None else files
    maintenance = {key: file for key, file in files.items() if key in known}
    quiescent = {virtual.key: virtual.quiescent for virtual in config.virtuals}
    words: dict[ServiceKey, dict[DestinationKey, Admin]] = {}
    for key in {**maintenance, **drains}:
        word = _admin(drains.get(key), key in maintenance, quiescent[key.virtual])
        words.setdefault(key.virtual, {})[key.real] = word
    effects = [DrainEnded(key, removed=True) for key in director.drains if key not in known]
    pools: dict[ServiceKey, Pool] = {}
    told = list[Effect](effects)
    for virtual in config.virtuals:
        before = director.pools.get(virtual.key)
        admin = words.get(virtual.key, {})
        if before is not None and before.virtual == virtual and before.admin == admin:
            pools[virtual.key] = before
            continue
        found = director.found.get(virtual.key)
        pool = form(virtual, now, found=found, before=before, admin=admin)
        pools[virtual.key] = pool
        told += _told(before, pool)
    after = replace(
        director,
        config=config,
        pools=pools,
        fanout=followed(director.fanout, director.config, config),
    )
    after = replace(after, drains=drains, maintenance=maintenance)
    told += _entered_and_left(director.maintenance, maintenance, known)
    return _judged(_placed(after), told)


def _placed(director: Director) -> Director:
    """Work out once what hangs on the routers' roles, for `desired` is asked often."""
    config, local = director.config, director.local
    return replace(director, bound=bound(config, local), sysctls=sysctls(config, local))


# --- verdicts -----------------------------------------------------------------


def _examined(
    director: Director, results: tuple[CheckFinished, ...], now: float
) -> tuple[Director, tuple[Effect, ...]]:
    findings: dict[ServiceKey, list[Finding]] = {}
    for result in results:
        for key in director.fanout.get(result.check, ()):
            finding = Finding(key.real, result.passed, result.reason, result.gone)
            findings.setdefault(key.virtual, []).append(finding)
    changed, effects = {}, list[Effect]()
    for virtual, found in findings.items():
        old = director.pools[virtual]
        new = examine(old, found, now)
        if new is not old:
            changed[virtual] = new
            effects += _told(old, new, {f.real for f in found})
    if not changed:
        return director, ()
    return _judged(replace(director, pools={**director.pools, **changed}), effects)


def _judged(director: Director, effects: list[Effect]) -> tuple[Director, tuple[Effect, ...]]:
    judged = all(pool.judged for pool in director.pools.values())
    if judged is not director.judged:
        director = replace(director, judged=judged)
        effects += (AllJudged(),) * judged
    return director, tuple(effects)


def _told(
    old: Pool | None, new: Pool, touched: set[DestinationKey] | None = None
) -> Iterator[Effect]:
    """What is worth telling of the way from `old` to `new`."""
    key = new.virtual.key
    if old is not None and touched:
        yield from _health_told(old, new, touched)
    first = old is None or not old.judged
    if new.judged and (first or (old is not None and old.up != new.up)):
        yield ServiceUp(key) if new.up else ServiceDown(key)
    was_in = old is not None and old.fallback_in
    if new.fallback_in and not was_in and new.virtual.fallback is not None:
        yield FallbackEntered(key, new.virtual.fallback.key)
    if was_in and not new.fallback_in and old is not None and old.virtual.fallback is not None:
        yield FallbackLeft(key, old.virtual.fallback.key)


def _health_told(old: Pool, new: Pool, touched: set[DestinationKey]) -> Iterator[Effect]:
    for real in touched:
        before, after = old.health[real], new.health[real]
        if before is after:
            continue
        key = RealKey(new.virtual.key, real)
        if before.status is not after.status:
            yield HealthChanged(key, before.status, after.status, after.reason)
        elif after.up and after.streak != before.streak:
            yield SoftFailure(key, after.streak, new.virtual.fall, after.reason)


# --- drains -------------------------------------------------------------------


def _drained(director: Director, event: Drain) -> tuple[Director, tuple[Effect, ...]]:
    new = DrainState(event.deadline_at, event.by_hand)
    if director.drains.get(event.key) == new:
        return director, ()
    drains = {**director.drains, event.key: new}
    told = DrainStarted(event.key, event.by_hand, event.deadline_at)
    return _reworded(replace(director, drains=drains), (told,))


def _undrained(director: Director, event: Undrain) -> tuple[Director, tuple[Effect, ...]]:
    if event.key not in director.drains:
        return director, ()
    drains = {key: drain for key, drain in director.drains.items() if key != event.key}
    told = DrainEnded(event.key, by_hand=event.by_hand)
    return _reworded(replace(director, drains=drains), (told,))


def _expired(director: Director, now: float) -> tuple[Director, tuple[Effect, ...]]:
    over = {
        key: replace(drain, expired=True)
        for key, drain in director.drains.items()
        if not (drain.expired or drain.deadline_at is None or drain.deadline_at > now)
    }
    if not over:
        return director, ()
    drains = {**director.drains, **over}
    return _reworded(replace(director, drains=drains), [DrainExpired(key) for key in over])


def _maintained(
    director: Director, files: Mapping[RealKey, str]
) -> tuple[Director, tuple[Effect, ...]]:
    before = director.maintenance
    if files == before:
        return director, ()
    director = replace(director, maintenance=dict(files))
    changes = list(_entered_and_left(before, files, {*before, *files}))
    return _reworded(director, changes)


def _entered_and_left(
    before: Mapping[RealKey, str], files: Mapping[RealKey, str], known: Set[RealKey]
) -> Iterator[MaintenanceStarted | MaintenanceEnded]:
    """The reals that maintenance now takes out or gives back, those that nobody knows left out."""
    for key, file in files.items():
        if key not in before:
            yield MaintenanceStarted(key, file)
    for key in before:
        if key not in files and key in known:
            yield MaintenanceEnded(key)


def _admin(drain: DrainState | None, maintained: bool, quiescent: bool) -> Admin:
    """What drain and maintenance together mean for a real.

    In maintenance a real goes as a failed one would: to weight 0, or out of the table.
    """
    if drain is not None and drain.expired:
        return Admin.DISABLED
    if maintained and not quiescent:
        return Admin.DISABLED
    return Admin.DRAIN if maintained or drain is not None else Admin.ENABLED


def _reworded(director: Director, changes: Sequence[_Word]) -> tuple[Director, tuple[Effect, ...]]:
    """Tell the pools what is now said of some of their reals, each pool once."""
    touched: dict[ServiceKey, list[DestinationKey]] = {}
    for change in changes:
        touched.setdefault(change.key.virtual, []).append(change.key.real)
    pools, effects = dict(director.pools), list[Effect](changes)
    for virtual, reals in touched.items():
        if (old := pools.get(virtual)) is None:
            continue  # restored before the configuration: `ConfigLoaded` will look at it
        words = {}
        for real in reals:
            key = RealKey(virtual, real)
            drain, maintained = director.drains.get(key), key in director.maintenance
            words[real] = _admin(drain, maintained, old.virtual.quiescent)
        pools[virtual] = administer(old, words)
        effects += _told(old, pools[virtual])
    return replace(director, pools=pools), tuple(effects)
