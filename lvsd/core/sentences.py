"""ldirectord's sentences: what its log and its mails say of a change, word for word.

Scripts look for these lines and people know them by heart. An effect without a counterpart there
(a drain, a quorum) has none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
from .model import DestinationKey, RealServer, ServiceKey, Virtual
from .pool import FALLBACK_WEIGHT, Admin, Pool


@dataclass(frozen=True, slots=True)
class Sentence:
    """What happened to a server, as ldirectord words it.

    `down` is None where no mail is due (a soft failure), else whether the server went away.
    """

    text: str
    key: RealKey
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
            return Sentence(f"Soft failure real server: {where} failure {count}/{fall}", key)
        case FallbackEntered(virtual, server):
            key = RealKey(virtual, server)
            weight = f"(Weight set to {FALLBACK_WEIGHT})"
            return Sentence(f"Added fallback server: {server} ({virtual}) {weight}", key, False)
        case FallbackLeft(virtual, server):
            key = RealKey(virtual, server)
            return Sentence(f"Deleted fallback server: {server} ({virtual})", key, True)
    return None


def reloaded(old: Mapping[ServiceKey, Virtual], new: Mapping[ServiceKey, Virtual]) -> list[str]:
    """What ldirectord says of the services that a configuration adds, changes and removes."""
    lines = [f"Purged virtual server (start): {key}" for key in old if key not in new]
    for key, virtual in new.items():
        if key not in old:
            lines.append(f"Added virtual server: {key}")
        elif old[key].service != virtual.service:
            lines.append(f"Changed virtual server: {key}")
    return lines


def stopped(pool: Pool) -> list[str]:
    """What ldirectord says when it removes a service at the end."""
    key = pool.virtual.key
    live = [k for k in pool.entry.destinations if k in pool.health and pool.health[k].up]
    purged = [f"Purged real server (stop): {real} ({key})" for real in live]
    return [*purged, f"Purged virtual server (stop): {key}"]


def identities(virtual: Virtual) -> dict[DestinationKey, str]:
    """How the lines of `monitorfile=` name the checks of a service's real servers.

    ldirectord's identity of each, colons turned into blanks: check type and service, protocol,
    address, port, virtual host, check port, weight, forwarding, request, receive.
    """
    return {server.key: _identity(virtual.key, server) for server in virtual.reals}


def _identity(virtual: ServiceKey, server: RealServer) -> str:
    check = server.check
    kind = check.kind.value
    negotiated = kind if kind in ("connect", "ping", "on", "off") else f"negotiate {kind}"
    parts = [
        negotiated,
        _protocol(virtual),
        str(server.key.address).replace(":", " "),
        str(server.key.port),
        check.virtualhost.decode("utf-8", "replace"),
        str(check.port) if check.port not in (0, server.key.port) else "",
        str(server.weight),
        server.forwarding.word,
        check.request.decode("utf-8", "replace"),
        check.receive.decode("utf-8", "replace"),
    ]
    return " ".join(part for part in parts if part)


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
    verb = "Restored" if there and pool.virtual.quiescent else "Added"
    weight = pool.entry.destinations[key.real].weight
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
