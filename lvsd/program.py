"""Programs that the operator named: notify and tracked scripts, commands, external checks.

No shell is ever involved. A program that somebody else could have written is refused: the file and
every folder above it must belong to root or to us and must not be writable by others (keepalived's
rule), whoever it runs as. Each run has a time limit, after which the whole process group is killed.
Output goes nowhere, and of our environment nothing is passed on.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvsd.core.model import Identity

#: Seconds a killed program may take to be gone; one that waits for a dead disk may stay for ever.
_DEATH_TIME_LIMIT = 1.0
#: lvsd's own user.
LVSD = Identity()
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Refused(Exception):
    """The program is not run; the text says why."""


async def run(
    argv: tuple[str, ...],
    time_limit: float | None,
    user: Identity = LVSD,
    *,
    text: bytes | None = None,
    patience: float = 0.0,
) -> int:
    """The exit status of a program, negative for a signal. `text` is its standard input.

    Raises Refused (also when it cannot be started) and TimeoutError after `time_limit` seconds.
    One that has to be ended is killed, with `patience` seconds after SIGTERM to end by itself.
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
        await _end(process, patience)


async def _end(process: asyncio.subprocess.Process, patience: float) -> None:
    """End what is left of a program and its children."""
    try:
        if patience and process.returncode is None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DEATH_TIME_LIMIT):
                await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    # PermissionError: it runs as another user, and CAP_KILL was taken from us.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


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
    return owned(found)


def owned(file: str) -> str:
    """The absolute path of a file that only root or we can change. Raises Refused."""
    path = Path(os.path.realpath(file))
    for part in (path, *path.parents):
        try:
            info = part.stat()
        except OSError as error:
            raise Refused(f"{file}: {(error.strerror or str(error)).lower()}") from error
        if info.st_uid not in (0, os.geteuid()):
            raise Refused(f"{file}: {part} belongs to another user")
        loose = info.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if info.st_gid else 0))
        if loose and not (part is not path and info.st_mode & stat.S_ISVTX):
            raise Refused(f"{file}: {part} is writable by others")
    return str(path)
