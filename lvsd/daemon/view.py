"""The director's state as the document of `GET /v1/status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from lvsd.control.status import (
    RealStatus,
    Stats,
    SyncDaemonStatus,
    TableStatus,
    VirtualStatus,
)
from lvsd.core.director import Director
from lvsd.core.happenings import RealKey
from lvsd.core.health import Health, Status
from lvsd.core.listing import granularity, scheduler_flags
from lvsd.core.model import (
    Check,
    DestinationKey,
    Forwarding,
    RealServer,
    ServiceFlag,
    ServiceKey,
    SyncDaemon,
    Table,
    Usage,
    VirtualService,
)
from lvsd.core.pool import FALLBACK_WEIGHT, Admin, Pool, effective_weight
from lvsd.daemon.table import Applier

Usages = Mapping[tuple[ServiceKey, DestinationKey], Usage]


class View:
    """One look: everything the rows need. `unix` turns a loop time into a Unix time."""

    def __init__(
        self,
        director: Director,
        applier: Applier | None,
        usage: Usages,
        latency: Mapping[Check, float],
        unix: Callable[[float], float],
    ) -> None:
        self._director, self._usage = director, usage
        self._latency, self._unix = latency, unix
        self._picture: Table = {} if applier is None else applier.picture
        self._local = set() if applier is None else applier.local

    def virtuals(self) -> list[VirtualStatus]:
        """Every virtual of the configuration, in its order."""
        return [self._virtual(key, pool) for key, pool in self._director.pools.items()]

    def _virtual(self, key: ServiceKey, pool: Pool) -> VirtualStatus:
        virtual = pool.virtual
        fallback = virtual.fallback if pool.fallback_in else None
        return VirtualStatus(
            virtual=str(key.fwmark) if key.address is None else str(key),
            protocol=key.protocol.word,
            scheduler=virtual.service.scheduler,
            up=pool.up,
            fallback=None if fallback is None else fallback.name,
            reals=[self._real(pool, real) for real in virtual.reals],
            family=key.family.name.lower(),
            flags=flag_words(virtual.service),
            installed=key in self._picture,
            fallback_real=None if fallback is None else self._fallback(pool, fallback),
        )

    def _real(self, pool: Pool, real: RealServer) -> RealStatus:
        key = RealKey(pool.virtual.key, real.key)
        health, admin = pool.health[real.key], pool.admin.get(real.key, Admin.ENABLED)
        drain = self._director.drains.get(key)
        if file := self._director.maintenance.get(key):
            health = replace(health, reason=f"maintenance: {file}")
        deadline = None if drain is None else drain.deadline_at
        return self._row(
            key,
            real,
            effective_weight(real, health, admin),
            health,
            admin=admin,
            latency=self._latency.get(real.check),
            deadline=None if deadline is None else self._unix(deadline),
        )

    def _fallback(self, pool: Pool, fallback: RealServer) -> RealStatus:
        since = max((health.since_at for health in pool.health.values()), default=0.0)
        never = Health(Status.UNKNOWN, since)  # a sorry server is not checked
        return self._row(RealKey(pool.virtual.key, fallback.key), fallback, FALLBACK_WEIGHT, never)

    def _row(
        self,
        key: RealKey,
        real: RealServer,
        weight: int,
        health: Health,
        *,
        admin: Admin = Admin.ENABLED,
        latency: float | None = None,
        deadline: float | None = None,
    ) -> RealStatus:
        usage = self._usage.get((key.virtual, key.real), Usage())
        entry = self._picture.get(key.virtual)
        forwarding = Forwarding.LOCAL if (key.virtual, key.real) in self._local else real.forwarding
        return RealStatus(
            real=real.name,
            forwarding=forwarding.word,
            weight=real.weight,
            effective_weight=weight,
            health=health.status.value,
            admin=admin.value,
            reason="" if _well(health, admin) else health.reason,
            since=self._unix(health.since_at),
            active=usage.active,
            inactive=usage.inactive,
            persistent=usage.persistent,
            stats=Stats(
                conns=usage.conns,
                inpkts=usage.inpkts,
                outpkts=usage.outpkts,
                inbytes=usage.inbytes,
                outbytes=usage.outbytes,
            ),
            installed=entry is not None and key.real in entry.destinations,
            latency=latency,
            streak=health.streak,
            check=real.check.kind.value,
            deadline=deadline,
        )


def _well(health: Health, admin: Admin) -> bool:
    return health.up and health.judged and not health.streak and admin is Admin.ENABLED


def flag_words(service: VirtualService) -> str:
    """`(sh-port) persistent 300 ops`: what `ipvsadm -Ln` prints after the scheduler."""
    words = []
    if names := scheduler_flags(service):
        words.append(f"({','.join(names)})")
    if service.flags & ServiceFlag.PERSISTENT:
        words.append(f"persistent {service.timeout}")
        if mask := granularity(service):
            words.append(f"mask {mask}")
    if service.pe_name:
        words.append(f"pe {service.pe_name}")
    if service.flags & ServiceFlag.ONEPACKET:
        words.append("ops")
    return " ".join(words)


def table_status(
    applier: Applier | None, director: Director, kind: str, info: tuple[str, int]
) -> TableStatus:
    """How the kernel's table compares with the wish."""
    adopted = [str(key) for key, drain in director.drains.items() if drain.by_hand]
    if applier is None:
        return TableStatus(kind=kind, adopted=adopted, version="", size=0)
    return TableStatus(
        in_sync=applier.settled and not applier.contested,
        foreign=applier.foreign,
        last_repair=applier.last_repair,
        drift=[step for _, step in applier.contested.values()],
        errors=applier.errors,
        adopted=adopted,
        repairs=applier.repairs,
        writes=applier.kernel.writes,
        version=info[0],
        size=info[1],
        kind=kind,
    )


def sync_status(threads: tuple[SyncDaemon, ...]) -> list[SyncDaemonStatus]:
    """The synchronisation threads that run."""
    return [
        SyncDaemonStatus(role=t.role.name.lower(), interface=t.interface, syncid=t.syncid)
        for t in threads
    ]
