"""What the director and its check workers say to each other over their socketpair.

Each message is one MessagePack document behind a four-byte big-endian length. A check has a number,
given by the director, which is all that results say. Passes that say what the last one said come
without their reason. A worker is unprivileged and talks to anybody, so what it says is checked for
its form, and a number that is unknown is passed over.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, TypeVar

import msgspec

from lvsd.core.model import Check, CheckKind, Protocol

#: A frame beyond this is broken (20,000 checks are 4 MB).
MAX_FRAME = 64 << 20
#: Seconds between two words of a worker on its work, by which it also says that it is alive.
BEAT = 1.0

_LENGTH = struct.Struct("!I")
_FIELDS = tuple(field.name for field in dataclasses.fields(Check))


class Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower):
    """Base of everything on the wire."""


class Ask(Message, frozen=True):
    """Director → worker: checks to ask from now on by number, those to forget, all watched."""

    added: dict[int, list[Any]]
    removed: list[int]
    watched: list[int]


class Hasten(Message, frozen=True):
    """Director → worker: ask this one now unless its last verdict says the same of `there`."""

    number: int
    there: bool


class Trigger(Message, frozen=True):
    """Director → worker: ask this one now."""

    number: int


class Found(msgspec.Struct, frozen=True, array_like=True):
    """The verdict on one run; `reason` None: it passed, as the last one did, for that reason."""

    number: int
    latency: float
    reason: str | None = None
    passed: bool = True
    gone: bool = False


class Results(Message, frozen=True):
    """Worker → director: verdicts in the order in which they came."""

    found: list[Found]


class Work(Message, frozen=True):
    """Worker → director, every `BEAT`: the engine's own figures."""

    finished: int = 0
    local_errors: int = 0
    local_reason: str = ""
    lateness: float = 0.0
    watching: int = 0
    unwatched: int = 0

    def after(self, before: Work) -> Work:
        """Counts go on over the lives of a worker; the rest is of this moment."""
        return msgspec.structs.replace(
            self,
            finished=before.finished + self.finished,
            local_errors=before.local_errors + self.local_errors,
        )


ToWorker = Ask | Hasten | Trigger
ToDirector = Results | Work
M = TypeVar("M")


def pack(message: Message) -> bytes:
    """One frame, length first."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[M]) -> M | None:
    """The next message; None when the other side is gone. ValueError when it is no message."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME:
            raise ValueError("a frame too long")
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return decoder.decode(body)  # msgspec's errors are ValueErrors


def check_to_wire(check: Check) -> list[Any]:
    """A Check as plain values in the order of its fields."""
    return [_plain(getattr(check, name)) for name in _FIELDS]


def check_from_wire(wire: Sequence[Any]) -> Check:
    """The inverse of `check_to_wire`."""
    told = dict(zip(_FIELDS, wire, strict=True))
    told["kind"] = CheckKind(told["kind"])
    told["address"] = ip_address(told["address"])
    told["protocol"] = Protocol(told["protocol"])
    told["command"] = tuple(told["command"])
    return Check(**told)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | bytes | int | float | tuple) else str(value)
