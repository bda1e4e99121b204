"""The maintenance folder: a file named after a real server takes it out of service.

The folder is watched with inotify, so a file counts at once. Names are those of ldirectord:
ADDRESS, HOST or the host's first label, each alone or with `:PORT` (the port as configured, 0
where none was). Host names come from the reverse DNS; they are asked for in a thread, when a
configuration is loaded and each time the folder has changed, and an address alone never waits for
them. A folder that is not there yet, or went away, is looked for again every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping

from lvsd import log
from lvsd.core.happenings import RealKey
from lvsd.core.model import IPAddress, RealServer, Virtual
from lvsd.linux.folder import listings

#: Seconds between two looks for a folder that is not there.
RETRY_DELAY = 5.0
#: Seconds that may pass before no more host names are asked for: a dead DNS must not tie us up.
_LOOKUP_TIME = 20.0


class MaintenanceFolder:
    """Tells `changed` of every real that a file names, with the file's path; a level."""

    def __init__(self, changed: Callable[[Mapping[RealKey, str]], None]) -> None:
        self._changed = changed
        self._path = ""
        self._virtuals: tuple[Virtual, ...] = ()
        self._hosts: dict[IPAddress, str] = {}
        self._files: frozenset[str] = frozenset()
        self._complained = False
        self._task: asyncio.Task[None] | None = None
        self._naming: asyncio.Task[None] | None = None

    def follow(self, path: str, virtuals: tuple[Virtual, ...]) -> None:
        """Watch this folder ("" for none) for these services' real servers."""
        self._virtuals = virtuals
        if path != self._path:
            self.close()
            self._path, self._files = path, frozenset()
        if not path:
            self._changed({})
        elif self._task is None:
            self._task = asyncio.create_task(self._watch())
        else:
            self._seen(self._files)

    def close(self) -> None:
        """Watch no more."""
        for task in (self._task, self._naming):
            if task is not None:
                task.cancel()
        self._task = self._naming = None

    async def _watch(self) -> None:
        while True:
            reason = "the folder is gone"
            try:
                async for files in listings(self._path):
                    self._complained = False
                    self._seen(files)
            except OSError as error:
                reason = error.strerror or str(error)
            if not self._complained:
                log.get().warning("maintenance_failed", path=self._path, error=reason)
            self._complained = True
            self._seen(frozenset())
            await asyncio.sleep(RETRY_DELAY)

    def _seen(self, files: frozenset[str]) -> None:
        self._files = files
        self._tell()
        if self._naming is None and not all(map(_numeric, files)):
            self._naming = asyncio.create_task(self._name())

    async def _name(self) -> None:
        addresses = {real.key.address for v in self._virtuals for real in v.reals}
        self._hosts = await asyncio.to_thread(_host_names, addresses)
        self._naming = None
        self._tell()

    def _tell(self) -> None:
        found = {}
        for virtual in self._virtuals:
            for real in virtual.reals:
                host = self._hosts.get(real.key.address, "")
                if name := next((n for n in names(real, host) if n in self._files), ""):
                    found[RealKey(virtual.key, real.key)] = os.path.join(self._path, name)
        self._changed(found)


def names(real: RealServer, host: str) -> Iterable[str]:
    """The files that mean this real server, `host` being its full name or ""."""
    address = f"[{real.key.address}]" if real.key.address.version == 6 else str(real.key.address)
    ports = {str(real.key.port), real.name.rpartition(":")[2] if ":" in real.name else "0"}
    label = host.partition(".")[0] if re.match(r"[a-z][^.]*\.", host) else ""
    for name in filter(None, (address, host, label)):
        yield from (f"{name}:{port}" for port in sorted(ports))
        yield name


def _numeric(name: str) -> bool:
    """Whether a file can only mean an address, so that no name must be looked up."""
    return bool(re.fullmatch(r"\[[0-9a-f:.]+\](:[0-9]+)?|[0-9.]+(:[0-9]+)?", name))


def _host_names(addresses: Iterable[IPAddress]) -> dict[IPAddress, str]:
    found, until = {}, time.monotonic() + _LOOKUP_TIME
    for address in addresses:
        if time.monotonic() > until:
            break
        with contextlib.suppress(OSError, UnicodeError):
            name = socket.getnameinfo((str(address), 0), socket.NI_NAMEREQD)[0]
            found[address] = name
    return found
