"""The probe of plain HTTP checks: one request, and the answer in one piece.

Nearly every answer arrives whole and passes. That takes no generator, no phases and no growing
buffer; nor does a mere connection (`Attempt`). Whatever else arrives, or does not, is the
dialogue's to judge: a `Stream` goes on with it, so that there is one judge of failures only.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod

from lvsd.checks.probe import Run, seconds
from lvsd.checks.reactor import READ, WRITE
from lvsd.checks.stream import CHUNK, RESET, Dialogue, Stream

_TYPE = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


class Brief(Dialogue):
    """A dialogue of a request and, mostly, one answer. `passing` is what is said of that."""

    request: bytes
    passing: str

    @abstractmethod
    def passes(self, data: bytes) -> bool:
        """Whether `data` is a whole answer that passes; False decides nothing."""


class Attempt(ABC):
    """A fresh connection that is not a `Stream` yet. It ends with a reset, as one does."""

    __slots__ = ("_run", "_socket", "_target")

    def __init__(self, run: Run, target: Dialogue) -> None:
        self._run = run
        self._target = target
        self._socket: socket.SocketType | None = None

    def start(self) -> str | None:
        """Open the connection."""
        self._open(self._make())
        return None

    @abstractmethod
    def ready(self) -> str | None:
        """The connection has come to something, or there is something to read."""

    def expired(self) -> str:
        """Nothing was heard."""
        return f"no answer within {seconds(self._run.check.timeout)}"

    def close(self) -> None:
        """Close the connection."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        try:
            self._run.reactor.unregister(sock.fileno())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        finally:
            sock.close()

    def _make(self) -> socket.SocketType:
        # The class below `socket.socket`: its methods are C, which counts here.
        sock = self._socket = socket.SocketType(self._target.family, _TYPE)
        return sock

    def _open(self, sock: socket.SocketType) -> None:
        code = sock.connect_ex(self._target.target)
        self._run.reactor.register(sock.fileno(), WRITE, self._run.step)
        if code and code != errno.EINPROGRESS:
            raise OSError(code, os.strerror(code))


class Exchange(Attempt):
    """One request and its answer."""

    __slots__ = ("_brief", "_sent", "_stream")

    def __init__(self, run: Run, brief: Brief) -> None:
        super().__init__(run, brief)
        self._brief = brief
        self._sent = False
        self._stream: Stream | None = None

    def start(self) -> str | None:
        """Open the connection.

        The request carries the ACK that ends the handshake (no quick ACK, as HAProxy's
        `tcp-smart-connect` does it), which saves a packet.
        """
        sock = self._make()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        self._open(sock)
        return None

    def ready(self) -> str | None:
        """Send the request (which tells how the connection went), or take the answer."""
        if self._stream is not None:
            return self._stream.ready()
        assert self._socket is not None
        try:
            if not self._sent:
                self._send(self._socket)
                return None
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return None
        if self._brief.passes(data):
            return self._brief.passing
        return self._go_on().hear(data)

    def expired(self) -> str:
        """How far it came."""
        return super().expired() if self._stream is None else self._stream.expired()

    def close(self) -> None:
        """Close the connection, whoever has it."""
        super().close()
        if self._stream is not None:
            self._stream.close()

    def _send(self, sock: socket.SocketType) -> None:
        request = self._brief.request
        sent = sock.send(request)
        if sent < len(request):
            self._go_on(request[sent:])
            return
        self._sent = True
        self._run.reactor.modify(sock.fileno(), READ)

    def _go_on(self, unsent: bytes = b"") -> Stream:
        """Hand the connection over to a stream."""
        assert self._socket is not None
        sock = socket.socket(fileno=self._socket.detach())
        self._socket = None
        self._stream = Stream(self._run, self._brief)
        self._stream.take_over(sock, unsent)
        return self._stream
