"""Kernel settings that go with the table: synchronisation threads and sysctls.

Both are levels: `follow` makes them so and may be called at any time. The value a sysctl had
before us is remembered, also over restarts, and put back when nothing needs ours any more. Threads
are ours from the first time the configuration asks for one; before that nobody's are touched.
A refusal is logged once and tried again at the next call.
"""

from __future__ import annotations

from collections.abc import Mapping

from lvsd import log
from lvsd.core.model import SyncDaemon, SyncRole
from lvsd.daemon.table import Kernel
from lvsd.linux import KernelError, local, sysctl


class Settings:
    """The one writer of threads and sysctls. `original` has the values before us."""

    def __init__(self, kernel: Kernel, original: Mapping[str, str], *, real: bool = True) -> None:
        self.original = dict(original)
        self.threads: tuple[SyncDaemon, ...] = ()
        self._kernel = kernel
        self._real = real
        self._ours = False
        self._told: set[str] = set()
        #: What each thread was started with, as far as the kernel does not tell it: the `maxlen`
        #: that was asked for, and the number of the interface.
        self._started: dict[SyncRole, tuple[int, int]] = {}

    async def follow(
        self, threads: tuple[SyncDaemon, ...] | None, sysctls: Mapping[str, str]
    ) -> None:
        """Make it so; `threads` None leaves the threads alone."""
        told, self._told = self._told, set()
        if self._real:
            self._set_all(sysctls, told)
        if threads or (self._ours and threads is not None):
            self._ours = True
            await self._thread_all(threads, told)

    def _refused(self, event: str, error: KernelError, told: set[str]) -> None:
        if str(error) not in told:
            log.get().error(event, error=str(error))
        self._told.add(str(error))

    def _set_all(self, wanted: Mapping[str, str], told: set[str]) -> None:
        before = {name: value for name, value in self.original.items() if name not in wanted}
        for name, value in (*before.items(), *wanted.items()):
            try:
                self._set(name, value)
            except KernelError as error:
                self._refused("sysctl_failed", error, told)
        for name in before:
            del self.original[name]

    def _set(self, name: str, value: str) -> None:
        old = " ".join(sysctl.read(name).split())
        if old != value:
            sysctl.write(name, value)
            self.original.setdefault(name, old)
            log.get().info("sysctl_set", name=name, value=value, before=old)

    async def _thread_all(self, wanted: tuple[SyncDaemon, ...], told: set[str]) -> None:
        try:
            running = await self._kernel.sync_daemons()
            stays = [t for t in wanted if self._stays(t, running)]
            for thread in running:
                if thread not in stays:
                    await self._kernel.stop_sync(thread.role)
                    self._started.pop(thread.role, None)
                    log.get().info("sync_stopped", **_fields(thread))
            for thread in wanted:
                if thread not in stays:
                    await self._kernel.start_sync(thread)
                    index = local.interface_index(thread.interface)
                    self._started[thread.role] = (thread.maxlen, index)
                    log.get().info("sync_started", **_fields(thread))
        except KernelError as error:
            self._refused("sync_failed", error, told)
        self.threads = await self._running()

    def _stays(self, wanted: SyncDaemon, running: tuple[SyncDaemon, ...]) -> bool:
        """Whether a thread runs as wanted.

        What the kernel chose as `maxlen` is no wish of ours. A thread stays with the interface it
        was started on: when that was removed and made again, it talks to nobody.
        """
        found = next((thread for thread in running if thread == wanted), None)
        if found is None:
            return False
        index = local.interface_index(wanted.interface)
        as_found = (wanted.maxlen and found.maxlen, index)
        return self._started.setdefault(wanted.role, as_found) == (wanted.maxlen, index)

    async def _running(self) -> tuple[SyncDaemon, ...]:
        try:
            return await self._kernel.sync_daemons()
        except KernelError:
            return ()


def _fields(thread: SyncDaemon) -> dict[str, object]:
    role = thread.role.name.lower()
    return {"role": role, "interface": thread.interface, "syncid": thread.syncid}
