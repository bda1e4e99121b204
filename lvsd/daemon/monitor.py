"""`monitorfile=`: a line for each check, `[TIME] [PID] CHECK [up|down] REASON`, as ldirectord's.

Lines are gathered for a moment and appended in a thread, for disks may hang. More than `LIMIT`
waiting lines are dropped and counted. The file is opened for each batch, so that it can be moved
away at any time.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterable

from lvsd import log
from lvsd.core.director import Director
from lvsd.core.happenings import CheckFinished
from lvsd.core.model import DestinationKey, ServiceKey
from lvsd.core.pool import Pool
from lvsd.core.sentences import identities

#: Lines that may wait for the disk.
LIMIT = 100_000
#: Seconds for which lines are gathered.
_DELAY = 0.2


class MonitorFiles:
    """Writes the lines of every service that has a monitor file."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self._count = self._lost = 0
        self._task: asyncio.Task[None] | None = None
        self._failing: set[str] = set()
        self._identities: dict[ServiceKey, dict[DestinationKey, str]] = {}

    def checked(self, results: Iterable[CheckFinished], director: Director) -> None:
        """Note what some checks said."""
        head = f"[{time.ctime()}] [{os.getpid()}]"
        for result in results:
            for key in director.fanout.get(result.check, ()):
                pool = director.pools[key.virtual]
                if path := pool.virtual.actions.monitorfile:
                    state = "up" if result.passed else "down"
                    reason = _encoded(result.reason)
                    if key in director.maintenance:
                        state, reason = "down", "Server in maintenance"
                    name = self._named(pool)[key.real]
                    self._add(path, f"{head} {name} [{state}] {reason}\n")

    def forget(self) -> None:
        """Another configuration: its checks may have other names."""
        self._identities.clear()

    def _named(self, pool: Pool) -> dict[DestinationKey, str]:
        key = pool.virtual.key
        if key not in self._identities:
            self._identities[key] = identities(pool.virtual)
        return self._identities[key]

    async def close(self, time_limit: float) -> None:
        """Write what waits; a disk that hangs is not waited for."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=time_limit)

    def _add(self, path: str, line: str) -> None:
        if self._count >= LIMIT:
            self._lost += 1
            return
        self._count += 1
        self._lines.setdefault(path, []).append(line)
        if self._task is None:
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._lines:
            await asyncio.sleep(_DELAY)
            lines, self._lines, self._count = self._lines, {}, 0
            failures = await asyncio.to_thread(_append, lines)
            for path in failures.keys() - self._failing:
                log.get().error("state_lost", path=path, error=failures[path])
            self._failing = set(failures)
            if self._lost:
                lost, self._lost = self._lost, 0
                log.get().warning("lines_dropped", count=lost)
        self._task = None


def _append(lines: dict[str, list[str]]) -> dict[str, str]:
    """Write each file; what went wrong, by path."""
    failures = {}
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    for path, batch in lines.items():
        try:
            fd = os.open(path, flags, 0o640)
            with open(fd, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(batch)
        except OSError as error:
            failures[path] = error.strerror or str(error)
    return failures


def _encoded(reason: str) -> str:
    """A reason on one line: percent signs, bars, CR and LF as %xx."""
    return re.sub(r"[%|\r\n]", lambda found: f"%{ord(found[0]):02x}", reason)
