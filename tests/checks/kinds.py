"""Scripted servers and one row per check type for the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, SO_LINGER, SOCK_STREAM, SOL_SOCKET, socket

from lvsd.checks.engine import Engine, Result
from lvsd.checks.probe import seconds
from lvsd.core.model import Check, CheckKind
from tests.checks import scripts
from tests.checks.scripts import Script, answering, reply

#: What a check may take beyond its timeout: the promise of the engine.
SLACK = 0.5


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


def pouring(kind: Kind, opening: bytes, drop: bytes = b"", pause: float | None = None) -> Script:
    """Speaks when the kind's server would: the opening, then drops for ever, or (None) the end."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not kind.greets:
            await reader.read(1)
        writer.write(opening)
        while pause is not None:
            await writer.drain()
            await asyncio.sleep(pause)
            writer.write(drop)
        writer.write_eof() if writer.can_write_eof() else writer.close()
        await reader.read(-1)

    return script


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Reads, says nothing, and never closes."""
    await reader.read(-1)
    await asyncio.Event().wait()


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection once it heard something."""
    await reader.read(1)
    await reset(reader, writer)


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True)
class Kind:
    """A check type under contract: a check of it that passes against `good`.

    `greets`: the server speaks first. `flood` is an answer that
    could go on for ever: how it begins, and what is repeated.
    """

    kind: CheckKind
    good: Script
    check: Check
    tls: bool = False
    talks: bool = True
    greets: bool = False
    flood: tuple[bytes, bytes] = (b"", b"")

    def __str__(self) -> str:
        return f"{self.kind}-starttls" if self.check.starttls else str(self.kind)

    @property
    def limit(self) -> str:
        """The check's timeout as reasons name it."""
        return seconds(self.check.timeout)


_LOOPBACK = ip_address("127.0.0.1")
_HTTP = Check(CheckKind.HTTP, _LOOPBACK, 0, 60.0, 0.6, b"/test.html", b"fake")


def _kind(
    kind: CheckKind, good: Script, *flood: bytes, greets: bool = False, **words: object
) -> Kind:
    base = Check(kind, _LOOPBACK, 0, 60.0, 0.3, b"", login=b"joe", passwd=b"secret")
    tls = kind.endswith("s") and kind is not CheckKind.DNS
    check = replace(base, **words)  # type: ignore[arg-type]
    return Kind(kind, good, check, tls=tls, greets=greets, flood=(flood[0], flood[1]))


_ENTRY = scripts.ldap_result(1, 0x61) + scripts.ldap_entry(b"x")

WEB = (
    Kind(CheckKind.HTTP, answering(reply()), _HTTP),
    Kind(CheckKind.HTTPS, answering(reply()), replace(_HTTP, kind=CheckKind.HTTPS), tls=True),
    Kind(
        CheckKind.HTTP_PROXY,
        answering(reply()),
        replace(_HTTP, kind=CheckKind.HTTP_PROXY, request=b"http://www.example.test/x"),
    ),
)
KINDS = (
    *(replace(web, flood=(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")) for web in WEB),
    Kind(CheckKind.CONNECT, silent, Check(CheckKind.CONNECT, _LOOPBACK, 0, 60, 0.6), talks=False),
    _kind(
        CheckKind.FTP,
        scripts.ftp,
        b"",
        b"220-x\r\n",
        greets=True,
        request=b"/file",
        receive=b"^a fake",
    ),
    _kind(CheckKind.SMTP, scripts.SMTP, b"220-x\r\n", b"220-y\r\n", greets=True),
    _kind(CheckKind.SUBMISSION, scripts.SMTP, b"220", b"x", greets=True),
    _kind(CheckKind.POP, scripts.POP, b"+OK", b" x", greets=True),
    _kind(CheckKind.POPS, scripts.POP, b"+OK", b" x", greets=True),
    _kind(CheckKind.IMAP, scripts.IMAP, b"* OK\r\n", b"* x\r\n", greets=True),
    _kind(CheckKind.IMAPS, scripts.IMAP, b"* OK", b"x", greets=True),
    _kind(CheckKind.NNTP, scripts.nntp, b"200-\r\n", b"200-x\r\n", greets=True),
    _kind(CheckKind.DNS, scripts.dns, b"\xff\xff", b"x", request=b"a.test", receive=rb"192\.0"),
    _kind(CheckKind.LDAP, scripts.ldap, _ENTRY, _ENTRY[14:], login=b"cn=joe", request=b"o=x"),
    _kind(CheckKind.LDAPS, scripts.ldap, _ENTRY, _ENTRY[14:], login=b"cn=joe", request=b"o=x"),
    _kind(
        CheckKind.MYSQL, scripts.mysql, b"\xff\xff\xff\0", b"x", greets=True, request=b"select 1"
    ),
    _kind(CheckKind.SIP, scripts.sip, b"SIP/2.0 100 x\r\n", b"x: y\r\n"),
    _kind(CheckKind.SIMPLETCP, scripts.echo, b"", b"x\n", request=rb"fake\n", receive=b"^fake$"),
)


def _upgraded(kind: CheckKind, good: Script, **words: object) -> Kind:
    return _kind(kind, good, b"", b"", starttls=True, timeout=2.0, **words)


#: What goes over to TLS after a word in the clear.
UPGRADED = (
    _upgraded(CheckKind.FTP, scripts.ftp_tls, request=b"/file", receive=b"^a fake"),
    _upgraded(CheckKind.SMTP, scripts.SMTP_TLS),
    _upgraded(CheckKind.SUBMISSION, scripts.SMTP_TLS),
    _upgraded(CheckKind.POP, scripts.POP_TLS),
    _upgraded(CheckKind.IMAP, scripts.IMAP_TLS),
    _upgraded(CheckKind.NNTP, scripts.NNTP_TLS),
    _upgraded(CheckKind.LDAP, scripts.ldap_tls, login=b"cn=joe", request=b"o=x"),
    _upgraded(CheckKind.MYSQL, scripts.mysql_tls, request=b"select 1"),
)


@contextlib.asynccontextmanager
async def server(
    script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on loopback; yields its port. No connection is left in the end."""
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.append(writer)
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
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


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
