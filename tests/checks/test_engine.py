"""The engine on real sockets: what is asked when, and what is never held against a server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from socket import socket, socketpair

import pytest

from lvsd import checks
from lvsd.checks import coroutine, stream
from lvsd.checks.connect import Connect
from lvsd.checks.coroutine import Coroutine
from lvsd.checks.engine import Engine, Result
from lvsd.checks.probe import Failed, LocalFault, Probe, Question, Run
from lvsd.checks.reactor import READ, Reactor
from lvsd.checks.stream import Dialogue, Talk
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import (
    Results,
    ask,
    condition,
    free_port,
    listening,
    server,
)
from tests.checks.scripts import answering, reply

pytestmark = pytest.mark.usefixtures("no_leaks")

CHECK = Check(CheckKind.HTTP, ip_address("127.0.0.1"), 0, 60.0, 2.0, b"/", b"fake")


def registered(monkeypatch: pytest.MonkeyPatch, make: Callable[[Check], Question]) -> None:
    """Let `http` be another kind for one test."""
    monkeypatch.setattr(checks, "KINDS", {CheckKind.HTTP: make})


async def test_every_check_is_judged_within_the_first_second() -> None:
    results = Results()
    async with server(answering(reply())) as port:
        engine = Engine(results)
        begun = engine.loop.time()
        engine.set_checks(replace(CHECK, port=port, timeout=5 + n) for n in range(100))
        await results.until(100)
        engine.close()
    assert all(r.passed for r in results.all)
    assert max(Counter(r.check for r in results.all).values()) == 1
    assert engine.loop.time() - begun < 1.5
    assert engine.started == engine.finished == 100
    assert engine.lateness < 0.5


async def test_a_check_is_repeated_at_its_interval() -> None:
    results = Results()
    async with server(answering(reply())) as port:
        engine = Engine(results)
        engine.set_checks([replace(CHECK, port=port, interval=0.1)])
        found = await results.until(6)
        engine.close()
    assert found[5].at - found[0].at == pytest.approx(0.5, abs=0.2)


async def test_unchanged_checks_keep_their_schedule() -> None:
    results = Results()
    async with server(answering(reply())) as port:
        kept, dropped, added = (replace(CHECK, port=port, timeout=n) for n in (1, 2, 3))
        engine = Engine(results)
        engine.set_checks([kept, dropped])
        await results.until(2)
        engine.set_checks([kept, added])
        await results.until(3)
        engine.close()
    assert Counter(r.check for r in results.all) == {kept: 1, dropped: 1, added: 1}


async def test_a_removed_check_reports_nothing_more() -> None:
    results = Results()
    with listening() as hung:
        engine = Engine(results)
        check = replace(CHECK, port=hung.getsockname()[1], timeout=0.2)
        engine.set_checks([check])
        engine.trigger(check)
        await condition(lambda: engine.started == 1)
        engine.set_checks([])
        with pytest.raises(TimeoutError):
            await results.until(1, 0.4)
        engine.close()


async def test_trigger_asks_at_once() -> None:
    results = Results()
    async with server(answering(reply())) as port:
        engine = Engine(results)
        check = replace(CHECK, port=port)
        engine.set_checks([check])
        for count in range(1, 6):
            engine.trigger(check)
            await results.until(count, 1.0)
        engine.trigger(replace(check, port=1))  # not one of ours
        engine.close()


async def test_no_more_checks_are_in_flight_than_allowed() -> None:
    results = Results()
    with listening(backlog=128) as hung:
        engine = Engine(results, in_flight=16)
        port = hung.getsockname()[1]
        asked = [replace(CHECK, port=port, interval=60 + n, timeout=0.3) for n in range(40)]
        engine.set_checks(asked)
        for check in asked:
            engine.trigger(check)
        peak = 0
        while len(results.all) < 40:
            peak = max(peak, engine.started - engine.finished)
            await asyncio.sleep(0.001)
        engine.close()
    assert peak == 16


async def test_a_report_may_change_the_checks() -> None:
    async with server(answering(reply())) as port:
        done = asyncio.Event()

        def report(_result: Result) -> None:
            engine.set_checks([])
            done.set()

        engine = Engine(report)
        engine.set_checks(replace(CHECK, port=port, timeout=5 + n) for n in range(50))
        await asyncio.wait_for(done.wait(), 3)
        assert engine.finished == 1
        engine.close()


async def test_a_report_may_close_the_engine() -> None:
    async with server(answering(reply())) as port:
        done = asyncio.Event()

        def report(_result: Result) -> None:
            engine.close()
            done.set()

        engine = Engine(report)
        engine.set_checks(replace(CHECK, port=port, timeout=5 + n) for n in range(50))
        await asyncio.wait_for(done.wait(), 3)


async def test_a_connection_to_itself_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mirror(stream.socket.SocketType):
        """Gets the port it connects to as its own, as chance may have it."""

        def connect_ex(self, address: tuple[str, int]) -> int:  # type: ignore[override]
            self.bind(address)
            return super().connect_ex(address)

    monkeypatch.setattr(stream.socket, "SocketType", Mirror)
    result = await ask(replace(CHECK, kind=CheckKind.CONNECT, port=free_port()))
    assert (result.passed, result.reason) == (False, "refused")


async def test_an_event_of_a_closed_socket_does_not_reach_its_successor() -> None:
    """Descriptor numbers are reused at once, also within one batch of events."""
    reactor = Reactor(asyncio.get_running_loop())
    pairs = [socketpair(), socketpair()]
    opened: list[socket] = []
    seen: list[str] = []

    def replace_other(mine: int) -> Callable[[int], None]:
        def handler(_mask: int) -> None:
            seen.append("old")
            other = pairs[1 - mine][0]
            number = other.fileno()
            reactor.unregister(number)
            other.close()
            opened.extend(socketpair())
            assert opened[0].fileno() == number
            reactor.register(number, READ, lambda _mask: seen.append("new"))
            reactor.unregister(pairs[mine][0].fileno())

        return handler

    for n, (ours, theirs) in enumerate(pairs):
        theirs.send(b"x")
        reactor.register(ours.fileno(), READ, replace_other(n))
    reactor.serve()
    assert seen == ["old"]
    opened[1].send(b"x")
    reactor.serve()
    assert seen == ["old", "new"]
    reactor.close()
    for sock in [*opened, *pairs[0], *pairs[1]]:
        sock.close()


async def test_a_coroutine_can_be_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    class Banner(Coroutine):
        async def ask(self) -> str:
            address = str(self.check.address)
            reader, writer = await asyncio.open_connection(address, self.check.port)
            try:
                if await reader.readline() != b"hello\n":
                    raise Failed("no greeting")
                return "greeting"
            finally:
                writer.transport.abort()

    def greeting(text: bytes) -> Callable[..., object]:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            await reader.read(-1)

        return script

    registered(monkeypatch, Banner)
    verdicts = []
    for text in (b"hello\n", b"go away\n", b"never a line"):
        async with server(greeting(text)) as port:  # type: ignore[arg-type]
            result = await ask(replace(CHECK, port=port, timeout=0.5))
            verdicts.append((result.passed, result.reason))
    refused = await ask(replace(CHECK, port=free_port()))
    verdicts.append((refused.passed, refused.reason))
    assert verdicts == [
        (True, "greeting"),
        (False, "no greeting"),
        (False, "no answer within 0.5 s"),
        (False, "refused"),
    ]
    assert coroutine.Coroutine is Coroutine


async def test_a_line_dialogue_can_be_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lines(Dialogue):
        def talk(self) -> Talk:
            heard = b""
            while not heard.endswith(b"\n"):
                heard += yield b""
            answer = yield b"QUIT\n"
            if answer != b"BYE\n":
                raise Failed("no bye")
            return "bye"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ")
        await writer.drain()
        writer.write(b"ready\n")
        if await reader.readline() == b"QUIT\n":
            writer.write(b"BYE\n")
            await writer.drain()
        await reader.read(-1)

    async def shy(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220")

    registered(monkeypatch, Lines)
    async with server(script) as port:
        result = await ask(replace(CHECK, port=port))
        assert (result.passed, result.reason) == (True, "bye")
    async with server(shy) as port:
        result = await ask(replace(CHECK, port=port))
        assert (result.passed, result.reason) == (False, "connection closed early")


async def test_a_bug_in_a_kind_is_told_and_condemns_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(Dialogue):
        def talk(self) -> Talk:
            yield b"hello"
            raise ZeroDivisionError

    seen: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: seen.append(context["exception"]))
    registered(monkeypatch, Broken)
    results = Results()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(5))

    async with server(echo) as port:
        engine = Engine(results)
        engine.set_checks([replace(CHECK, port=port, interval=0.05)])
        await condition(lambda: engine.local_errors >= 2)
        engine.close()
    assert results.all == []
    assert engine.local_reason == "internal error"
    assert isinstance(seen[0], ZeroDivisionError)


async def test_no_check_is_lost_when_probes_and_reports_raise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unstartable(Connect):
        def probe(self, run: Run) -> Probe:
            raise ZeroDivisionError

    seen: list[type] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: seen.append(type(context["exception"])))
    kinds = {**checks.KINDS, CheckKind.CONNECT: Unstartable}
    monkeypatch.setattr(checks, "KINDS", kinds)
    results = Results()

    def report(result: Result) -> None:
        results(result)
        raise ArithmeticError

    async with server(answering(reply())) as port:
        sound = {replace(CHECK, port=port, interval=0.2, timeout=5 + n) for n in range(20)}
        broken = {replace(c, kind=CheckKind.CONNECT) for c in sound}
        engine = Engine(report)
        engine.set_checks(sound | broken)
        await condition(lambda: len(results.all) > 100)
        engine.close()
    assert {r.check for r in results.all} == sound
    assert set(seen) == {ZeroDivisionError, ArithmeticError}


async def test_a_bad_expression_is_a_local_fault() -> None:
    assert isinstance(checks.question(replace(CHECK, receive=b"(")), LocalFault)


def test_nothing_is_imported_while_the_loop_runs() -> None:
    program = (
        "import asyncio, sys\n"
        "from dataclasses import replace\n"
        "from ipaddress import ip_address\n"
        "from lvsd.checks.engine import Engine\n"
        "from lvsd.core.model import Check, CheckKind\n"
        "import encodings.idna\n"
        "async def main():\n"
        "    done = asyncio.Event()\n"
        "    before = set(sys.modules)\n"
        "    engine = Engine(lambda result: done.set())\n"
        "    engine.set_checks([Check(k, ip_address('127.0.0.1'), 1)\n"
        "                       for k in (CheckKind.HTTP, CheckKind.HTTPS, CheckKind.CONNECT)])\n"
        "    await done.wait()\n"
        "    engine.close()\n"
        "    print(sorted(set(sys.modules) - before))\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stdout + ran.stderr
