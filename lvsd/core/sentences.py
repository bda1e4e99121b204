"""ldirectord's sentences: what its log and its mails say of a change, word for word.

Scripts look for these lines and people know them by heart. An effect without a counterpart there
(a drain, a quorum) has none here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lvsd.core.record import dataclass

from .director import Director
from .happenings import (
    Effect,
    FallbackEntered,
    FallbackLeft,
    HealthChanged,
    MaintenanceEnded,
    MaintenanceStarted,
    RealKey,
    SoftFailure,
)
from .health import Status
from .model import Check, CheckKind, Destination, DestinationKey, RealServer, ServiceKey, Virtual
from .pool import FALLBACK_WEIGHT, Admin, Pool


@dataclass(frozen=True, slots=True)
class Sentence:
    """What happened to a server or a service, as ldirectord words it.

    `down` is None where no mail is due (a soft failure, a service), else whether the server is
    away and should come back. `key` is that of a server.
    """

    text: str
    key: RealKey | None = None
    down: bool | None = None


def sentence(effect: Effect, director: Director) -> Sentence | None:
    """The sentence of one effect; `director` is the state after it. None where there is none."""
    match effect:
        case HealthChanged(key, old, Status.UP, _):
            return _returned(key, director, there=old is Status.DOWN)
        case HealthChanged(key, _, Status.DOWN, _) if key not in director.maintenance:
            return _gone(key, director)
        case MaintenanceStarted(key, _) if _serving(key, director):
            return _gone(key, director)
        case MaintenanceEnded(key):
            return _returned(key, director, there=True)
        case SoftFailure(key, count, fall, _):
            where = f"{key.real} ({_protocol(key.virtual)}:{key.virtual})"
            if not count:
                return Sentence(f"Resetting soft failure count: {where}", key)
            return Sentence(f"Soft failure real server: {where} failure {count}/{fall}", key)
        case FallbackEntered(virtual, server):
            key = RealKey(virtual, server)
            weight = f"(Weight set to {FALLBACK_WEIGHT})"
            return Sentence(f"Added fallback server: {server} ({virtual}) {weight}", key, False)
        case FallbackLeft(virtual, server):
            key = RealKey(virtual, server)
            return Sentence(f"Deleted fallback server: {server} ({virtual})", key, True)
    return None


def reloaded(before: Director, after: Director) -> Iterator[Sentence]:
    """What ldirectord says of the services and servers that a configuration changes.

    What the checks say of a new server is told with their first verdict.
    """
    there = {**after.found, **{key: pool.entry for key, pool in before.pools.items()}}
    for key, pool in after.pools.items():
        if key not in there:
            yield Sentence(f"Added virtual server: {key}")
        elif there[key].service != pool.virtual.service:
            yield Sentence(f"Changed virtual server: {key}")
    for key, pool in after.pools.items():
        old = before.pools.get(key)
        if pool is not old:
            held = there[key].destinations if key in there else {}
            yield from _removed(held, old, pool)
            yield from _reweighted(held, old, pool)
    for key in before.pools:
        if key not in after.pools:
            yield Sentence(f"Purged virtual server (start): {key}")


def _removed(
    held: Mapping[DestinationKey, Destination], old: Pool | None, pool: Pool
) -> Iterator[Sentence]:
    """The servers in the table that the configuration no longer has, the fallback apart."""
    sorry = [pool.virtual.fallback]
    if old is not None and not pool.fallback_in:
        sorry.append(old.virtual.fallback)  # told as `FallbackLeft`
    known = {*pool.health, *(server.key for server in sorry if server is not None)}
    for real in held:
        if real not in known:
            key = RealKey(pool.virtual.key, real)
            yield Sentence(f"Purged real server (start): {real} ({key.virtual})", key, False)


def _reweighted(
    held: Mapping[DestinationKey, Destination], old: Pool | None, pool: Pool
) -> Iterator[Sentence]:
    """The live servers that get another weight, forwarding or threshold, or a place at all."""
    kept_out = {*pool.admin, *(() if old is None else old.admin)}
    for real, health in pool.health.items():
        if health.up and real not in kept_out and held.get(real) != pool.entry.destinations[real]:
            yield _restored(RealKey(pool.virtual.key, real), pool, there=real in held)


def stopped(pool: Pool) -> list[Sentence]:
    """What ldirectord says when it removes a service at the end."""
    key = pool.virtual.key
    live = [k for k in pool.entry.destinations if k in pool.health and pool.health[k].up]
    said = [
        Sentence(f"Purged real server (stop): {real} ({key})", RealKey(key, real), False)
        for real in live
    ]
    return [*said, Sentence(f"Purged virtual server (stop): {key}")]


def identities(virtual: Virtual) -> dict[DestinationKey, str]:
    """How the lines of `monitorfile=` name the checks of a service's real servers.

    ldirectord's identity of each, with a blank for colons in a row and without backslashes: check
    type and service or command, protocol, address, port, virtual host, check port, weight,
    forwarding, request, receive.
    """
    return {server.key: _identity(virtual.key, server) for server in virtual.reals}


def _identity(virtual: ServiceKey, server: RealServer) -> str:
    check, address = server.check, server.key.address
    request = check.request.decode("utf-8", "replace")
    parts = [
        _asked(check),
        virtual.protocol.word,
        f"[{address}]" if address.version == 6 else str(address),
        str(server.port),
        check.virtualhost.decode("utf-8", "replace"),
        "" if server.checkport is None else str(server.checkport),
        str(server.weight),
        server.forwarding.word,
        request if request.startswith("/") else f"/{request}",
        check.receive.decode("utf-8", "replace"),
    ]
    return re.sub(":+", " ", ":".join(parts)).replace("\\", "")


def _asked(check: Check) -> str:
    if check.kind in (CheckKind.EXTERNAL, CheckKind.EXTERNAL_PERL):
        return f"{check.kind}:{' '.join(check.command[:-4])}"  # without the addresses it is told
    if check.kind in (CheckKind.CONNECT, CheckKind.PING, CheckKind.ON, CheckKind.OFF):
        return check.kind.value
    return f"{'combined' if check.connects else 'negotiate'}:{check.kind}"


def _protocol(key: ServiceKey) -> str:
    six = "6" if key.address is None and key.family.name == "INET6" else ""
    return f"{key.protocol.word}{six}"


def _returned(key: RealKey, director: Director, *, there: bool) -> Sentence | None:
    """A real takes connections again, unless something else still keeps it out."""
    pool = director.pools.get(key.virtual)
    if pool is None or pool.admin.get(key.real, Admin.ENABLED) is not Admin.ENABLED:
        return None
    health = pool.health.get(key.real)
    if health is None or not health.up:
        return None
    return _restored(key, pool, there=there and pool.virtual.quiescent)


def _restored(key: RealKey, pool: Pool, *, there: bool) -> Sentence:
    verb, weight = "Restored" if there else "Added", pool.entry.destinations[key.real].weight
    text = f"{verb} real server: {key.real} ({key.virtual}) (Weight set to {weight})"
    return Sentence(text, key, False)


def _serving(key: RealKey, director: Director) -> bool:
    """Whether a real was not away already, failed, before its maintenance."""
    pool = director.pools.get(key.virtual)
    health = None if pool is None else pool.health.get(key.real)
    return health is not None and health.status is not Status.DOWN


def _gone(key: RealKey, director: Director) -> Sentence:
    if director.pools[key.virtual].virtual.quiescent:
        text = f"Quiescent real server: {key.real} ({key.virtual}) (Weight set to 0)"
    else:
        text = f"Deleted real server: {key.real} ({key.virtual})"
    return Sentence(text, key, True)
