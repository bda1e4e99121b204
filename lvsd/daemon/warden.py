"""Watches over the guard: one that dies is replaced at once, a second death soon after waits.

Between two guards the VIPs have their lease only, which `guard_lost` says. The new guard is a
program of its own (main has grown too large to be forked safely) and gets the newest briefing.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from lvsd.daemon.guard import Guard

#: Seconds until a guard that lived for less than STEADY_AFTER is replaced, doubled up to the
#: second. The first replacement comes at once.
RETRY_DELAY, RETRY_DELAY_MAX = 1.0, 60.0
STEADY_AFTER = 60.0


class Teller(Protocol):
    """Who is told what happens to the guard: the log, and through it everybody."""

    def __call__(self, level: str, event: str, /, **fields: Any) -> None: ...


class Warden:
    """Keeps a guard alive from creation to `close`, or to the orderly `release` of the guard."""

    def __init__(self, guard: Guard, tell: Teller) -> None:
        self._guard = guard
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._delay = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(guard, self._on_death)

    def close(self) -> None:
        """Stop watching; the guard stays as it is."""
        if self._timer is not None:
            self._timer.cancel()
        elif self._guard.alive:
            self._loop.remove_reader(self._guard)

    def _on_death(self) -> None:
        self._loop.remove_reader(self._guard)
        self._guard.lost()
        self._tell("error", "guard_lost", pid=self._guard.pid)
        if self._loop.time() - self._began_at >= STEADY_AFTER:
            self._delay = 0.0
        self._later()

    def _later(self) -> None:
        self._timer = self._loop.call_later(self._delay, self._replace)
        self._delay = min(max(RETRY_DELAY, 2 * self._delay), RETRY_DELAY_MAX)

    def _replace(self) -> None:
        self._timer = None
        try:
            self._guard.revive()
        except OSError as error:
            self._tell("error", "guard_refused", error=error.strerror or str(error))
            self._later()
            return
        self._began_at = self._loop.time()
        self._loop.add_reader(self._guard, self._on_death)
        self._tell("warning", "guard_replaced", pid=self._guard.pid)
