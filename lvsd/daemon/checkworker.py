"""One check worker as the director sees it: started, fed, missed, started again, ended.

One that dies or says nothing is started again, soon at first, and told all of its checks. Nobody
answers for them meanwhile, which changes nobody's health.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import msgspec

from lvsd import log
from lvsd.checks.engine import Result
from lvsd.core.model import Check
from lvsd.daemon import checking
from lvsd.daemon.checking import Ask, Hasten, Results, ToDirector, Trigger, Work

#: Seconds in which a worker ends once its socket is closed.
PATIENCE = 1.0
RESTART_DELAY, RESTART_DELAY_MAX = 0.1, 30.0
#: Seconds after which a worker counts as sound.
SOUND = 60.0
#: Counted seconds of silence after which that is told, and after which it is killed.
QUIET, SILENCE = 3, 30

Report = Callable[[Result], None]


@dataclass(slots=True)
class _Known:
    """A check that a worker asks, and the reason it passed for last."""

    check: Check
    reason: str = ""


class Worker:
    """A worker process and its checks. Implements `checkers.Asker`; `lost` says why it is away."""

    def __init__(self, place: int, report: Report) -> None:
        self.place = place
        self.alive = False
        self.lost = ""
        self.work = Work()
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._serial = itertools.count()
        self._known: dict[int, _Known] = {}
        self._numbers: dict[Check, int] = {}
        self._watched: list[int] = []
        self._before = Work()
        self._silent = 0
        self._writer: asyncio.StreamWriter | None = None
        self._task = self._loop.create_task(self._run(), name=f"checker {place}")

    def set_checks(self, checks: Iterable[Check], watched: Iterable[Check] = ()) -> None:
        """Ask these from now on."""
        wanted = set(checks)
        removed = [number for check, number in self._numbers.items() if check not in wanted]
        for number in removed:
            del self._numbers[self._known.pop(number).check]
        added = [check for check in wanted if check not in self._numbers]
        for check in added:
            number = self._numbers[check] = next(self._serial)
            self._known[number] = _Known(check)
        before, self._watched = self._watched, [self._numbers[check] for check in watched]
        if added or removed or before != self._watched:
            self._ask([self._numbers[check] for check in added], removed)

    def hasten(self, check: Check, there: bool) -> None:
        """Ask now if the last verdict was that the target is not (or is) `there`."""
        if check in self._numbers:
            self._say(Hasten(self._numbers[check], there))

    def trigger(self, check: Check) -> None:
        """Ask now."""
        if check in self._numbers:
            self._say(Trigger(self._numbers[check]))

    def close(self) -> None:
        """End it."""
        self._task.cancel()

    @property
    def silent(self) -> int:
        """Seconds without a word of one that runs, as far as that is worth telling, or 0."""
        return self._silent if self.alive and self._silent >= QUIET else 0

    @property
    def asked(self) -> int:
        """How many checks there are."""
        return len(self._known)

    @property
    def finished(self) -> int:
        """How many runs have come to a verdict."""
        return self.work.finished

    @property
    def local_errors(self) -> int:
        """How many runs could not be made."""
        return self.work.local_errors

    @property
    def local_reason(self) -> str:
        """Why one of them could not."""
        return self.work.local_reason

    @property
    def lateness(self) -> float:
        """By how many seconds checks have lately started late at most."""
        return self.work.lateness

    @property
    def watching(self) -> int:
        """How many watch connections stand."""
        return self.work.watching

    @property
    def unwatched(self) -> int:
        """How many targets have none for want of descriptors."""
        return self.work.unwatched

    def _ask(self, added: Collection[int], removed: list[int]) -> None:
        wires = {number: checking.check_to_wire(self._known[number].check) for number in added}
        self._say(Ask(wires, removed, self._watched))

    def _say(self, message: checking.Message) -> None:
        """Dropped while it is away: it is told everything when it comes."""
        if self._writer is not None:
            self._writer.write(checking.pack(message))

    async def _run(self) -> None:
        """Keep it alive."""
        delay = RESTART_DELAY
        while True:
            began = self._loop.time()
            try:
                reason = await self._live()
            except OSError as error:
                reason = f"cannot be started: {error.strerror}"
            if self._loop.time() - began > SOUND:
                delay = RESTART_DELAY
            self.lost = reason
            log.get().error("checker_lost", checker=self.place, reason=reason)
            await asyncio.sleep(delay)
            delay = min(2 * delay, RESTART_DELAY_MAX)

    async def _live(self) -> str:
        """One life of the process; why it ended."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            with theirs:
                process = await _spawn(theirs)
        except BaseException:
            writer.close()
            raise
        self._writer, self._silent = writer, 0
        heart = self._loop.create_task(self._watch_over(process), name="heartbeat")
        try:
            self._ask(self._known, [])
            reason = await self._hear(reader, process.pid)
        finally:
            heart.cancel()
            self._writer, self.alive = None, False
            self._before = self.work
            writer.close()  # which ends it
            status = await _end(process)
        return reason or (f"was killed by signal {-status}" if status < 0 else "ended by itself")

    async def _hear(self, reader: asyncio.StreamReader, pid: int) -> str:
        decoder = msgspec.msgpack.Decoder[ToDirector](ToDirector)
        while True:
            try:
                message = await checking.receive(reader, decoder)
            except ValueError as error:
                return f"cannot be understood ({error})"
            if message is None:
                return "" if self._silent < SILENCE else f"said nothing for {SILENCE} s"
            self._silent = 0
            if isinstance(message, Results):  # what it leads to is not this task's fault
                self._loop.call_soon(self._take, message)
                continue
            self.alive = True
            if self.lost:
                self.lost = ""
                log.get().info("checker_returned", checker=self.place, pid=pid)
            self.work = message.after(self._before)

    def _take(self, results: Results) -> None:
        now = self._loop.time()
        for found in results.found:
            known = self._known.get(found.number)
            if known is None:  # the configuration has it no more
                continue
            if found.reason is not None:
                known.reason = found.reason
            self._report(
                Result(known.check, found.passed, known.reason, now, found.latency, found.gone)
            )

    async def _watch_over(self, process: asyncio.subprocess.Process) -> None:
        """Kill it when it says nothing. Counted, so that our own standstill is not its fault."""
        while self._silent < SILENCE:
            await asyncio.sleep(checking.BEAT)
            self._silent += 1
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def command(ipc: int) -> tuple[str, ...]:
    """A worker's command line."""
    words = ("--ipc", str(ipc), "--parent", str(os.getpid()))
    return (sys.executable, "-m", "lvsd.daemon.checker", *words)


async def _spawn(theirs: socket.socket) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command(theirs.fileno()),
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(theirs.fileno(),),
    )


async def _end(process: asyncio.subprocess.Process) -> int:
    """Its exit status. It is killed only if it stays: to kill what has ended loses the status."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            return await process.wait()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    return await process.wait()
