"""Keeps the kernel's IPVS table as the Director wishes it: one writer, the newest wish, for ever.

The applier remembers what it last knew of the kernel (`picture`), so that a changed weight needs no
dump. It compares wishes service by service and by identity; only what differs is planned. Every
`DUMP_INTERVAL` it reads the whole table and looks for drift: what others changed in services of
ours is repaired, except a weight set to 0 by hand, which is offered to the director as a drain. A
key that had to be repaired `REPAIRS` times within `REPAIR_WINDOW` is contested: it is left alone
until it is right again or the wish for it changes. Services that are not ours are only listed.

A refusal by the kernel is logged once, then the table is read again and the newest wish tried
again, with back-off. Synchronisation threads and sysctls are kept by `kernel_settings`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from lvsd import log
from lvsd.core.happenings import RealKey
from lvsd.core.model import (
    Destination,
    DestinationKey,
    Forwarding,
    ServiceEntry,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Table,
    Usage,
    VirtualService,
)
from lvsd.core.plan import (
    DelDest,
    DelService,
    NewDest,
    NewService,
    SetDest,
    SetService,
    Step,
    describe,
    plan,
)
from lvsd.daemon.rivals import rivals
from lvsd.linux import KernelError

#: Seconds between two looks at the whole table (design rule 5).
DUMP_INTERVAL = 5.0
#: So many repairs of one key within this window, in seconds, and it is contested.
REPAIRS, REPAIR_WINDOW = 3, 60.0
#: Seconds before a refused change is tried again, doubled up to the second.
_RETRY_DELAY, _RETRY_DELAY_MAX = 0.2, 5.0

#: Steps of one round that are logged one by one.
_TOLD = 20

#: What one step touches: a service, or a destination in it.
Target = tuple[ServiceKey, DestinationKey | None]
Wished = VirtualService | Destination | None


class Kernel(Protocol):
    """What `lvsd.linux.ipvs.Ipvs` and `lvsd.linux.memory.MemoryTable` both do."""

    writes: int

    async def read_table(
        self, expected: Mapping[ServiceKey, ServiceEntry] | None = None
    ) -> Table: ...
    async def read_usage(self) -> Mapping[tuple[ServiceKey, DestinationKey], Usage]: ...
    async def apply(self, steps: Sequence[Step]) -> list[tuple[Step, KernelError]]: ...
    async def sync_daemons(self) -> tuple[SyncDaemon, ...]: ...
    async def start_sync(self, daemon: SyncDaemon) -> None: ...
    async def stop_sync(self, role: SyncRole) -> None: ...
    async def info(self) -> tuple[str, int]: ...
    def close(self) -> None: ...


class Applier:
    """The one writer of the table. `changed` is called after each round, on the loop.

    `zeroed` and `raised` are asked whether a weight changed by hand is adopted; the answer True
    means that the next wish agrees with it. Times inside are the loop's, `last_repair` is Unix's.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        zeroed: Callable[[RealKey], bool],
        raised: Callable[[RealKey], bool],
        changed: Callable[[], None],
    ) -> None:
        self.kernel = kernel
        self.picture: dict[ServiceKey, ServiceEntry] = {}
        self.owned: set[ServiceKey] = set()
        self.local: set[Target] = set()
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.contested: dict[Target, tuple[Wished, str]] = {}
        self.repairs = 0
        self.last_repair: float | None = None
        self._zeroed, self._raised, self._changed = zeroed, raised, changed
        self._wish: Table | None = None
        self._applied: dict[ServiceKey, ServiceEntry] = {}
        self._repaired: dict[Target, deque[float]] = {}
        self._wake = asyncio.Event()
        self._unread = True
        self._retry_delay = _RETRY_DELAY
        self._lock = asyncio.Lock()

    @property
    def settled(self) -> bool:
        """True when the kernel is known to hold the newest wish."""
        return not self._pending() and not self.errors

    def wish(self, table: Table) -> None:
        """What the kernel shall hold from now on."""
        self._wish = table
        self._wake.set()

    async def read(self, expected: Table | None = None) -> Table:
        """Read the whole table into the picture, and return it. Raises KernelError.

        While there is no wish, what is `expected` makes reading cheap where it is right.
        """
        async with self._lock:
            if self._wish is None:
                self._take(await self.kernel.read_table(expected), expected)
            else:
                await self._inspect()  # nobody's change may slip in unseen
        return self.picture

    async def look(self) -> Table:
        """The table as it is, without any consequence. Raises KernelError."""
        return self._normal(await self.kernel.read_table(self._wish))

    async def run(self) -> None:
        """Apply and inspect for ever; cancel to stop."""
        loop = asyncio.get_running_loop()
        inspect_at = loop.time() + DUMP_INTERVAL
        while True:
            delay = self._retry_delay if self.errors or self._unread else inspect_at - loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(delay, 0.0)):
                    await self._wake.wait()
            self._wake.clear()
            late = loop.time() >= inspect_at
            await self.round(inspect=late or bool(self.errors) or self._unread)
            if late:
                inspect_at = loop.time() + DUMP_INTERVAL

    async def round(self, *, inspect: bool) -> None:
        """One turn: look at the kernel if asked to, then bring it to the newest wish."""
        async with self._lock:
            try:
                if inspect:
                    await self._inspect()
                await self._apply()
            except KernelError as error:
                self._failed([str(error)])
        self._changed()

    async def clear(self, keys: Iterable[ServiceKey]) -> list[str]:
        """Remove these services, if they are there; returns what the kernel refused."""
        async with self._lock:
            try:
                self._take(await self.kernel.read_table(self._wish))
                steps = [DelService(key) for key in keys if key in self.picture]
                return [str(error) for _, error in await self.kernel.apply(steps)] if steps else []
            except KernelError as error:
                return [str(error)]

    # --- applying -------------------------------------------------------------

    def _pending(self) -> list[ServiceKey]:
        """Services whose wish is not the one last applied."""
        applied, wish = self._applied, self._wish
        if wish is None:
            return []
        pending = [key for key, entry in wish.items() if applied.get(key) is not entry]
        pending += [key for key in applied if key not in wish]
        pending += [key for key in self.owned if key in self.picture and key not in wish]
        return list(dict.fromkeys(pending))

    async def _apply(self) -> None:
        keys, wish = self._pending(), self._wish or {}
        steps = self._uncontested(self._plan(keys, wish), wish)
        refused = await self.kernel.apply(steps) if steps else []
        failed = {_target(step) for step, _ in refused}
        done = [step for step in steps if _target(step) not in failed] if failed else steps
        _tell(done)
        doubtful = {key for key, _ in failed} | {key for key, _ in self.contested}
        for step in done if doubtful else ():
            if step.key in doubtful:
                self._imagine(step)
        for key in keys:
            self._learn(key, wish.get(key), doubtful)
        for step, _ in refused:
            self._applied.pop(step.key, None)
        self._failed([str(error) for _, error in refused])

    def _learn(
        self, key: ServiceKey, entry: ServiceEntry | None, doubtful: set[ServiceKey]
    ) -> None:
        """A service is now as wished; where steps were refused or left out, the picture knows."""
        if entry is None:
            self._applied.pop(key, None)
        else:
            self._applied[key] = entry
        if key in doubtful:
            return
        if entry is None:
            self.picture.pop(key, None)
        else:
            self.picture[key] = entry

    def _plan(self, keys: Iterable[ServiceKey], wish: Table) -> tuple[Step, ...]:
        actual = {key: self.picture[key] for key in keys if key in self.picture}
        desired = {key: wish[key] for key in keys if key in wish}
        return plan(actual, desired, self.owned)

    def _failed(self, errors: list[str]) -> None:
        for error in errors:
            if error not in self.errors:
                log.get().error("table_failed", error=error)
        self._retry_delay = min(2 * self._retry_delay, _RETRY_DELAY_MAX) if errors else _RETRY_DELAY
        self._unread = self._unread or bool(errors)
        self.errors = errors

    def _imagine(self, step: Step) -> None:
        """The picture after a step that the kernel took."""
        match step:
            case NewService(service):
                self.picture[step.key] = ServiceEntry(service, {})
            case SetService(service):
                self.picture[step.key] = replace(self.picture[step.key], service=service)
            case DelService(key):
                self.picture.pop(key, None)
            case NewDest(key, destination) | SetDest(key, destination):
                entry = self.picture[key]
                destinations = {**entry.destinations, destination.key: destination}
                self.picture[key] = replace(entry, destinations=destinations)
            case DelDest(key, name):
                entry = self.picture[key]
                left = {k: d for k, d in entry.destinations.items() if k != name}
                self.picture[key] = replace(entry, destinations=left)

    # --- inspecting -----------------------------------------------------------

    def _take(self, actual: Table, expected: Table | None = None) -> None:
        self.picture = self._normal(actual, expected)
        self._unread, wish = False, self._wish or {}
        foreign = [
            f"{key.protocol.name} {key} {entry.service.scheduler}"
            for key, entry in actual.items()
            if key not in self.owned and key not in wish
        ]
        for line in foreign:
            if line not in self.foreign:
                log.get().info("foreign_service_found", service=line)
        self.foreign = foreign

    def _normal(
        self, actual: Table, expected: Table | None = None
    ) -> dict[ServiceKey, ServiceEntry]:
        """The kernel calls a destination of this host Local, however it was asked for."""
        self.local.clear()
        normal, wish = dict(actual), self._wish or expected or {}
        for key, entry in actual.items():
            wished = wish.get(key)
            if entry is wished:
                continue  # nobody wishes for Local
            for name, destination in entry.destinations.items():
                if destination.forwarding is not Forwarding.LOCAL:
                    continue
                self.local.add((key, name))
                asked = wished.destinations.get(name) if wished else None
                if asked is not None:
                    same = replace(destination, forwarding=asked.forwarding)
                    destinations = {**normal[key].destinations, name: same}
                    normal[key] = replace(entry, destinations=destinations)
        return normal

    async def _inspect(self) -> None:
        believed = self.picture
        blind = self._unread
        self._take(await self.kernel.read_table(self._wish))
        wish = self._wish or {}
        ours = self.owned | wish.keys()
        drifted = [key for key in ours if self.picture.get(key) != believed.get(key)]
        if blind:  # after a refusal nobody knows whose change it was
            for key in drifted:
                self._applied.pop(key, None)
            return
        for key in drifted:
            self._adopt(wish.get(key), believed.get(key), self.picture.get(key))
        for key in drifted:
            self._applied.pop(key, None)
        wish = self._wish or {}  # what was adopted is wished by now
        self._count(self._plan(drifted, wish), wish)
        self._forgive(wish)

    def _adopt(
        self,
        wished: ServiceEntry | None,
        before: ServiceEntry | None,
        after: ServiceEntry | None,
    ) -> None:
        """Offer weights that somebody set by hand, to 0 or back, to the director."""
        if before is None or after is None or wished is None:
            return
        key = wished.service.key
        for name, destination in after.destinations.items():
            old, wish = before.destinations.get(name), wished.destinations.get(name)
            if old is None or wish is None or old.weight == destination.weight:
                continue
            if destination.weight == 0 and wish.weight > 0:
                self._zeroed(RealKey(key, name))
            elif destination.weight > 0 and wish.weight == 0:
                self._raised(RealKey(key, name))

    def _count(self, steps: tuple[Step, ...], wish: Table) -> None:
        """Repairs are counted by key; too many of one make it contested."""
        now = asyncio.get_running_loop().time()
        for step in steps:
            target, wished = _target(step), _wished(step, wish)
            if self._given_up(target, wished):
                continue
            times = self._repaired.setdefault(target, deque(maxlen=REPAIRS))
            if len(times) == REPAIRS and now - times[0] < REPAIR_WINDOW:
                self._contest(target, wished, describe(step))
                continue
            times.append(now)
            self.repairs += 1
            self.last_repair = time.time()
            log.get().warning("table_repaired", step=describe(step))

    def _contest(self, target: Target, wished: Wished, step: str) -> None:
        self.contested[target] = (wished, step)
        who = rivals()
        log.get().error(
            "table_contested", wanted=step, suspects=who or "none found", repairs=REPAIRS
        )

    def _given_up(self, target: Target, wished: Wished) -> bool:
        given_up = self.contested.get(target)
        return given_up is not None and given_up[0] == wished

    def _uncontested(self, steps: Iterable[Step], wish: Table) -> list[Step]:
        if not self.contested:
            return [*steps]
        return [step for step in steps if not self._given_up(_target(step), _wished(step, wish))]

    def _forgive(self, wish: Table) -> None:
        """A contested key that is right again, or wished otherwise, is ours to keep again."""
        keys = {key for key, _ in self.contested}
        wrong = {_target(step): _wished(step, wish) for step in self._plan(keys, wish)}
        for target, (wished, _) in list(self.contested.items()):
            if target not in wrong or wrong[target] != wished:
                del self.contested[target]
                self._repaired.pop(target, None)


def _tell(steps: list[Step]) -> None:
    """One line per step, or one for all where nobody would read them."""
    for step in steps[:_TOLD]:
        log.get().info("table_changed", step=describe(step))
    if len(steps) > _TOLD:
        log.get().info("table_changed", step=f"{len(steps) - _TOLD} steps more")


def _target(step: Step) -> Target:
    match step:
        case NewDest(key, destination) | SetDest(key, destination):
            return key, destination.key
        case DelDest(key, name):
            return key, name
        case _:
            return step.key, None


def _wished(step: Step, wish: Table) -> Wished:
    key, name = _target(step)
    entry = wish.get(key)
    if entry is None:
        return None
    return entry.service if name is None else entry.destinations.get(name)
