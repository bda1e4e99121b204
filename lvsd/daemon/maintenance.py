"""The maintenance folder: a file named after a real server takes it out of service.

The folder is watched with inotify, so a file counts at once. Names are those of ldirectord:
ADDRESS, HOST or the host's first label, each alone or with `:PORT`: the port as configured, 0
where none was, or that of the kernel's table. Host names come from the reverse DNS; they are
asked for in a thread, when a configuration is loaded and each time the folder has changed, and an
address alone never waits for them. A name once heard counts until the DNS has another. A folder
that is not there yet, or went away, is looked for again every few seconds; one that can't be read
counts as it was.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping

from lvsd import log
from lvsd.core.happenings import RealKey
from lvsd.core.model import IPAddress, RealServer, Virtual
from lvsd.linux.folder import listed, listings

#: Seconds between two looks for a folder that is not there.
RETRY_DELAY = 5.0
#: Seconds until a folder in the place of another is looked at.
_REPLACED_DELAY = 0.1
#: Seconds for which host names are asked for at a stretch: a dead DNS must not tie us up.
_LOOKUP_TIME = 20.0
#: Seconds for which a configuration waits for the host names of its real servers.
_PATIENCE = 2.0


class MaintenanceFolder:
    """Tells `changed` of every real that a file names, with the file's path; a level."""

    def __init__(self, changed: Callable[[Mapping[RealKey, str]], None]) -> None:
        self._changed = changed
        self._path = ""
        self._virtuals: tuple[Virtual, ...] = ()
        self._hosts: dict[IPAddress, str] = {}
        self._files: frozenset[str] = frozenset()
        self._complained = self._stale = False
        self._task: asyncio.Task[None] | None = None
        self._naming: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # what is told last is the newest

    async def look(self, path: str, virtuals: tuple[Virtual, ...]) -> Mapping[RealKey, str]:
        """What this folder ("" for none) says now of these services' real servers.

        They are what counts from now on; `follow` watches.
        """
        if path != self._path:
            self.close()
            self._path, self._files = path, frozenset()
        self._virtuals = virtuals
        if path:
            try:
                self._files = await asyncio.to_thread(listed, path)
            except OSError as error:
                self._missed(error)
        self._name()
        if self._naming is not None:
            await asyncio.wait([self._naming], timeout=_PATIENCE)
        return await self._named()

    def follow(self) -> None:
        """Watch the folder last looked at."""
        if not self._path:
            return
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
        self._telling = asyncio.create_task(self._tell())  # what came while it was loaded

    def close(self) -> None:
        """Watch no more."""
        for task in (self._task, self._naming, self._telling):
            if task is not None:
                task.cancel()
        self._task = self._naming = self._telling = None

    async def _watch(self) -> None:
        while True:
            delay = _REPLACED_DELAY
            try:
                async for files in listings(self._path):
                    self._complained = False
                    await self._seen(files)
            except OSError as error:
                await self._seen(self._missed(error))
                delay = RETRY_DELAY
            await asyncio.sleep(delay)

    def _missed(self, error: OSError) -> frozenset[str]:
        """The files that count while there is no folder to read."""
        if not self._complained:
            reason = error.strerror or str(error)
            log.get().warning("maintenance_failed", path=self._path, error=reason)
        self._complained = True
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        return frozenset() if gone else self._files

    async def _seen(self, files: frozenset[str]) -> None:
        if files != self._files:
            self._files = files
            await self._tell()
            self._name()

    def _name(self) -> None:
        """Ask for host names, now or once more, where a file may be a host's."""
        self._stale = True
        if self._naming is None and not all(map(_numeric, self._files)):
            self._naming = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        addresses: set[IPAddress] = set()
        while self._stale or not addresses <= self._hosts.keys():
            self._stale = False
            addresses = {real.key.address for v in self._virtuals for real in v.reals}
            await asyncio.to_thread(_look_up, addresses, self._hosts)
            if self._task is not None:  # else it is for `look` to tell
                await self._tell()
        self._naming = None

    async def _tell(self) -> None:
        virtuals: tuple[Virtual, ...] | None = None
        async with self._lock:
            while virtuals is not self._virtuals:
                virtuals = self._virtuals
                found = await self._named()
            self._changed(found)

    async def _named(self) -> Mapping[RealKey, str]:
        if not (files := self._files):
            return {}
        args = self._path, files, self._virtuals, self._hosts
        return await asyncio.to_thread(_reals_of, *args)


def _reals_of(
    path: str,
    files: frozenset[str],
    virtuals: Iterable[Virtual],
    hosts: Mapping[IPAddress, str],
) -> dict[RealKey, str]:
    """Every real that one of the files names, with the first of its files."""
    found = {}
    for virtual in virtuals:
        for real in virtual.reals:
            host = hosts.get(real.key.address, "")
            if name := next((n for n in names(real, host) if n in files), ""):
                found[RealKey(virtual.key, real.key)] = os.path.join(path, name)
    return found


def names(real: RealServer, host: str) -> Iterable[str]:
    """The files that mean this real server, `host` being its full name or ""."""
    address = f"[{real.key.address}]" if real.key.address.version == 6 else str(real.key.address)
    label = host.partition(".")[0] if re.match(r"[a-z][^.]*\.", host) else ""
    for name in filter(None, (address, host, label)):
        yield from (f"{name}:{port}" for port in (real.port, real.key.port))
        yield name


def _numeric(name: str) -> bool:
    """Whether a file can only mean an address, so that no name must be looked up."""
    return bool(re.fullmatch(r"\[[0-9a-f:.]+\](:[0-9]+)?|[0-9.]+(:[0-9]+)?", name))


def _look_up(addresses: Iterable[IPAddress], hosts: dict[IPAddress, str]) -> None:
    """Put host names into `hosts`, "" where there never was one; first those never asked for."""
    until = time.monotonic() + _LOOKUP_TIME
    for address in sorted(addresses, key=lambda address: address in hosts):
        if time.monotonic() > until:
            break
        try:
            hosts[address] = socket.getnameinfo((str(address), 0), socket.NI_NAMEREQD)[0]
        except (OSError, UnicodeError):
            hosts.setdefault(address, "")
