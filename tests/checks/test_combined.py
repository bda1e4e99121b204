"""`checktype=N` against a server that counts connections and requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address

from lvsd.checks.engine import Engine, Result
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import condition


class Counting:
    """Notes `negotiate` or `connect` for each connection; answers with `status`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.status = b"200"
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(self.seen)
        self.seen.append("connect")
        with contextlib.suppress(ConnectionError):
            if await reader.read(1000):
                self.seen[place] = "negotiate"
                writer.write(b"HTTP/1.1 %s x\r\nContent-Length: 0\r\n\r\n" % self.status)
        writer.close()


@contextlib.asynccontextmanager
async def counting() -> AsyncIterator[Counting]:
    web = Counting()
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()


@contextlib.contextmanager
def full(port: int) -> Iterator[None]:
    """A listener whose queue is full: who connects waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield


async def ask(
    engine: Engine, check: Check, results: asyncio.Queue[Result], times: int
) -> list[bool]:
    """The next verdicts, asked for one after the other."""
    found = []
    for _ in range(times):
        engine.trigger(check)
        found.append((await asyncio.wait_for(results.get(), 10)).passed)
    return found


async def test_n_connects_come_between_two_that_negotiate_and_a_failure_negotiates_again() -> None:
    async with counting() as web:
        results = asyncio.Queue[Result]()
        engine = Engine(results.put_nowait)
        target = ip_address("127.0.0.1")
        check = Check(CheckKind.HTTP, target, web.port, interval=3600.0, connects=2)
        engine.set_checks([check])

        assert await ask(engine, check, results, 4) == [True] * 4
        web.status = b"500"
        assert await ask(engine, check, results, 4) == [True, True, False, False]
        web.status = b"200"
        assert await ask(engine, check, results, 2) == [True, True]
        await condition(lambda: len(web.seen) >= 10)
        engine.close()

    assert web.seen[:10] == [
        *("negotiate", "connect", "connect", "negotiate"),
        *("connect", "connect", "negotiate", "negotiate"),
        *("negotiate", "connect"),
    ]


async def test_a_connect_has_the_time_limit_of_connects_and_a_negotiation_its_own() -> None:
    results = asyncio.Queue[Result]()
    engine = Engine(results.put_nowait)
    async with counting() as web:
        target = ip_address("127.0.0.1")
        check = Check(
            CheckKind.HTTP, target, web.port, 3600.0, 2.0, connects=1, connect_timeout=0.2
        )
        engine.set_checks([check])
        assert (await asyncio.wait_for(results.get(), 10)).passed
    with full(web.port):
        reasons = []
        for _ in range(2):
            engine.trigger(check)
            result = await asyncio.wait_for(results.get(), 10)
            assert result.check == check
            reasons.append(result.reason)
    engine.close()

    assert reasons == ["no answer within 0.2 s", "no answer within 2 s"]
