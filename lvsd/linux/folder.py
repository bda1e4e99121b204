"""A folder's names, and again whenever they change: inotify(7)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from asyncinotify import Inotify, Mask

_GONE = Mask.DELETE_SELF | Mask.MOVE_SELF
_MASK = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO | _GONE


async def listings(path: str) -> AsyncIterator[frozenset[str]]:
    """The names in a folder at once and after each change; ends when the folder goes away.

    Raises OSError when there is no such folder or it cannot be watched.
    """
    with Inotify() as notices:
        notices.add_watch(path, _MASK)
        yield await asyncio.to_thread(_names, path)
        async for notice in notices:
            if notice.mask & (_GONE | Mask.IGNORED):
                return
            yield await asyncio.to_thread(_names, path)


def _names(path: str) -> frozenset[str]:
    return frozenset(os.listdir(path))
