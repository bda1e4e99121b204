"""Tracked processes and files: looked at every half second, in a thread, for disks may hang.

A process is found by its name as the kernel knows it, or, where a path or arguments were given, by
its command line. Zombies don't count. A file that is not there, or holds no number, counts as 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping

from lvsd import log
from lvsd.core.model import TrackFile, TrackKind, TrackProcess

INTERVAL = 0.5
#: What the kernel keeps of a process's name (TASK_COMM_LEN - 1).
_COMM = 15
#: More than any number needs.
_LONGEST = 32
_LIMIT = 2**31


class Lookout:
    """`values` has a word, under `kind name`, for what was looked at; `numbers` those of files."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.values: dict[str, bool] = {}
        self.numbers: dict[str, int] = {}
        self._changed = changed
        self._processes: tuple[TrackProcess, ...] = ()
        self._files: tuple[TrackFile, ...] = ()
        #: Since when a process is otherwise than its value says.
        self._other_since: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def follow(self, processes: Collection[TrackProcess], files: Collection[TrackFile]) -> None:
        """Look at exactly these."""
        if (self._processes, self._files) == (tuple(processes), tuple(files)):
            return
        self._processes, self._files = tuple(processes), tuple(files)
        self.close()
        names = {f"{TrackKind.PROCESS} {p.name}" for p in processes}
        names |= {f"{TrackKind.FILE} {f.name}" for f in files}
        self.values = {name: up for name, up in self.values.items() if name in names}
        self.numbers = {name: n for name, n in self.numbers.items() if name in names}
        self._other_since = {}
        if names:
            self._task = asyncio.create_task(self._look())

    def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            counts, numbers = await asyncio.to_thread(_seen, self._processes, self._files)
            before = {**self.values}, {**self.numbers}
            for process in self._processes:
                self._judge(process, counts[process.name], loop.time())
            for file in self._files:
                name = f"{TrackKind.FILE} {file.name}"
                self.numbers[name] = numbers[file.name]
                self._set(name, numbers[file.name] == 0, f"holds {numbers[file.name]}")
            if before != (self.values, self.numbers):
                self._changed()
            await asyncio.sleep(INTERVAL)

    def _judge(self, process: TrackProcess, running: int, now: float) -> None:
        """Follow a count once it has lasted for the process's delay."""
        name = f"{TrackKind.PROCESS} {process.name}"
        up = running >= process.quorum and running <= (process.quorummax or running)
        if self.values.get(name) is up:
            self._other_since.pop(name, None)
            return
        delay = process.forkdelay if up else process.terminatedelay
        since = self._other_since.setdefault(name, now)
        if name not in self.values or now - since >= delay:
            self._other_since.pop(name, None)
            self._set(name, up, f"{running} running")

    def _set(self, name: str, up: bool, reason: str) -> None:
        if self.values.get(name) is up:
            return
        self.values[name] = up
        if up:
            log.get().info("tracked_up", track=name)
        else:
            log.get().warning("tracked_down", track=name, reason=reason)


def _seen(
    processes: Collection[TrackProcess], files: Collection[TrackFile]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """How many processes run of each kind, and the number in each file."""
    counts = {process.name: 0 for process in processes}
    for pid, comm in _running() if processes else ():
        for process in processes:
            counts[process.name] += _is(process.command, pid, comm)
    return counts, {file.name: number(file.path) for file in files}


def number(path: str) -> int:
    """The whole number at the start of a file; 0 where there is none."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST)
    except OSError:
        return 0
    found = re.match(rb"\s*([+-]?[0-9]{1,10})\s*$", text)
    return max(-_LIMIT, min(_LIMIT, int(found[1]))) if found else 0


def _running() -> Iterator[tuple[str, str]]:
    """(process id, name) of what runs; proc(5), stat."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", "rb") as file:
                head, _, tail = file.read().rpartition(b") ")
            if tail[:1] not in (b"Z", b"X"):
                yield pid, os.fsdecode(head.partition(b"(")[2])


def _is(command: tuple[str, ...], pid: str, comm: str) -> bool:
    if len(command) == 1 and "/" not in command[0]:
        return comm == command[0][:_COMM]
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            argv = tuple(os.fsdecode(file.read()).split("\0")[:-1])
    except OSError:
        return False
    if argv and "/" not in command[0]:
        argv = (os.path.basename(argv[0]), *argv[1:])
    return argv[: len(command)] == command
