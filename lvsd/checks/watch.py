"""Watch connections: one idle TCP connection per target, which tells of a death at once.

A process that dies, or a host that is rebooted, ends its connections; the kernel tells us within a
millisecond, where a check would find out at its next turn. What a watch connection tells is never a
verdict: it makes the checks of the target ask now, unless their last verdict knows it already. It
is told when a connection that stood has ended, in whatever way, and when one stands again or can't
be made again for the first time.

A host that vanishes without a word is noticed by keepalive probes and ICMP errors. Attempts
follow each other at growing, jittered pauses, so that a server that ends idle connections, or
allows none, is not bothered. What it sends is thrown away; one that sends without end is let go.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
from collections.abc import Callable, Iterable

from lvsd.checks.reactor import READ, WRITE, Reactor
from lvsd.checks.stream import CHUNK, RESET
from lvsd.core.model import Check, IPAddress

#: Seconds between two attempts: at first, and at most. They double, and restart once a connection
#: has stood for long enough. The first one leaves the checks time to ask a whole host.
PAUSE, PAUSE_MAX = 0.25, 30.0
STEADY = 60.0
#: Seconds over which the first attempts are spread.
FIRST_ROUND = 1.0
#: Seconds of silence before keepalive probes at most (Linux: MAX_TCP_KEEPIDLE).
IDLE_MAX = 32767
#: Bytes taken from a server that is not asked anything.
MOST = 1 << 20
#: Seconds between two keepalive probes, and how many go unanswered.
PROBE_INTERVAL, PROBES = 1, 2

_SO_RECVERR = {socket.AF_INET: (socket.SOL_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}

Target = tuple[IPAddress, int]


class Watches:
    """The watch connections of an engine, `most` of them, for each keeps a descriptor.

    `tell` gets each check of a target, and whether it is there (else it may be gone). `left_out`
    is the number of targets that there was no room for.
    """

    def __init__(self, reactor: Reactor, tell: Callable[[Check, bool], None], most: int) -> None:
        self.left_out = 0
        self._reactor = reactor
        self._tell = tell
        self._most = most
        self._watches: dict[Target, _Watch] = {}

    def follow(self, checks: Iterable[Check]) -> None:
        """Watch exactly the targets of these checks. A connection that stands is kept."""
        wanted: dict[Target, list[Check]] = {}
        for check in checks:
            wanted.setdefault((check.address, check.port), []).append(check)
        for target in [t for t in self._watches if t not in wanted]:
            self._watches.pop(target).close()
        for target, asking in wanted.items():
            watch = self._watches.get(target)
            if watch is None:
                if len(self._watches) >= self._most:
                    continue
                watch = self._watches[target] = _Watch(self._reactor, target, self._told)
            idle = round(min(check.interval for check in asking) / 2)
            watch.idle = min(max(1, idle), IDLE_MAX)
            watch.checks = tuple(asking)
        self.left_out = len(wanted) - len(self._watches)

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def standing(self) -> int:
        """How many connections stand."""
        return sum(watch.stood_at is not None for watch in self._watches.values())

    def close(self) -> None:
        """End every connection."""
        for watch in self._watches.values():
            watch.close()
        self._watches.clear()

    def _told(self, watch: _Watch) -> None:
        for check in watch.checks:
            self._tell(check, watch.stood_at is not None)


class _Watch:
    """One target: a connection, or the pause until the next attempt.

    `idle` is the silence in seconds after which the kernel probes the peer. `stood_at` is when the
    connection was made, None while there is none; `lost` that the last attempt failed.
    """

    __slots__ = (
        "_heard",
        "_loop",
        "_pause",
        "_reactor",
        "_socket",
        "_target",
        "_tell",
        "_timer",
        "checks",
        "idle",
        "lost",
        "stood_at",
    )

    def __init__(self, reactor: Reactor, target: Target, tell: Callable[[_Watch], None]) -> None:
        self.checks: tuple[Check, ...] = ()
        self.idle = 1
        self.lost = False
        self.stood_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self._reactor = reactor
        self._target = target
        self._tell = tell
        self._pause = PAUSE
        self._heard = 0
        self._socket: socket.SocketType | None = None
        first = random.uniform(0.0, FIRST_ROUND)
        self._timer = self._loop.call_later(first, self._open)

    def close(self) -> None:
        """End the connection, or the wait for one."""
        self._timer.cancel()
        if self._socket is None:
            return
        self._reactor.unregister(self._socket.fileno())
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()
        self._socket = None

    def _open(self) -> None:
        address, port = self._target
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            # The class below `socket.socket`, as in `exchange`.
            sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._socket, self._heard = sock, 0
            for level, option, value in _options(family, self.idle):
                sock.setsockopt(level, option, value)
            code = sock.connect_ex((str(address), port))
            self._reactor.register(sock.fileno(), WRITE, self._ready)
        except OSError:  # a shortage of this host says nothing of the target
            self.close()
            self._wait(PAUSE_MAX)
            return
        if code not in (0, errno.EINPROGRESS):
            self._end()

    def _ready(self, mask: int) -> None:
        assert self._socket is not None
        try:
            ended = self._hear() if self.stood_at is not None else self._connect()
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._end()

    def _connect(self) -> bool:
        """The attempt has come to something; whether to nothing."""
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if self._socket.getsockname() == self._socket.getpeername():
            return True  # TCP's simultaneous open: nobody listens, we reached ourselves
        self._reactor.modify(self._socket.fileno(), READ)
        self.stood_at = self._loop.time()
        self.lost = False
        self._tell(self)
        return False

    def _hear(self) -> bool:
        """Throw away what came; whether it was the end."""
        assert self._socket is not None
        data = self._socket.recv(CHUNK)
        self._heard += len(data)
        return not data or self._heard > MOST

    def _end(self) -> None:
        """Tell of the end of what stood, and of the first attempt in vain after it."""
        stood_at, self.stood_at = self.stood_at, None
        self.close()
        news = stood_at is not None or not self.lost
        if stood_at is None:
            self.lost = True
        elif self._loop.time() - stood_at > STEADY:
            self._pause = PAUSE
        self._wait(PAUSE_MAX if self._heard > MOST else self._pause)
        self._pause = min(2 * self._pause, PAUSE_MAX)
        if news:
            self._tell(self)

    def _wait(self, pause: float) -> None:
        self._timer = self._loop.call_later(pause * random.uniform(0.75, 1.25), self._open)


def _options(family: int, idle: int) -> Iterable[tuple[int, int, int]]:
    """Probes of a silent peer; give up when they, or what we send, go unanswered. tcp(7), ip(7)."""
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    yield socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle
    yield socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_INTERVAL
    yield socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES
    limit = (idle + PROBES * PROBE_INTERVAL) * 1000
    yield socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit
    yield (*_SO_RECVERR[socket.AddressFamily(family)], 1)
