"""A folder's names, and again whenever they change: inotify(7).

The folder that was opened may no longer be the one of that name (a link was turned, something was
mounted, a folder above was renamed), and a network file system tells nothing of others' changes.
So it is looked at every few seconds as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from asyncinotify import Inotify, Mask

#: Seconds between two looks without a notice.
LOOK_INTERVAL = 5.0
#: Seconds for which notices that come together are gathered.
_GATHER_TIME = 0.1
_GONE = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED
_MASK = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
_MASK |= Mask.DELETE_SELF | Mask.MOVE_SELF


async def listings(path: str) -> AsyncIterator[frozenset[str]]:
    """The names in a folder at once and after each change; ends when another one took its place.

    Raises OSError when there is no such folder or it cannot be watched.
    """
    with Inotify() as notices:
        watched = await asyncio.to_thread(_identity, path)
        notices.add_watch(path, _MASK)
        there = True
        while there:
            found = await asyncio.to_thread(listed, path)
            if await asyncio.to_thread(_identity, path) != watched:
                return
            yield found
            there = await _noticed(notices)


def listed(path: str) -> frozenset[str]:
    """The names in a folder now. Raises OSError."""
    return frozenset(os.listdir(path))


async def _noticed(notices: Inotify) -> bool:
    """Wait for a notice and for those that follow it; False when the folder went away."""
    there = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_INTERVAL):
            there = not (await notices.get()).mask & _GONE
        async with asyncio.timeout(_GATHER_TIME):
            while there:
                there = not (await notices.get()).mask & _GONE
    return there


def _identity(path: str) -> tuple[int, int]:
    info = os.stat(path)
    return info.st_dev, info.st_ino
