"""Programs the operator gave us: notify scripts and tracked scripts.

No shell is ever involved. A program that somebody else could have written is refused: the file and
every folder above it must belong to root or to us and must not be writable by others (keepalived's
rule), whoever it runs as. Each run has a time limit, after which the whole process group is killed.
Output goes nowhere. Notify runs of one router follow each other in order; of runs that wait, only
the newest counts, for an old state is no news.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import shutil
import signal
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from lvsd import log
from lvsd.core.model import Identity, RouterConfig, TrackScript

#: Seconds a notify program may take.
NOTIFY_TIME_LIMIT = 30.0
#: Seconds a killed program may take to be gone; one that waits for a dead disk may stay for ever.
_DEATH_TIME_LIMIT = 1.0
#: lvsd's own user.
LVSD = Identity()
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Refused(Exception):
    """The program is not run; the text says why."""


async def run(
    argv: tuple[str, ...], time_limit: float, user: Identity = LVSD, *, text: bytes | None = None
) -> int:
    """The exit status of a program, negative for a signal. `text` is its standard input.

    Raises Refused (also when it cannot be started) and TimeoutError after `time_limit` seconds.
    """
    program = trusted(argv[0])
    environment = {"PATH": _PATH, "LANG": "C.UTF-8"}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            executable=program,
            stdin=asyncio.subprocess.DEVNULL if text is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
            **_identity(user),
        )
    except (OSError, ValueError) as error:
        raise Refused(f"{argv[0]}: {error}") from error
    try:
        async with asyncio.timeout(time_limit):
            await process.communicate(text)
            return await process.wait()
    finally:
        # PermissionError: it runs as another user, and CAP_KILL was taken from us.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DEATH_TIME_LIMIT):
                await process.wait()


def _identity(who: Identity) -> Mapping[str, Any]:
    """The arguments of a subprocess that runs as `who`. Raises Refused."""
    if not who.user:
        return {}
    try:
        entry = pwd.getpwnam(who.user)
    except KeyError as error:
        raise Refused(f'unknown user "{who.user}"') from error
    try:
        gid = grp.getgrnam(who.group).gr_gid if who.group else entry.pw_gid
    except KeyError as error:
        raise Refused(f'unknown group "{who.group}"') from error
    if (entry.pw_uid, gid) == (os.geteuid(), os.getegid()):
        return {}  # without root nothing else is allowed
    return {"user": entry.pw_uid, "group": gid, "extra_groups": os.getgrouplist(who.user, gid)}


def trusted(program: str) -> str:
    """The absolute path of a program that only root or we can change. Raises Refused."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise Refused(f"{program}: not found or not executable")
    path = Path(os.path.realpath(found))
    for part in (path, *path.parents):
        info = part.stat()
        if info.st_uid not in (0, os.geteuid()):
            raise Refused(f"{program}: {part} belongs to another user")
        loose = info.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if info.st_gid else 0))
        if loose and not (part is not path and info.st_mode & stat.S_ISVTX):
            raise Refused(f"{program}: {part} is writable by others")
    return str(path)


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
