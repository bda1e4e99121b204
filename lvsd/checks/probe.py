"""The words between the engine and the check types.

A *question* is one check made ready: request built, expression compiled, TLS context at hand. The
engine keeps it as long as the check is configured. A *probe* is the question asked once: a small
state machine that is moved whenever its socket is ready, never blocks, and ends in one of three
ways. It passed (a text is returned), the real server failed (`Failed` or an OSError about the
peer), or this host was unable to ask (`LocalFault`), which says nothing about the real server.

The deadline is the engine's: it holds whatever the server does.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from lvsd.checks.reactor import Reactor
    from lvsd.core.model import Check


class Failed(Exception):
    """The real server did not pass. The text is the reason an operator reads."""


class NobodyListens(Failed):
    """The host is there, and says that nobody listens on that port."""

    def __init__(self, text: str = "refused") -> None:
        super().__init__(text)


class LocalFault(Exception):
    """This host could not ask. Never counted against the real server; the check is repeated."""


class Run(Protocol):
    """What the engine lends a probe for one run. `check` is what is asked this time."""

    check: Check
    loop: asyncio.AbstractEventLoop
    reactor: Reactor

    def step(self, mask: int = 0) -> None:
        """Move the probe on: the handler to register, and what a timer or a task calls."""


class Probe(Protocol):
    """One question asked once. `start` and `ready` return a text when the check passed."""

    def start(self) -> str | None:
        """Begin; returns None while the answer is outstanding."""

    def ready(self) -> str | None:
        """The socket is ready (or `Run.step` was called); returns None while under way."""

    def expired(self) -> str:
        """The time is up: why, from what has been seen so far."""

    def close(self) -> None:
        """Free everything, at whatever point the probe stands. Called once."""


class Question(Protocol):
    """A check made ready to be asked again and again."""

    @property
    def check(self) -> Check:
        """What is asked the next time; its timeout is the limit of that run."""

    def probe(self, run: Run) -> Probe:
        """The question, asked once more."""


#: Shortages of this host: no port, no descriptor, no memory.
_LOCAL = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.EAGAIN,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EAFNOSUPPORT,
        errno.ENOSPC,  # the watches that epoll has for a user
    }
)

_REASONS = {
    errno.ECONNRESET: "reset by peer",
    errno.EPIPE: "reset by peer",
    errno.ECONNABORTED: "reset by peer",
    errno.ENOTCONN: "reset by peer",
    errno.ETIMEDOUT: "no answer",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ENETDOWN: "network down",
    errno.EHOSTDOWN: "host down",
    errno.EPERM: "not permitted (firewall of this host?)",
    errno.EACCES: "not permitted (firewall of this host?)",
    errno.EPROTO: "protocol error",
    errno.EINVAL: "invalid argument (a blackhole route?)",
}


def fault(error: OSError) -> Failed | LocalFault:
    """What an error of the socket layer means: the peer's failure or this host's."""
    code = error.errno or 0
    if code == errno.ECONNREFUSED:
        return NobodyListens()
    text = _REASONS.get(code) or (os.strerror(code).lower() if code else str(error))
    return LocalFault(text) if code in _LOCAL else Failed(text)


def quoted(text: bytes, limit: int = 80) -> str:
    """Bytes from outside as one short printable line: what is not ASCII text becomes `?`."""
    shown = "".join(chr(b) if 0x20 <= b < 0x7F else "?" for b in text[:limit])
    return shown + "…" if len(text) > limit else shown


def seconds(timeout: float) -> str:
    """`3 s`, `0.5 s`."""
    return f"{timeout:g} s"
