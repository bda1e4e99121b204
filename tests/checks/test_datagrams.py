"""What every check over UDP promises, whatever comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import cast

import pytest

from lvsd.checks.engine import Engine
from lvsd.core.model import Check, CheckKind, Protocol
from tests.checks.kinds import SLACK, Results, ask, condition, free_port
from tests.checks.scripts import dns_answer, radius_answer, sip_answer

pytestmark = pytest.mark.usefixtures("no_leaks")

Answer = Callable[[bytes], list[bytes]]


@dataclass(frozen=True)
class Kind:
    """A check over UDP, and what a good server answers to its request."""

    check: Check
    good: Answer

    def __str__(self) -> str:
        return str(self.check.kind)


def kind(name: CheckKind, good: Answer, **words: bytes) -> Kind:
    base = Check(name, ip_address("127.0.0.1"), 0, 60.0, 0.4, b"", protocol=Protocol.UDP)
    return Kind(replace(base, login=b"joe", passwd=b"secret", **words), good)  # type: ignore[arg-type]


KINDS = (
    kind(CheckKind.DNS, lambda q: [dns_answer(q)], request=b"a.example", receive=rb"192\.0\.2\.7"),
    kind(CheckKind.SIP, lambda q: [sip_answer(q, b"100 Trying"), sip_answer(q)]),
    kind(CheckKind.RADIUS, lambda q: [radius_answer(q)], secret=b"s3cret"),
    kind(CheckKind.SIMPLETCP, lambda q: [b"got " + q], request=b"hello", receive=b"^got hello"),
)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
#: simpletcp takes any datagram for an answer.
strict_kind = pytest.mark.parametrize("kind", KINDS[:-1], ids=str)


class Server(asyncio.DatagramProtocol):
    """Answers each request; `requests` came."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.requests.append(data)
        assert self._transport is not None
        for answer in self._answer(data):
            self._transport.sendto(answer, addr)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def served(
    kind: Kind, answer: Answer, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Check, Server]]:
    """The check pointed at a server on loopback that gives this answer."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: Server(answer), local_addr=(host, 0)
    )
    try:
        port = transport.get_extra_info("sockname")[1]
        yield replace(kind.check, address=ip_address(host), port=port), server
    finally:
        transport.close()


@every_kind
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_good_server_passes(kind: Kind, host: str) -> None:
    async with served(kind, kind.good, host) as (check, _):
        result = await ask(replace(check, timeout=10.0))
    assert result.passed, result.reason
    assert result.latency < 10


@every_kind
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_port_unreachable_is_a_failure_at_once(kind: Kind, host: str) -> None:
    target = {"address": ip_address(host), "port": free_port(host), "timeout": 10.0}
    result = await ask(replace(kind.check, **target))  # type: ignore[arg-type]
    assert (result.passed, result.reason) == (False, "refused")
    assert result.latency < SLACK


@every_kind
async def test_silence_fails_in_time(kind: Kind) -> None:
    async with served(kind, lambda _: []) as (check, server):
        result = await ask(check)
    assert (result.passed, result.reason) == (False, "no answer within 0.4 s")
    assert check.timeout <= result.latency <= check.timeout + SLACK
    assert len(set(server.requests)) == 1, "a repetition is the same request"


@every_kind
async def test_a_lost_datagram_is_no_failure(kind: Kind) -> None:
    seen: list[bytes] = []

    def second(request: bytes) -> list[bytes]:
        seen.append(request)
        return kind.good(request) if len(seen) > 1 else []

    async with served(kind, second) as (check, _):
        result = await ask(replace(check, timeout=9.0))
    assert result.passed, result.reason


@strict_kind
@pytest.mark.parametrize(
    "noise", [b"\0", b"\xff" * 1400, b"HTTP/1.1 200 OK\r\n\r\n", bytes(range(256)) * 250]
)
async def test_what_is_no_answer_is_ignored_and_told(kind: Kind, noise: bytes) -> None:
    async with served(kind, lambda _: [noise]) as (check, _):
        result = await ask(check)
    assert not result.passed
    assert result.reason.startswith("no valid answer")


@strict_kind
async def test_noise_before_the_answer_does_no_harm(kind: Kind) -> None:
    async with served(kind, lambda q: [b"noise", q, *kind.good(q)]) as (check, _):
        result = await ask(replace(check, timeout=10.0))
    assert result.passed, result.reason


@strict_kind
async def test_an_answer_to_another_request_is_ignored(kind: Kind) -> None:
    old: list[bytes] = []

    def late(request: bytes) -> list[bytes]:
        old.append(request)
        return kind.good(old[0])

    async with served(kind, late) as (check, _):
        assert (await ask(replace(check, timeout=10.0))).passed
        result = await ask(check)
    assert not result.passed
    assert result.reason.startswith("no valid answer")


@strict_kind
async def test_every_cut_and_every_flipped_byte_of_an_answer_is_survived(kind: Kind) -> None:
    def broken(request: bytes) -> list[bytes]:
        (*_, whole) = kind.good(request)
        cuts = [whole[:n] for n in range(0, len(whole), 3)]
        flips = [
            whole[:n] + bytes((whole[n] ^ 0x81,)) + whole[n + 1 :] for n in range(0, len(whole), 5)
        ]
        return [*cuts[1:], *flips]

    async with served(kind, broken) as (check, _):
        result = await ask(check)
    assert result.reason
    assert result.reason.isprintable()


@every_kind
async def test_a_flood_ends_in_time(kind: Kind) -> None:
    async with served(kind, lambda _: [b"x" * 1000] * 300) as (check, _):
        result = await ask(check)
    assert not result.passed
    assert result.latency <= check.timeout + SLACK


@every_kind
async def test_closing_in_the_middle_leaks_nothing(kind: Kind) -> None:
    async with served(kind, lambda _: []) as (check, server):
        checks = [replace(check, timeout=9 + n / 10) for n in range(20)]
        engine = Engine(Results())
        engine.set_checks(checks)
        for each in checks:
            engine.trigger(each)
        await condition(lambda: len(server.requests) >= len(checks))
        engine.set_checks(checks[:10])  # some by removal,
        engine.close()  # some by the end; the fixture looks for leaks
        engine.close()
