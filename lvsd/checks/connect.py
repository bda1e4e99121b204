"""`checktype=connect`: a TCP connection that is accepted."""

from __future__ import annotations

from lvsd.checks.probe import NobodyListens, Probe, Run
from lvsd.checks.stream import Dialogue, Stream, Talk


class Connect(Dialogue):
    """Passes as soon as the connection stands; nothing is sent."""

    def talk(self) -> Talk:
        """Say nothing, be content."""
        yield from ()
        return "connected"

    def probe(self, run: Run) -> Probe:
        """One connection."""
        return _Connection(run, self)


class _Connection(Stream):
    """A stream that is not fooled by TCP's simultaneous open.

    A connection to a free local port in the ephemeral range may get that very port as its own and
    so reach itself (RFC 9293 §3.5).
    """

    __slots__ = ()

    def _connected(self) -> bool:
        super()._connected()
        assert self._socket is not None
        if self._socket.getsockname() == self._socket.getpeername():
            raise NobodyListens
        return True
