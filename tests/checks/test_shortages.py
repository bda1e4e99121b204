"""What this host lacks (descriptors, ports, memory, time) is never held against a server."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.checks import stream
from lvsd.checks.engine import Engine
from lvsd.checks.http import Http
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import Results, condition, server
from tests.checks.scripts import answering, reply

pytestmark = pytest.mark.usefixtures("no_leaks")

CHECK = Check(CheckKind.HTTP, ip_address("127.0.0.1"), 0, 60.0, 2.0, b"/", b"fake")


async def test_running_out_of_descriptors_condemns_nobody() -> None:
    results = Results()
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with server(answering(reply())) as port:
        engine = Engine(results)
        engine.set_checks([replace(CHECK, port=port, interval=0.05)])
        await results.until(1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, old[1]))
        try:
            await condition(lambda: engine.local_errors >= 3)
            before = len(results.all)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, old)
        await results.until(before + 1)
        engine.close()
    assert engine.local_reason == "too many open files"
    assert all(r.passed for r in results.all)


@pytest.mark.parametrize("code", [errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.EMFILE])
@pytest.mark.parametrize(
    ("asked", "maker"),
    [
        (CHECK, "SocketType"),
        (replace(CHECK, kind=CheckKind.CONNECT), "SocketType"),
        (replace(CHECK, method="HEAD", receive=b""), "socket"),
    ],
)
async def test_a_shortage_of_ports_condemns_nobody(
    asked: Check, maker: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results()

    class Short(getattr(stream.socket, maker)):  # type: ignore[misc]
        def connect_ex(self, _address: object) -> int:
            return code

    async with server(answering(reply())) as port:
        engine = Engine(results)
        with monkeypatch.context() as patch:
            patch.setattr(stream.socket, maker, Short)
            engine.set_checks([replace(asked, port=port, interval=0.05)])
            await condition(lambda: engine.local_errors >= 2)
            assert not results.all
        await results.until(1)
        engine.close()
    assert results.all[0].passed


async def test_a_stall_of_our_own_does_not_expire_a_check() -> None:
    """A loop that stood still past the deadline gives the check the lost time back."""
    results = Results()
    release = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        release.set()
        writer.write(reply())

    async with server(late) as port:
        engine = Engine(results)
        check = replace(CHECK, port=port, timeout=0.3)
        engine.set_checks([check])
        engine.trigger(check)
        await condition(lambda: engine.started == 1)
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.6
        while loop.time() < until:  # the stall
            os.getpid()
        (result,) = await results.until(1)
        engine.close()
    assert result.passed, result.reason


class Prompt(socketserver.BaseRequestHandler):
    """Answers at once, in a thread of its own."""

    def handle(self) -> None:
        self.request.recv(1000)
        self.request.sendall(reply())


@contextmanager
def prompt() -> Iterator[int]:
    """The port of a server that this loop cannot hold up."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Prompt) as server:
        server.socket.listen(1000)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


async def test_answers_that_wait_to_be_read_are_not_taken_for_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two seconds of our own work, all of it due within the first one."""
    results = Results()
    passes = Http.passes

    def slowly(self: Http, data: bytes) -> bool:
        time.sleep(0.02)
        return passes(self, data)

    monkeypatch.setattr(Http, "passes", slowly)
    with prompt() as port:
        engine = Engine(results)
        asked = [replace(CHECK, port=port, timeout=0.4, request=b"/%d" % n) for n in range(100)]
        engine.set_checks(asked)
        await results.until(100)
        lateness = engine.lateness
        engine.close()
    assert [r.reason for r in results.all if not r.passed] == []
    assert lateness > 0.4  # which tells of it


async def test_a_silent_server_fails_even_while_others_are_never_all_read() -> None:
    """A host that cannot keep up waits for a silent one twice as long, and no longer."""
    results = Results()
    hushed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hushed.wait()

    async with server(silent) as port:
        engine = Engine(results)
        check = replace(CHECK, port=port, timeout=0.3)
        engine.set_checks([check])
        engine.trigger(check)
        await condition(lambda: engine.started == 1)
        engine.reactor.lost += 60.0
        (result,) = await results.until(1)
        hushed.set()
        engine.close()
    assert not result.passed
    assert 0.5 < result.latency < 1.5


@pytest.mark.parametrize("kind", [CheckKind.HTTP, CheckKind.CONNECT, CheckKind.SIMPLETCP])
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.ENOSPC])
async def test_a_shortage_of_memory_loses_no_check(
    kind: CheckKind, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results()
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context))

    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    async with server(answering(reply())) as port:
        engine = Engine(results)
        with monkeypatch.context() as patch:
            patch.setattr(engine.reactor, "register", full)
            engine.set_checks([replace(CHECK, kind=kind, port=port, interval=0.05)])
            await condition(lambda: engine.local_errors >= 2)
            assert not results.all
        await results.until(1)
        engine.close()
    assert seen == []
