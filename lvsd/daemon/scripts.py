"""Programs the operator gave us: notify scripts and tracked scripts.

How they are run, and which are refused, is told in `lvsd.program`. Notify runs of one router follow
each other in order; of runs that wait, only the newest counts, for an old state is no news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from lvsd import log
from lvsd.core.model import Identity, RouterConfig, TrackScript
from lvsd.program import Refused, run

#: Seconds a notify program may take.
NOTIFY_TIME_LIMIT = 30.0

#: keepalived's word for a master that hears a lower bidder: an event, not a state.
LOWER_HEARD = "MASTER_RX_LOWER_PRI"
_Programs = tuple[Identity, tuple[tuple[str, ...], ...]]


class Notifier:
    """Runs the `notify` programs of routers, with keepalived's arguments.

    The program of a state (`notifymaster=` and its kin) runs as it is, then `notify=` with
    `INSTANCE name STATE priority` appended.
    """

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._waiting: dict[str, _Programs] = {}
        self._events: dict[str, _Programs] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def changed(self, router: RouterConfig, state: str, priority: int) -> None:
        """A router is in `state` now; the first word after a start is told as well."""
        word = state.upper()
        if self._states.get(router.name) == word or word == "INITIALIZE":
            return
        self._states[router.name] = word
        self._events.pop(router.name, None)
        self._waiting[router.name] = _programs(router, word, priority)
        self._start(router.name)

    def lower_heard(self, router: RouterConfig, priority: int) -> None:
        """A master heard a lower bidder; of such events that wait, one counts."""
        self._events[router.name] = _programs(router, LOWER_HEARD, priority)
        self._start(router.name)

    async def finish(self, time_limit: float) -> None:
        """Wait for the programs under way; what exceeds the limit is killed."""
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks.values()), timeout=time_limit)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, name: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._work(name))

    async def _work(self, name: str) -> None:
        try:
            while name in self._waiting or name in self._events:
                source = self._waiting if name in self._waiting else self._events
                user, programs = source.pop(name)
                for argv in programs:
                    await _notify(name, argv, user)
        finally:
            del self._tasks[name]


def _programs(router: RouterConfig, word: str, priority: int) -> _Programs:
    """Who runs what, in this order: the program of the word, then the general one."""
    own = {
        "MASTER": router.notifymaster,
        "BACKUP": router.notifybackup,
        "FAULT": router.notifyfault,
        "STOP": router.notifystop,
        LOWER_HEARD: router.notifymasterrxlowerpri,
    }
    general = (*router.notify, "INSTANCE", router.name, word, str(priority))
    programs = (own.get(word, ()), general if router.notify else ())
    return router.scriptuser, tuple(argv for argv in programs if argv)


async def _notify(router: str, argv: tuple[str, ...], user: Identity) -> None:
    try:
        status = await run(argv, NOTIFY_TIME_LIMIT, user)
    except Refused as refused:
        error = str(refused)
    except TimeoutError:
        error = f"killed after {NOTIFY_TIME_LIMIT:g} s"
    else:
        if status == 0:
            return
        error = f"exit status {status}" if status > 0 else f"signal {-status}"
    log.get().error("notify_failed", router=router, program=argv[0], error=error)


class Tracker:
    """Runs `script=` programs at their interval; `values` has a word once one has been judged."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.values: dict[str, bool] = {}
        self._changed = changed
        self._tasks: dict[TrackScript, asyncio.Task[None]] = {}

    def follow(self, scripts: Collection[TrackScript]) -> None:
        """Run exactly these; unchanged ones go on undisturbed."""
        for script in [s for s in self._tasks if s not in scripts]:
            self._tasks.pop(script).cancel()
        names = {script.name for script in scripts}
        self.values = {name: up for name, up in self.values.items() if name in names}
        for script in scripts:
            if script not in self._tasks:
                self._tasks[script] = asyncio.create_task(self._watch(script))

    async def close(self) -> None:
        """Stop; programs under way are killed."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, script: TrackScript) -> None:
        loop = asyncio.get_running_loop()
        streak = 0
        while True:
            next_at = loop.time() + script.interval
            passed, reason = await _ask(script)
            up = self.values.get(script.name)
            streak = 0 if passed is up else streak + 1
            if up is None or streak >= (script.rise if passed else script.fall):
                streak = 0
                if up is not passed:
                    self._judge(script, passed, reason)
            await asyncio.sleep(max(next_at - loop.time(), 0.01))

    def _judge(self, script: TrackScript, up: bool, reason: str) -> None:
        self.values[script.name] = up
        if up:
            log.get().info("script_up", script=script.name)
        else:
            log.get().warning("script_down", script=script.name, reason=reason)
        self._changed()


async def _ask(script: TrackScript) -> tuple[bool, str]:
    try:
        status = await run(script.command, script.timeout, script.user)
    except Refused as refused:
        return False, str(refused)
    except TimeoutError:
        return False, f"no end within {script.timeout:g} s"
    return status == 0, f"exit status {status}" if status >= 0 else f"signal {-status}"
