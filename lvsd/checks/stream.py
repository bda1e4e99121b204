"""Dialogues over one TCP or TLS connection.

A check type says what to talk, as a generator: it yields bytes to send (b"" for none), is sent what
arrives (b"" at the end of the stream), returns a text when the server passed and raises `Failed`
when it did not. Everything else is here: non-blocking connect, TLS handshake, partial writes, end.

Connections end with a reset (SO_LINGER 0) unless the server closed first: a check opens thousands
of them per minute, and each orderly close would keep a source port in TIME_WAIT for a minute.
"""

from __future__ import annotations

import enum
import errno
import os
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from collections.abc import Generator

from lvsd.checks.probe import Failed, Probe, Run, seconds
from lvsd.checks.reactor import READ, WRITE
from lvsd.checks.tls import Tls, tls_failure
from lvsd.core.model import Check


class Again(enum.Enum):
    """Yielded to go on over a new connection to the same server; answered with b""."""

    CONNECT = enum.auto()


class Last(bytes):
    """Yielded to send these bytes and close our half of the stream; answered as other bytes."""


class Parting(bytes):
    """Yielded to take leave: the check has passed, whatever the server answers, closing included.

    Only a server that says nothing at all to it fails, by the deadline.
    """


#: A Tls is yielded to go over to TLS on the same connection; answered with b"" when it stands.
Talk = Generator[bytes | Again | Tls, bytes, str]

#: Bytes taken from a socket at once.
CHUNK = 1 << 16

RESET = struct.pack("ii", 1, 0)


class Dialogue(ABC):
    """A question asked over a stream. Subclasses say `talk`; `tls` None means plain TCP.

    `starttls` is what to go over to where the check asks for it.
    """

    def __init__(self, check: Check, tls: Tls | None = None) -> None:
        self.check = check
        self.tls = tls
        self.starttls = Tls(check) if check.starttls else None
        self.family = socket.AF_INET if check.address.version == 4 else socket.AF_INET6
        self.target = (str(check.address), check.port)

    @abstractmethod
    def talk(self) -> Talk:
        """The dialogue, begun when the connection (and TLS) stands."""

    def probe(self, run: Run) -> Probe:
        """One run of the dialogue."""
        return Stream(run, self)


class _Phase(enum.Enum):
    CONNECT = "connection"
    HANDSHAKE = "TLS handshake"
    TALK = "answer"


class Stream:
    """The probe of every `Dialogue`."""

    __slots__ = (
        "_dialogue",
        "_heard",
        "_last",
        "_out",
        "_parting",
        "_phase",
        "_run",
        "_socket",
        "_talk",
        "_wants",
    )

    def __init__(self, run: Run, dialogue: Dialogue) -> None:
        self._run = run
        self._dialogue = dialogue
        self._socket: socket.socket | None = None
        self._talk: Talk | None = None
        self._phase = _Phase.CONNECT
        self._out = b""
        self._heard = False
        self._last = False
        self._parting = False
        self._wants = WRITE

    def start(self) -> str | None:
        """Open the connection."""
        self._open()
        return None

    def take_over(self, sock: socket.socket, unsent: bytes = b"") -> None:
        """Go on where the dialogue's first words were sent, but for what is `unsent`.

        The socket is registered: for WRITE while something is unsent, else for READ.
        """
        self._socket = sock
        self._phase = _Phase.TALK
        self._wants = WRITE if unsent else READ
        self._out = unsent
        self._talk = self._dialogue.talk()
        next(self._talk)

    def hear(self, data: bytes) -> str | None:
        """Bytes have arrived; b"" is the end of the stream."""
        if data:
            self._heard = True
        else:
            self._close_socket(reset=False)
        return self._tell(data)

    def ready(self) -> str | None:
        """One step: connection made, handshake message, bytes out, bytes in."""
        try:
            if self._phase is _Phase.TALK:
                return self._part() if self._parting else self._converse()
            if self._phase is _Phase.CONNECT and not self._connected():
                return None
            if self._phase is _Phase.HANDSHAKE and not self._shake_hands():
                return None
            self._phase = _Phase.TALK
            return self._tell(b"")
        except ssl.SSLError as error:
            raise tls_failure(error, self._phase is _Phase.HANDSHAKE) from error

    def expired(self) -> str:
        """How far it came."""
        limit = seconds(self._run.check.timeout)
        if self._phase is _Phase.HANDSHAKE:
            return f"TLS handshake not complete within {limit}"
        return f"answer not complete within {limit}" if self._heard else f"no answer within {limit}"

    def close(self) -> None:
        """Close the connection and the generator."""
        self._close_socket(reset=True)
        if self._talk is not None:
            self._talk.close()

    def _open(self) -> None:
        sock = socket.socket(self._dialogue.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket = sock
        self._phase = _Phase.CONNECT
        self._wants = WRITE
        code = sock.connect_ex(self._dialogue.target)
        self._run.reactor.register(sock.fileno(), WRITE, self._run.step)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))

    def _connected(self) -> bool:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if self._dialogue.tls is not None:
            self._secure(self._dialogue.tls)
        return True

    def _secure(self, tls: Tls) -> None:
        """Put TLS on the connection; the handshake comes next."""
        assert self._socket is not None
        plain, self._socket = self._socket, None
        self._run.reactor.unregister(plain.fileno())
        self._socket = tls.wrap(plain)
        self._wants = WRITE
        self._run.reactor.register(self._socket.fileno(), WRITE, self._run.step)
        self._phase = _Phase.HANDSHAKE

    def _shake_hands(self) -> bool:
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._want(READ)
            return False
        except ssl.SSLWantWriteError:
            self._want(WRITE)
            return False
        return True

    def _part(self) -> str | None:
        """After the last words an error is an end like any other."""
        try:
            return self._converse()
        except OSError:
            return self._tell(b"")

    def _converse(self) -> str | None:
        if self._out:
            self._flush()
            return None
        assert self._socket is not None
        try:
            data = self._socket.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._want(READ)
            return None
        except ssl.SSLWantWriteError:
            self._want(WRITE)
            return None
        return self.hear(data)

    def _tell(self, data: bytes) -> str | None:
        """Give the dialogue what arrived, send what it answers."""
        try:
            if self._talk is None:
                self._talk = self._dialogue.talk()
                answer = next(self._talk)
            else:
                answer = self._talk.send(data)
        except StopIteration as end:
            return str(end.value)
        if isinstance(answer, Again):
            self._close_socket(reset=True)
            self._open()
        elif self._socket is None:
            raise Failed("connection closed early")
        elif isinstance(answer, Tls):
            self._secure(answer)
        elif answer or isinstance(answer, Last):
            self._out = answer
            self._last = isinstance(answer, Last)
            self._parting = isinstance(answer, Parting)
            self._flush()
        else:
            self._want(READ)
        return None

    def _flush(self) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._want(WRITE)
            return
        except ssl.SSLWantReadError:
            self._want(READ)
            return
        self._out = self._out[sent:]
        if self._last and not self._out:
            self._last = False
            self._socket.shutdown(socket.SHUT_WR)
        self._want(WRITE if self._out else READ)

    def _want(self, mask: int) -> None:
        assert self._socket is not None
        if mask != self._wants:
            self._wants = mask
            self._run.reactor.modify(self._socket.fileno(), mask)

    def _close_socket(self, *, reset: bool) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        try:
            self._run.reactor.unregister(sock.fileno())
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        finally:
            sock.close()
