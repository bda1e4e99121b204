"""`checktype=connect`: a TCP connection that is accepted."""

from __future__ import annotations

import os
import socket

from lvsd.checks.exchange import Attempt
from lvsd.checks.probe import NobodyListens, Probe, Run
from lvsd.checks.stream import Dialogue, Talk


class Connect(Dialogue):
    """Passes as soon as the connection stands; nothing is sent."""

    def talk(self) -> Talk:
        """Say nothing, be content."""
        yield from ()
        return "connected"

    def probe(self, run: Run) -> Probe:
        """One connection."""
        return _Connection(run, self)


class _Connection(Attempt):
    """An attempt that is not fooled by TCP's simultaneous open.

    A connection to a free local port in the ephemeral range may get that very port as its own and
    so reach itself (RFC 9293 §3.5).
    """

    __slots__ = ()

    def ready(self) -> str | None:
        """What came of it."""
        assert self._socket is not None
        if code := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
        if self._socket.getsockname() == self._socket.getpeername():
            raise NobodyListens
        return "connected"
