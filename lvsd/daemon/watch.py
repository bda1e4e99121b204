"""Notices that configuration files have changed on disk (`autoreload=yes`).

Once a second every source is looked at: time, size, inode. A change counts when two looks in a row
see the same, so that a file still being written is left alone. A file that vanishes is no change:
it is told once, and the configuration in force stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable

INTERVAL = 1.0

Signature = dict[str, tuple[int, int, int] | None]


class Watch:
    """Looks at `sources()` for ever. `changed` and `missing` are awaited, one at a time."""

    def __init__(
        self,
        sources: Callable[[], Iterable[str]],
        changed: Callable[[], Awaitable[object]],
        missing: Callable[[str], None],
    ) -> None:
        self._sources, self._changed, self._missing = sources, changed, missing
        self._told: set[str] = set()
        self._last: Signature = {}
        self._settled: Signature = {}

    def look_ahead(self) -> Signature:
        """The files as they are, to be taken before they are read."""
        return signature(self._sources())

    def accept(self, seen: Signature) -> None:
        """The files as `seen` were loaded, or refused: only what changed since then counts."""
        now = signature(self._sources())
        self._settled = {path: seen.get(path, facts) for path, facts in now.items()}
        self._last = now

    async def run(self) -> None:
        """Look for ever; cancel to stop."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        """One look at every source."""
        seen = signature(self._sources())
        for path, facts in seen.items():
            if facts is None and path not in self._told:
                self._missing(path)
        if self._told and None not in seen.values():
            self._settled = {}  # whatever came back is read again
        self._told = {path for path, facts in seen.items() if facts is None}
        stable, self._last = seen == self._last, seen
        if stable and seen != self._settled and not self._told:
            self._settled = seen
            await self._changed()


def signature(paths: Iterable[str]) -> Signature:
    """What tells one version of a file from another; None for a file that cannot be seen."""
    seen: Signature = {}
    for path in paths:
        try:
            info = os.stat(path)
        except OSError:
            seen[path] = None
        else:
            seen[path] = (info.st_mtime_ns, info.st_size, info.st_ino)
    return seen
