"""Watch connections on real sockets: what they make the checks do, and what they never decide."""

from __future__ import annotations

import asyncio
import errno
import resource
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.checks import watch
from lvsd.checks.engine import SPARE_DESCRIPTORS, Engine
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import Results, condition, free_port, listening

pytestmark = pytest.mark.usefixtures("no_leaks")

#: Asked so seldom that every verdict after the first is the watch connection's doing.
CHECK = Check(CheckKind.CONNECT, ip_address("127.0.0.1"), 0, 600.0, 2.0)
LOOPBACKS = [ip_address(f"127.0.0.{n}") for n in range(1, 61)]


class Process:
    """A server that dies and returns on one port; `held` are its connections."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.port = free_port()
        self.held: list[asyncio.StreamWriter] = []
        self._greeting = greeting
        self._server: asyncio.Server | None = None

    async def start(self) -> Process:
        self._server = await asyncio.start_server(self._accept, "0.0.0.0", self.port)
        return self

    async def die(self) -> None:
        """Listen no more, and end every connection, as the kernel does for a process."""
        assert self._server is not None
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    def drop(self) -> None:
        """End the connections alone."""
        held, self.held = self.held, []
        for writer in held:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.held.append(writer)
        writer.write(self._greeting)


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = await Process().start()
    yield process
    await process.die()


@pytest.fixture
def results() -> Results:
    return Results()


@pytest.fixture
async def engine(results: Results) -> AsyncIterator[Engine]:
    engine = Engine(results)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempts are not spread."""
    monkeypatch.setattr(watch, "FIRST_ROUND", 0.0)


async def watched(engine: Engine, process: Process, results: Results) -> Check:
    """The check of the process, judged once, with its watch connection."""
    check = replace(CHECK, port=process.port)
    engine.set_checks([check], [check])
    await results.until(1)
    assert results.all[0].passed
    await condition(lambda: engine.watching == 1)
    return check


async def test_a_process_that_dies_is_asked_and_found_gone(
    engine: Engine, process: Process, results: Results
) -> None:
    await watched(engine, process, results)

    await process.die()

    result = (await results.until(2))[1]
    assert (result.passed, result.reason, result.gone) == (False, "refused", True)


async def test_one_that_returns_is_asked_without_waiting_for_the_interval(
    engine: Engine, process: Process, results: Results
) -> None:
    await watched(engine, process, results)
    await process.die()
    await results.until(2)

    await process.start()

    result = (await results.until(3))[2]
    assert (result.passed, result.gone) == (True, False)
    await condition(lambda: engine.watching == 1)


async def test_an_orderly_close_asks_and_decides_nothing(
    engine: Engine, process: Process, results: Results
) -> None:
    await watched(engine, process, results)

    process.drop()

    result = (await results.until(2))[1]
    assert (result.passed, result.gone) == (True, False)
    await condition(lambda: engine.watching == 1)


async def test_a_failure_that_is_known_is_not_counted_again(
    engine: Engine, process: Process, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAUSE_MAX", 0.1)
    attempts = attempted(monkeypatch)
    await watched(engine, process, results)

    await process.die()

    await condition(lambda: len(attempts) > 5)
    assert len(results.all) == 2


async def test_pauses_between_attempts_grow(
    engine: Engine, process: Process, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.01)
    pauses = attempted(monkeypatch)
    await watched(engine, process, results)

    await process.die()

    await condition(lambda: len(pauses) > 4)
    assert pauses[:5] == [0.01, 0.02, 0.04, 0.08, 0.16]


async def test_a_server_that_talks_without_being_asked_is_heard_out_and_let_go_in_the_end(
    engine: Engine, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST", 1000)
    pauses = attempted(monkeypatch)
    process = await Process(b"x" * 999).start()
    check = await watched(engine, process, results)

    for writer in process.held:
        writer.write(b"xx")

    await condition(lambda: pauses == [watch.PAUSE_MAX])
    engine.set_checks([check])
    await process.die()


async def test_a_target_is_watched_by_one_connection_whatever_is_asked(
    engine: Engine, process: Process, results: Results
) -> None:
    check = replace(CHECK, port=process.port)
    another = replace(check, timeout=1.0)
    engine.set_checks([check, another], [check, another])
    await results.until(2)
    await condition(lambda: engine.watching == 1)
    await condition(lambda: len(process.held) == 3)  # two of them checks

    await process.die()

    found = (await results.until(4))[2:]
    assert {r.check for r in found} == {check, another}
    assert not any(r.passed for r in found)


async def test_what_is_no_longer_watched_is_let_go(
    engine: Engine, process: Process, results: Results
) -> None:
    check = await watched(engine, process, results)

    engine.set_checks([check], [])

    assert engine.watching == 0
    await process.die()
    with pytest.raises(TimeoutError):
        await results.until(2, 0.3)


async def test_a_target_that_never_was_there_is_no_news(engine: Engine, results: Results) -> None:
    check = replace(CHECK, port=free_port())

    engine.set_checks([check], [check])

    assert not (await results.until(1))[0].passed
    with pytest.raises(TimeoutError):
        await results.until(2, 0.3)


async def test_a_peer_that_takes_no_connection_costs_one_at_a_time(
    engine: Engine, results: Results
) -> None:
    with listening(backlog=0) as full:
        check = replace(CHECK, port=full.getsockname()[1], timeout=0.2)
        engine.set_checks([check], [check])
        await results.until(1)
    # Closing with an attempt under way leaves nothing open: the fixture looks.


def attempted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of all watches from now on, before their jitter."""
    pauses: list[float] = []
    wait: Callable[[watch._Watch, float], None] = watch._Watch._wait

    def told(self: watch._Watch, pause: float) -> None:
        pauses.append(pause)
        wait(self, pause)

    monkeypatch.setattr(watch._Watch, "_wait", told)
    return pauses


async def test_news_that_it_is_back_is_no_news_that_it_is_gone(
    engine: Engine, process: Process, results: Results
) -> None:
    """Refused right after its return, say by a full backlog: a failure as any other."""
    check = await watched(engine, process, results)
    engine.set_checks([check])
    await process.die()
    engine.trigger(check)
    assert not (await results.until(2))[1].passed

    engine.hasten(check, there=True)

    result = (await results.until(3))[2]
    assert (result.reason, result.gone) == ("refused", False)


async def test_an_interval_beyond_what_the_kernel_can_wait_is_watched_all_the_same(
    engine: Engine, process: Process, results: Results
) -> None:
    check = replace(CHECK, port=process.port, interval=200_000.0)
    engine.set_checks([check], [check])
    await condition(lambda: engine.watching == 1)
    engine.set_checks([check])
    await results.until(1)


async def test_few_descriptors_are_left_to_the_checks(process: Process, results: Results) -> None:
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE_DESCRIPTORS + 40, old[1]))
    engine = Engine(results)
    try:
        asked = [replace(CHECK, address=loopback, port=process.port) for loopback in LOOPBACKS]
        engine.set_checks(asked, asked)
        await condition(lambda: len({result.check for result in results.all}) == len(asked))
        assert (engine.unwatched, engine.local_errors) == (len(asked) - 20, 0)
        engine.set_checks(asked, asked[:20])
        assert engine.unwatched == 0
    finally:
        engine.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


async def test_a_shortage_of_this_host_ends_no_watch(
    engine: Engine, process: Process, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(watch, "PAUSE_MAX", 0.1)
    pauses = attempted(monkeypatch)
    check = replace(CHECK, port=process.port)
    with monkeypatch.context() as patch:
        patch.setattr(engine.reactor, "register", full)
        engine.set_checks([], [check])
        await condition(lambda: len(pauses) > 1)
    await condition(lambda: engine.watching == 1)
