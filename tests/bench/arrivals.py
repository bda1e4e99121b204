"""A machine with up to 60,000 addresses whose one process notes when each is asked.

The times lie in memory shared with the bench. From them follows how late checks start: an address
is asked on a grid of its own, and the earliest of its requests tells where that grid lies.
"""

from __future__ import annotations

import mmap
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench.crowd import number
from tests.bench.farm import PAGE, layout
from tests.lab.topology import Process, Topology

#: Addresses, and times that are kept of each: the newest ones.
MOST, KEPT = 20_000, 32
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PAGE) + PAGE


@dataclass(slots=True)
class Arrivals:
    """The machine `farm` behind dirA, as the bench sees it."""

    lab: Topology
    process: Process | None = None
    _times: memoryview = field(init=False)
    _counts: memoryview = field(init=False)

    def __post_init__(self) -> None:
        self._times = memoryview(mmap.mmap(-1, MOST * KEPT * 8)).cast("d")
        self._counts = memoryview(mmap.mmap(-1, MOST * 8)).cast("Q")

    def serve(self, http: bool) -> None:
        """Start the process, and forget what was noted."""
        for n in range(MOST):
            self._counts[n] = 0
        self.process = self.lab.fork("farm", self._main, ["http"] * http)
        self.process.wait_for("ready")

    def kill(self) -> float:
        """SIGKILL: connections are refused from now on. The Unix time just before."""
        assert self.process is not None
        at = time.time()
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return at

    def silence(self) -> float:
        """What is sent to the addresses gets lost without a word. The Unix time just before."""
        at = time.time()
        self.lab.ip(
            "farm", ["route replace blackhole 10.78.0.0/17", "route add blackhole 10.78.128.0/17"]
        )
        self.lab.ip("farm", ["route del local 10.78.0.0/16 dev lo"])
        return at

    def speak(self) -> None:
        """The addresses are there again."""
        self.lab.ip("farm", ["route add local 10.78.0.0/16 dev lo"])
        self.lab.ip(
            "farm", ["route del blackhole 10.78.0.0/17", "route del blackhole 10.78.128.0/17"]
        )

    def asked(self, reals: int, times: int) -> bool:
        """Whether each of the first `reals` addresses was asked so many times."""
        return min(self._counts[:reals]) >= times

    def lateness(self, reals: int, interval: float, since: float, until: float) -> list[float]:
        """Seconds by which the requests between two monotonic times came after their grid."""
        late = []
        for n in range(reals):
            times = [at for at in self._of(n) if since <= at < until]
            first = min(times, default=0.0)
            off = [at - first - interval * round((at - first) / interval) for at in times]
            late += [each - min(off) for each in off]
        return late

    def _of(self, n: int) -> Iterator[float]:
        yield from sorted(self._times[n * KEPT : (n + 1) * KEPT])

    def _main(self, argv: list[str]) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        listener = socket.create_server(("", 80), backlog=4096)
        listener.setblocking(False)
        print("ready", flush=True)
        if argv:
            self._answer(listener)
        while True:
            select.select([listener], [], [])
            for client in self._accepted(listener):
                client.close()

    def _answer(self, listener: socket.socket) -> None:
        poll = select.epoll()
        poll.register(listener.fileno(), select.EPOLLIN)
        clients: dict[int, socket.socket] = {}
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    for client in self._accepted(listener):
                        clients[client.fileno()] = client
                        poll.register(client.fileno(), select.EPOLLIN)
                    continue
                with clients.pop(fd) as client:
                    try:
                        if client.recv(4096):
                            client.send(_REPLY)
                    except OSError:
                        continue  # reset: the checker is closing

    def _accepted(self, listener: socket.socket) -> Iterator[socket.socket]:
        """What waits, each noted."""
        times, counts = self._times, self._counts
        while True:
            try:
                client, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            n = number(client.getsockname()[0])
            times[n * KEPT + counts[n] % KEPT] = time.monotonic()
            counts[n] += 1
            yield client


@contextmanager
def arrivals() -> Iterator[Arrivals]:
    """The lab with that machine; everything is gone at the end."""
    with Topology(layout()) as lab:
        lab.ip("farm", ["route add local 10.78.0.0/16 dev lo"])
        lab.ip("dirA", ["route add 10.78.0.0/16 via 10.77.0.50"])
        yield Arrivals(lab)
