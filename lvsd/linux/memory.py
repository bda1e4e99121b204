"""A table in memory with the kernel's verbs and the kernel's refusals.

It stands in for `lvsd.linux.ipvs.Ipvs` where there is no IPVS (`lvsd run --table=none`) and in
tests. It is as strict as the kernel: the same step is refused with the same errno and text, which
the contract tests prove by running on both.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from lvsd.core.model import (
    SCHEDULERS,
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    ServiceEntry,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Table,
    Usage,
    VirtualService,
)
from lvsd.core.plan import DelDest, DelService, NewDest, NewService, SetDest, SetService, Step
from lvsd.linux import KernelError
from lvsd.linux.ipvs.errors import step_error, sync_error

#: IP_VS_CONN_F_TUNNEL_TYPE_GUE of linux/ip_vs.h; the highest type is GRE, 2.
_GUE, _GRE = 1, 2
_INT_MAX = 2**31 - 1
_PERSISTENCE_ENGINES = ("", "sip")


def _service_refusal(service: VirtualService) -> int:
    if service.scheduler not in SCHEDULERS or service.pe_name not in _PERSISTENCE_ENGINES:
        return errno.ENOENT
    if service.key.family is Family.INET6 and not 1 <= service.prefixlen <= 128:
        return errno.EINVAL
    return 0


def _destination_refusal(key: ServiceKey, destination: Destination) -> int:
    mixed = Family.of(destination.key.address) is not key.family
    if mixed and destination.forwarding is not Forwarding.TUNNEL:
        return errno.EINVAL
    if not 0 <= destination.weight <= _INT_MAX:
        return errno.ERANGE
    if destination.l_threshold > destination.u_threshold:
        return errno.ERANGE
    if destination.tun_type > _GRE or (destination.tun_type == _GUE and not destination.tun_port):
        return errno.EINVAL
    return 0


class MemoryTable:
    """An IPVS table that balances nothing. The verbs are those of `Ipvs`."""

    def __init__(self) -> None:
        self._services: dict[ServiceKey, VirtualService] = {}
        self._destinations: dict[ServiceKey, dict[DestinationKey, Destination]] = {}
        self._daemons: dict[SyncRole, SyncDaemon] = {}
        self.writes = 0

    @classmethod
    async def open(cls) -> MemoryTable:
        """An empty table."""
        return cls()

    def close(self) -> None:
        """Nothing to give back."""

    async def read_table(self, expected: Mapping[ServiceKey, ServiceEntry] | None = None) -> Table:
        """Every service with its destinations in the order they were added."""
        return {
            key: ServiceEntry(service, dict(self._destinations[key]))
            for key, service in self._services.items()
        }

    async def read_usage(self) -> Mapping[tuple[ServiceKey, DestinationKey], Usage]:
        """Every destination, without a connection."""
        return {(key, name): Usage() for key, names in self._destinations.items() for name in names}

    async def apply(self, steps: Sequence[Step]) -> list[tuple[Step, KernelError]]:
        """Take the steps in this order; the refused ones come back with the kernel's reason."""
        self.writes += len(steps)
        refused = [(step, self._take(step)) for step in steps]
        return [(step, step_error(step, number)) for step, number in refused if number]

    def _take(self, step: Step) -> int:
        match step:
            case NewService(service):
                return self._store_service(service, new=True)
            case SetService(service):
                return self._store_service(service, new=False)
            case DelService(key):
                self._destinations.pop(key, None)
                return 0 if self._services.pop(key, None) else errno.ESRCH
            case NewDest(key, destination):
                return self._store_destination(key, destination, new=True)
            case SetDest(key, destination):
                return self._store_destination(key, destination, new=False)
            case DelDest(key, name):
                if key not in self._services:
                    return errno.ESRCH
                return 0 if self._destinations[key].pop(name, None) else errno.ENOENT

    def _store_service(self, service: VirtualService, *, new: bool) -> int:
        present = service.key in self._services
        if present is new:
            return errno.EEXIST if new else errno.ESRCH
        refusal = _service_refusal(service)
        if not refusal:
            self._services[service.key] = service
            self._destinations.setdefault(service.key, {})
        return refusal

    def _store_destination(self, key: ServiceKey, destination: Destination, *, new: bool) -> int:
        if key not in self._services:
            return errno.ESRCH
        refusal = _destination_refusal(key, destination)
        if refusal:
            return refusal
        destinations = self._destinations[key]
        if (destination.key in destinations) is new:
            return errno.EEXIST if new else errno.ENOENT
        destinations[destination.key] = destination
        return 0

    async def sync_daemons(self) -> tuple[SyncDaemon, ...]:
        """The daemons that would run, master first."""
        return tuple(self._daemons[role] for role in sorted(self._daemons))

    async def start_sync(self, daemon: SyncDaemon) -> None:
        """Remember a daemon. Raises KernelError EEXIST if its role runs already."""
        self.writes += 1
        if daemon.role in self._daemons:
            raise sync_error(daemon.role, daemon, errno.EEXIST)
        self._daemons[daemon.role] = daemon

    async def stop_sync(self, role: SyncRole) -> None:
        """Forget a daemon. Raises KernelError ESRCH if none runs."""
        self.writes += 1
        if self._daemons.pop(role, None) is None:
            raise sync_error(role, None, errno.ESRCH)

    async def info(self) -> tuple[str, int]:
        """No version and no connection table."""
        return "none", 0
