"""Scripted servers and one row per check type for the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, SO_LINGER, SOCK_STREAM, SOL_SOCKET, socket

from lvsd.checks.engine import Engine, Result
from lvsd.core.model import Check, CheckKind

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

#: What a check may take beyond its timeout: the promise of the engine.
SLACK = 0.5


def reply(body: bytes = b"fake page", status: bytes = b"200 OK", *fields: bytes) -> bytes:
    """A whole HTTP reply."""
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def answering(*pieces: bytes) -> Script:
    """Reads the request, sends the pieces, closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


def dripping(opening: bytes, drop: bytes, pause: float = 0.02) -> Script:
    """Reads the request, then never stops sending a little."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(opening)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Reads for ever, says nothing."""
    await reader.read(-1)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection once it heard something."""
    await reader.read(1)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True)
class Kind:
    """A check type under contract: a check of it that passes against `good`."""

    kind: CheckKind
    good: Script
    check: Check
    tls: bool = False
    talks: bool = True

    def __str__(self) -> str:
        return str(self.kind)


_LOOPBACK = ip_address("127.0.0.1")
_HTTP = Check(CheckKind.HTTP, _LOOPBACK, 0, 60.0, 0.6, b"/test.html", b"fake")

KINDS = (
    Kind(CheckKind.HTTP, answering(reply()), _HTTP),
    Kind(CheckKind.HTTPS, answering(reply()), replace(_HTTP, kind=CheckKind.HTTPS), tls=True),
    Kind(CheckKind.CONNECT, silent, Check(CheckKind.CONNECT, _LOOPBACK, 0, 60, 0.6), talks=False),
)


@contextlib.asynccontextmanager
async def server(
    script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on loopback; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
                await script(reader, writer)
        finally:
            tasks.discard(task)
            if tls is None:
                writer.close()
            else:
                writer.transport.abort() if writer.is_closing() else writer.close()

    listener = await asyncio.start_server(serve, host, 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def listening(host: str = "127.0.0.1", backlog: int = 5) -> Iterable[socket]:  # type: ignore[misc]
    """A socket that listens and whose connections nobody serves."""
    sock = socket(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM)
    sock.bind((host, 0))
    sock.listen(backlog)
    try:
        yield sock
    finally:
        sock.close()


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on."""
    with listening(host) as sock:
        port: int = sock.getsockname()[1]
        return port


class Results:
    """Collects what an engine reports, and waits for it."""

    def __init__(self) -> None:
        self.all: list[Result] = []
        self._news = asyncio.Event()

    def __call__(self, result: Result) -> None:
        self.all.append(result)
        self._news.set()

    async def until(self, count: int, within: float = 10.0) -> list[Result]:
        """The results, as soon as there are `count`."""
        async with asyncio.timeout(within):
            while len(self.all) < count:
                self._news.clear()
                await self._news.wait()
        return self.all


async def condition(holds: Callable[[], bool], within: float = 5.0) -> None:
    """Wait until something holds that tells nobody."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not holds():
        if loop.time() > end:
            raise TimeoutError
        await asyncio.sleep(0.001)


async def ask(check: Check) -> Result:
    """Ask one check at once and give its verdict."""
    results = Results()
    engine = Engine(results)
    try:
        engine.set_checks([check])
        engine.trigger(check)
        return (await results.until(1, check.timeout + 5))[0]
    finally:
        engine.close()
