"""The director child: started, asked every second whether it is alive, killed, started again.

Mastership and table never depend on it: while it is away main goes on alone. A child that exits,
closes its end or leaves ten pings unanswered is killed and started again, after one second, then
two, up to thirty. Pings are counted rather than timed, so that a main that was stopped for a while
does not blame the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING, Protocol

from lvsd.daemon import messages
from lvsd.daemon.arguments import arguments
from lvsd.daemon.launch import Launched, launch
from lvsd.daemon.messages import Message, Ping, Pong, Stop, Stopped
from lvsd.daemon.options import RunOptions

if TYPE_CHECKING:
    from lvsd.daemon.start import Firstborn

PING_INTERVAL = 1.0
#: Unanswered pings after which the child counts as hung; more are allowed until its first word.
PATIENCE = 10
STARTING_PATIENCE = 60
RESTART_DELAY, RESTART_DELAY_MAX = 1.0, 30.0
#: Starts in a row that came to nothing, after which the child is reported beyond recovery.
LOST_AFTER = 4
#: A child that lived this long in seconds has recovered.
RECOVERED_AFTER = 60.0
#: Unsent bytes after which messages to a child that does not read are dropped.
_BACKLOG = 8 << 20
_WAIT_AFTER_KILL = 2.0


class Parent(Protocol):
    """What the supervisor tells main."""

    def child_said(self, message: Message) -> None:
        """A message arrived."""

    def child_gone(self, reason: str, failures: int) -> None:
        """The child is dead; `failures` starts in a row came to nothing. A new start follows."""


class Child:
    """Supervises one child process. `run` is a task; the rest is called from the loop."""

    def __init__(
        self,
        options: RunOptions,
        listen_fd: int,
        parent: Parent,
        since: float,
        firstborn: Firstborn | None = None,
    ) -> None:
        """`since` is the Unix time of the daemon's start; `firstborn` lives already."""
        self.pid = 0
        self.alive = False
        self.starts = 0
        self._options, self._since = options, since
        self._firstborn = firstborn
        self._listen_fd = listen_fd
        self._parent = parent
        self._process: Launched | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._stopping = False
        self._stopped = asyncio.Event()
        self._unanswered = 0
        self._heard = False

    def send(self, message: Message) -> None:
        """Tell the child; dropped while it is away or does not read."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() < _BACKLOG:
            writer.write(messages.pack(message))

    async def run(self) -> None:
        """Keep a child alive until `stop`."""
        delay, failures = RESTART_DELAY, 0
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started_at = loop.time()
            try:
                reason = await self._live()
            except OSError as error:
                reason = f"cannot be started: {error.strerror}"
            except asyncio.CancelledError:
                self.kill()  # main is leaving, in whatever way: no waiting
                raise
            finally:
                await self._reap()
            if loop.time() - started_at >= RECOVERED_AFTER:
                delay, failures = RESTART_DELAY, 0
            failures += 1
            if self._stopping:
                return
            self._parent.child_gone(reason, failures)
            await asyncio.sleep(delay)
            delay = min(2 * delay, RESTART_DELAY_MAX)

    async def stop(self, timeout: float) -> bool:
        """Let it put its things away and exit; whether it did so within `timeout` seconds."""
        self._stopping = True
        if not self.alive:
            return False
        self.send(Stop())
        try:
            async with asyncio.timeout(timeout):
                await self._stopped.wait()
        except TimeoutError:
            return False
        return True

    def kill(self) -> None:
        """End it now."""
        if self._process is not None:
            self._process.kill()

    async def _live(self) -> str:
        """One life of the child, from its start to its last word; why it ended."""
        firstborn, self._firstborn = self._firstborn, None
        self._process, ours = self._start() if firstborn is None else (firstborn, firstborn.socket)
        self.pid, self.alive, self._heard, self._unanswered = self._process.pid, True, False, 0
        self.starts += 1
        ours.setblocking(False)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        heart = asyncio.create_task(self._beat(), name="heartbeat")
        try:
            while (message := await messages.receive(reader)) is not None:
                # Pings sent before the first word waited for a program that was still starting.
                if not self._heard or isinstance(message, Pong):
                    self._unanswered = 0
                self._heard = True
                if isinstance(message, Stopped):
                    self._stopped.set()
                self._parent.child_said(message)
        finally:
            heart.cancel()
            self.alive = False
        if self._unanswered >= PATIENCE:
            return "did not answer"
        return "closed its end"

    async def _beat(self) -> None:
        serial = 0
        while True:
            await asyncio.sleep(PING_INTERVAL)
            if self._unanswered >= (PATIENCE if self._heard else STARTING_PATIENCE):
                self.kill()
                return
            serial += 1
            self._unanswered += 1
            self.send(Ping(serial))

    def _start(self) -> tuple[Launched, socket.socket]:
        """A child that is a program of its own, and our end of the socketpair. Raises OSError."""
        ours, theirs = socket.socketpair()
        program = self._options.child_argv or (sys.executable, "-m", "lvsd.daemon.prelude")
        fds = theirs.fileno(), self._listen_fd
        argv = [*program, *arguments(self._options, self._since, *fds)]
        with theirs:
            try:
                process = Launched(launch(argv, {fd: fd for fd in fds}))
            except OSError:
                ours.close()
                raise
        return process, ours

    async def _reap(self) -> None:
        """Make sure that it is dead, and take its exit status without blocking."""
        self.alive = False
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
            self._writer = None
        process, self._process = self._process, None
        if process is None:
            return
        # An orderly child exits by itself a moment after its last word.
        if not await _exited(process, _WAIT_AFTER_KILL if self._stopping else 0.1):
            process.kill()
            await _exited(process, _WAIT_AFTER_KILL)


async def _exited(process: Launched, timeout: float) -> bool:
    """Wait for the exit and collect the status; whether it came within `timeout` seconds."""
    if process.poll():  # collected already: its id may be somebody else's by now
        return True
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    pidfd = os.pidfd_open(process.pid)
    loop.add_reader(pidfd, gone.set)
    try:
        async with asyncio.timeout(timeout):
            await gone.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return process.poll()
