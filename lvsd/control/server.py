"""The control socket: HTTP/1.1 with JSON over a Unix socket, served by the director process.

Whoever may open the socket (mode 0660, group lvsd) may read; root and `operators=` may change,
which SO_PEERCRED decides for each connection. The server knows nothing of pools or kernels: it
asks a `Desk`, which the director implements. Hostile requests end in a status code: headers,
bodies and connections are bounded, every request has a time limit, and a desk that fails costs
its caller a 500 and nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

import msgspec
from aiohttp import web

from lvsd import log
from lvsd.control import metrics
from lvsd.control.status import Failure, PlanResult, ReloadResult, Status, Touched

#: Seconds a request may take from its first byte to its answer; a stepdown waits for the peer.
TIME_LIMIT = 30.0
#: Seconds a connection may stay open without sending a whole request.
IDLE_LIMIT = 10.0
MAX_BODY = 64 << 10
MAX_CONNECTIONS = 64
#: A day, which is longer than anybody means to wait for a drain.
MAX_DEADLINE = 7 * 86400.0

_UCRED = struct.Struct("iII")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Desk(Protocol):
    """What the director offers to operators."""

    async def status(self) -> Status:
        """Everything at a glance."""
        ...

    async def drain(self, real: str, virtual: str | None, deadline: float | None) -> list[str]:
        """Take `real` (`ADDRESS` or `ADDRESS:PORT`) out of service in one or in all virtuals.

        `deadline` is seconds from now, after which the real counts as drained whatever is still
        connected. Returns `VIRTUAL REAL` for each one touched. Raises LookupError with a text for
        the operator when nothing matches.
        """
        ...

    async def undrain(self, real: str, virtual: str | None) -> list[str]:
        """Put `real` back into service. Returns and raises as `drain`."""
        ...

    async def reload(self) -> ReloadResult:
        """Read the configuration again and follow it; a bad one changes nothing."""
        ...

    async def plan(self) -> PlanResult:
        """What a reload would change in the kernel now; changes nothing."""
        ...

    async def stepdown(self, name: str, undo: bool) -> str:
        """Give up mastership of the router `name` ("" all), or take part again with `undo`.

        Returns "" when done, else the reason why not. Raises LookupError for an unknown name.
        """
        ...

    def operators(self) -> Collection[str]:
        """Names of the users who may change things besides root."""
        ...
