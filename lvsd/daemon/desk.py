"""Where operators are served: implements the control server's `Desk` for the director.

Answers are made from the director's own state; the kernel is asked for connection counts at most
once a second, whoever asks how often.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from lvsd import __version__
from lvsd.control.history import History
from lvsd.control.status import (
    ConfigStatus,
    PlanResult,
    ReloadResult,
    RouterStatus,
    Status,
)
from lvsd.core.director import desired, find_reals, step
from lvsd.core.happenings import ConfigLoaded, Drain, RealKey, TableAdopted, Undrain
from lvsd.core.plan import describe, plan
from lvsd.daemon.messages import StatusRequest
from lvsd.daemon.view import Usages, View, sync_status, table_status
from lvsd.linux import KernelError

if TYPE_CHECKING:
    from lvsd.daemon.director import Child

#: Seconds for which connection counts are believed.
USAGE_AGE = 1.0
#: Seconds to wait for main's newest counters before older ones are shown.
_ROUTERS_WAIT = 0.3
_USAGE_WAIT = 3.0


class Desk:
    """The director's side of the control socket."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._usage: Usages = {}
        self._usage_at = float("-inf")
        self._usage_lock = asyncio.Lock()

    async def status(self) -> Status:
        """Everything at a glance."""
        child = self._child
        await self._ask_main()
        usage = await self._counts()
        view = View(child.director, child.applier, usage, child.verdicts.latency, child.unix)
        return Status(
            version=__version__,
            pid=os.getppid(),
            since=child.options.since,
            host=socket.gethostname(),
            config=self._config(),
            vrrp=[msgspec.convert(msgspec.to_builtins(r), RouterStatus) for r in child.routers],
            virtuals=view.virtuals(),
            syncdaemons=sync_status(child.settings.threads if child.settings else ()),
            table=table_status(child.applier, child.director, child.options.table, child.info),
            checks=child.verdicts.status(),
            notes=[*child.verdicts.notes(), *child.store.notes()],
        )

    def _config(self) -> ConfigStatus:
        config = self._child.director.config
        return ConfigStatus(
            path=config.path,
            sha256=config.sha256,
            loaded=self._child.configuration.loaded,
            errors=self._child.configuration.errors,
            warnings=list(config.warnings),
        )

    async def _ask_main(self) -> None:
        if not self._child.director.config.routers:
            return
        answer = self._child.routers_told
        self._child.parent.send(StatusRequest())
        await asyncio.wait([answer], timeout=_ROUTERS_WAIT)

    async def _counts(self) -> Usages:
        applier = self._child.applier
        if applier is None:
            return {}
        async with self._usage_lock:
            loop = asyncio.get_running_loop()
            if loop.time() - self._usage_at >= USAGE_AGE:
                try:
                    async with asyncio.timeout(_USAGE_WAIT):
                        self._usage = await applier.kernel.read_usage()
                except (KernelError, TimeoutError):
                    pass  # older counts are better than no answer; the applier tells of the error
                self._usage_at = loop.time()
        return self._usage

    async def drain(self, real: str, virtual: str | None, deadline: float | None) -> list[str]:
        """Take a real server out of service. Raises LookupError."""
        keys = find_reals(self._child.director, real, virtual)
        now = asyncio.get_running_loop().time()
        for key in keys:
            self._child.feed(Drain(key, None if deadline is None else now + deadline))
        return await self._touched(keys)

    async def undrain(self, real: str, virtual: str | None) -> list[str]:
        """Put a real server back into service. Raises LookupError."""
        keys = find_reals(self._child.director, real, virtual)
        for key in keys:
            self._child.feed(Undrain(key))
        return await self._touched(keys)

    async def _touched(self, keys: tuple[RealKey, ...]) -> list[str]:
        await self._child.keeper.save_drains()  # an answer means that a restart will know
        return [f"{key.virtual} {key.real}" for key in keys]

    async def reload(self) -> ReloadResult:
        """Read the configuration again and follow it."""
        return await self._child.configuration.reload()

    async def plan(self) -> PlanResult:
        """What a reload would change in the kernel now; changes nothing."""
        child = self._child
        config, errors = await child.prelude.reader.read()
        if config is None:
            return PlanResult(steps=[], source="", errors=errors)
        applier = child.applier
        try:
            table = {} if applier is None else dict(await applier.look())
        except KernelError as error:
            return PlanResult(steps=[], source="", errors=[str(error)])
        now = asyncio.get_running_loop().time()
        director, _ = step(child.director, TableAdopted(table), now)
        director, _ = step(director, ConfigLoaded(config), now)
        owned = set() if applier is None else applier.owned
        steps = plan(table, desired(director).table, owned)
        return PlanResult(
            steps=[describe(s) for s in steps],
            source="health from the running daemon",
            warnings=list(config.warnings),
        )

    async def stepdown(self, name: str, undo: bool) -> str:
        """Have main give up, or take back, mastership. Raises LookupError."""
        routers = self._child.director.config.routers
        if name and name not in {router.name for router in routers}:
            raise LookupError(f'no vrrp block "{name}" in the configuration')
        if not routers:
            raise LookupError("the configuration has no vrrp blocks")
        return await self._child.parent.command("resume" if undo else "stepdown", name)

    @property
    def history(self) -> History:
        """What happened lately."""
        return self._child.history

    def operators(self) -> Collection[str]:
        """Users who may change things besides root."""
        return self._child.director.config.operators
