"""The state directory: what must be known after a restart, and the last good configuration.

`drain.json` holds drains with their deadlines as Unix times. `manifest.json` holds the services
that are ours, so that one removed from the configuration while we were away is recognised, and the
values sysctls had before us. The configuration that is running (`lastgood`) is in the runtime
directory. Files are written whole or not at all (a new file renamed over the old one), mode 0600.

A file that cannot be read or written costs what it says, and a line in the log; never the service.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import msgspec

from lvsd import log
from lvsd.core.director import Director
from lvsd.core.happenings import Drain, RealKey
from lvsd.core.model import DestinationKey, Family, Protocol, ServiceKey
from lvsd.daemon.lastgood import LastGood, Running
from lvsd.daemon.watch import Signature

T = TypeVar("T")
#: Bytes of a file that are read, far above what the largest farm needs.
_LARGEST = 64 << 20
#: Kernel settings that may stand in the manifest, as sysctl(8) names them.
_OURS = re.compile(r"net[./]ipv4[./]vs[./][a-z_]+\Z")
#: A Unix time in the year 5138: no deadline is later.
_END_OF_TIME = 1e11


class _Service(msgspec.Struct, frozen=True):
    family: int
    protocol: int
    address: str
    port: int
    fwmark: int = 0


class StoredDrain(msgspec.Struct, frozen=True):
    """One drain; `deadline` is a Unix time, None for none."""

    virtual: _Service
    address: str
    port: int
    deadline: float | None = None
    by_hand: bool = False

    @property
    def key(self) -> RealKey:
        """The real server drained. Raises ValueError when the file holds nonsense."""
        real = DestinationKey(ip_address(self.address), self.port)
        return RealKey(_service_key(self.virtual), real)


class Manifest(msgspec.Struct, frozen=True):
    """Services that are ours, and the sysctls we changed with their values before."""

    services: list[_Service] = []
    sysctls: dict[str, str] = {}


def drains_of(director: Director, unix: Callable[[float], float]) -> list[StoredDrain]:
    """The drains in force as they are stored; `unix` makes a Unix time of a loop time."""
    stored = []
    for key, drain in director.drains.items():
        virtual, real, deadline_at = _service(key.virtual), key.real, drain.deadline_at
        deadline = None if deadline_at is None else unix(deadline_at)
        stored.append(StoredDrain(virtual, str(real.address), real.port, deadline, drain.by_hand))
    return stored


def restored(stored: Iterable[StoredDrain], offset: float) -> Iterator[Drain]:
    """The events that put stored drains in force; `offset` is Unix time minus loop time."""
    for drain in stored:
        deadline_at = None if drain.deadline is None else drain.deadline - offset
        yield Drain(drain.key, deadline_at, drain.by_hand)


class Store:
    """The files of one daemon, whose main process was started at `since` (Unix time)."""

    def __init__(self, state_dir: str, runtime_dir: str, since: float) -> None:
        self._drains = Path(state_dir) / "drain.json"
        self._manifest = Path(state_dir) / "manifest.json"
        self._last_good = LastGood(runtime_dir, since)
        self._lock = asyncio.Lock()
        self._spoilt: set[Path] = set()
        self._failed: dict[Path, str] = {}

    def notes(self) -> list[str]:
        """What an operator should know: files that cannot be written."""
        return [
            f"{path} cannot be written ({error}): it is lost at a restart"
            for path, error in self._failed.items()
        ]

    def drains(self) -> list[StoredDrain]:
        """The drains stored; those that make no sense are left out."""
        return [d for d in self._read(self._drains, list[StoredDrain], []) if self._sane(d)]

    async def save_drains(self, drains: list[StoredDrain]) -> None:
        """Replace the stored drains."""
        await self._save(self._drains, msgspec.json.encode(drains))

    def manifest(self) -> tuple[set[ServiceKey], dict[str, str]]:
        """Services that were ours, and sysctls with the values they had before us."""
        stored = self._read(self._manifest, Manifest, Manifest())
        try:
            services = {_service_key(service) for service in stored.services}
        except ValueError as error:
            self._spoil(self._manifest, error)
            return set(), {}
        # What is put back at the stop: nothing but what lvsd may have changed.
        return services, {k: v for k, v in stored.sysctls.items() if _OURS.match(k)}

    async def save_manifest(self, services: set[ServiceKey], sysctls: dict[str, str]) -> None:
        """Replace the manifest."""
        manifest = Manifest([_service(key) for key in sorted(services, key=str)], sysctls)
        await self._save(self._manifest, msgspec.json.encode(manifest))

    async def save_last_good(self, text: str, running: Running) -> None:
        """Keep a configuration, in normal form, for a restart of this process."""
        await self._save(self._last_good.path, self._last_good.content(text, running))

    async def save_tried(self, seen: Signature) -> None:
        """Another configuration is about to be tried: if that fells us, it is not tried again."""
        running = self._last_good.about()
        if running is not None:
            running = msgspec.structs.replace(running, seen=seen)
            await self.save_last_good(self._last_good.text(), running)

    def _read(self, path: Path, kind: type[T], otherwise: T) -> T:
        try:
            return msgspec.json.decode(_content(path), type=kind)
        except FileNotFoundError:
            return otherwise
        except (OSError, ValueError, RecursionError) as error:
            self._spoil(path, error)
            return otherwise

    def _sane(self, drain: StoredDrain) -> bool:
        try:
            if (drain.deadline or 0.0) > _END_OF_TIME:
                raise ValueError(f"no deadline: {drain.deadline:g}")
            return drain.key is not None
        except ValueError as error:
            self._spoil(self._drains, error)
            return False

    def _spoil(self, path: Path, error: Exception) -> None:
        """A file that is not what we wrote: said once, kept for a look, and not used."""
        self._spoilt.add(path)
        aside = f"set aside as {path.name}.bad when it is written next"
        reason = f"{_words(error)}; what is wrong in it is not used, and it is {aside}"
        log.get().error("state_lost", path=str(path), error=reason)

    async def _save(self, path: Path, content: bytes) -> None:
        async with self._lock:
            try:
                await asyncio.to_thread(_replace, path, content, aside=path in self._spoilt)
            except OSError as error:
                if self._failed.get(path) != _words(error):
                    log.get().error("state_lost", path=str(path), error=_words(error))
                self._failed[path] = _words(error)
            else:
                self._spoilt.discard(path)
                self._failed.pop(path, None)


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _content(path: Path) -> bytes:
    """A regular file, read without waiting. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(_LARGEST)


def _replace(path: Path, content: bytes, *, aside: bool) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    if aside:
        path.replace(path.with_name(f"{path.name}.bad"))
    new.replace(path)


def _service(key: ServiceKey) -> _Service:
    address = "" if key.address is None else str(key.address)
    return _Service(key.family, key.protocol, address, key.port, key.fwmark)


def _service_key(stored: _Service) -> ServiceKey:
    address = ip_address(stored.address) if stored.address else None
    family, protocol = Family(stored.family), Protocol(stored.protocol)
    return ServiceKey(family, protocol, address, stored.port, stored.fwmark)
