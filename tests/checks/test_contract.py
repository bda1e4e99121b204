"""What every check type promises, whatever the server does."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, socket

import pytest

from lvsd.checks.engine import Engine, Result
from tests.checks.kinds import (
    KINDS,
    SLACK,
    WEB,
    Kind,
    Results,
    ask,
    condition,
    dripping,
    free_port,
    listening,
    pouring,
    reset,
    resetting,
    server,
    silent,
)
from tests.checks.relay import Cut, relay
from tests.checks.scripts import Script, reply

pytestmark = pytest.mark.usefixtures("no_leaks")

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
talking_kind = pytest.mark.parametrize("kind", [k for k in KINDS if k.talks], ids=str)
web_kind = pytest.mark.parametrize("kind", WEB, ids=str)
tls_kind = pytest.mark.parametrize("kind", [k for k in KINDS if k.tls], ids=str)

#: Said of a server that closes before it has said anything; a database's client knows less.
CLOSED = ("connection closed without an answer", "connection closed early")


@contextlib.asynccontextmanager
async def served(
    kind: Kind, script: Script, tls: ssl.SSLContext, host: str = "127.0.0.1"
) -> AsyncIterator[Kind]:
    """The kind with its check pointed at a server that follows the script."""
    async with server(script, host=host, tls=tls if kind.tls else None) as port:
        yield replace(kind, check=replace(kind.check, address=ip_address(host), port=port))


async def asked(kind: Kind, script: Script, tls: ssl.SSLContext) -> Result:
    """The verdict on a server that follows the script, within the promised time."""
    async with served(kind, script, tls) as here:
        result = await ask(here.check)
    assert result.latency <= here.check.timeout + SLACK
    return result


@every_kind
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_good_server_passes(kind: Kind, host: str, tls: ssl.SSLContext) -> None:
    async with served(kind, kind.good, tls, host) as here:
        check = replace(here.check, timeout=10.0)
        result = await ask(check)
    assert result.passed, result.reason
    assert result.check == check
    assert 0 <= result.latency <= check.timeout


@every_kind
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_closed_port_is_refused(kind: Kind, host: str) -> None:
    result = await ask(replace(kind.check, address=ip_address(host), port=free_port(host)))
    assert (result.passed, result.reason) == (False, "refused")
    assert result.latency < SLACK


@every_kind
async def test_a_host_that_does_not_answer_the_connect_fails_in_time(kind: Kind) -> None:
    # Linux ignores a SYN when the queue of the listener is full.
    with listening(backlog=0) as full, contextlib.ExitStack() as stack:
        address = full.getsockname()
        for _ in range(4):
            filler = stack.enter_context(contextlib.closing(socket(AF_INET, SOCK_STREAM)))
            filler.setblocking(False)
            filler.connect_ex(address)
        result = await ask(replace(kind.check, port=address[1]))
    assert (result.passed, result.reason) == (False, f"no answer within {kind.limit}")
    assert kind.check.timeout <= result.latency <= kind.check.timeout + SLACK


@talking_kind
async def test_a_hung_server_fails_in_time(kind: Kind) -> None:
    with listening() as hung:
        result = await ask(replace(kind.check, port=hung.getsockname()[1]))
    what = "TLS handshake not complete" if kind.tls else "no answer"
    assert (result.passed, result.reason) == (False, f"{what} within {kind.limit}")
    assert kind.check.timeout <= result.latency <= kind.check.timeout + SLACK


@talking_kind
async def test_a_server_that_says_nothing_fails_in_time(kind: Kind, tls: ssl.SSLContext) -> None:
    result = await asked(kind, silent, tls)
    assert (result.passed, result.reason) == (False, f"no answer within {kind.limit}")


@talking_kind
async def test_a_reset_is_told(kind: Kind, tls: ssl.SSLContext) -> None:
    # Inside TLS the reset may show as an end of the stream.
    result = await asked(kind, reset if kind.greets else resetting, tls)
    assert not result.passed
    assert result.reason in ("reset by peer", *CLOSED)


@tls_kind
async def test_a_reset_before_any_tls_is_told(kind: Kind) -> None:
    async with server(resetting) as port:
        result = await ask(replace(kind.check, port=port))
    assert (result.passed, result.reason) == (False, "reset by peer")


@talking_kind
async def test_a_connection_closed_at_once_is_told(kind: Kind, tls: ssl.SSLContext) -> None:
    result = await asked(kind, pouring(kind, b""), tls)
    assert not result.passed
    assert result.reason in CLOSED


@talking_kind
@pytest.mark.parametrize(
    "noise",
    [b"\0", b"\xff\xfe" * 99, b"SSH-2.0-here\r\n", b"H\n" * 9999, bytes(range(256)) * 9],
    ids=["nul", "bytes", "ssh", "lines", "all"],
)
async def test_garbage_fails(kind: Kind, noise: bytes, tls: ssl.SSLContext) -> None:
    result = await asked(kind, pouring(kind, noise), tls)
    assert not result.passed
    assert result.reason
    assert result.reason.isprintable()
    if kind in WEB:
        assert result.reason.startswith("reply is not HTTP")


@talking_kind
async def test_a_slow_drip_ends_in_time(kind: Kind, tls: ssl.SSLContext) -> None:
    opening, drop = kind.flood
    result = await asked(kind, pouring(kind, opening, drop[:1], 0.02), tls)
    assert not result.passed
    assert "within" in result.reason or result.reason.startswith("reply is not")


@talking_kind
async def test_a_flood_ends_in_time(kind: Kind, tls: ssl.SSLContext) -> None:
    opening, drop = kind.flood
    result = await asked(kind, pouring(kind, opening, drop * (65536 // len(drop)), 0), tls)
    assert not result.passed
    assert result.reason


@talking_kind
@pytest.mark.parametrize("cut", [Cut.STALL, Cut.CLOSE, Cut.RESET])
async def test_a_conversation_cut_anywhere_ends_in_time(
    kind: Kind, cut: Cut, tls: ssl.SSLContext
) -> None:
    async with served(kind, kind.good, tls) as here:
        async with relay(here.check.port, Cut.NEVER) as whole:
            assert (await ask(replace(here.check, port=whole.port, timeout=10.0))).passed

        async def broken(allowed: int) -> None:
            async with relay(here.check.port, cut, allowed) as there:
                result = await ask(replace(here.check, port=there.port))
            assert result.latency <= here.check.timeout + SLACK
            assert result.reason
            assert not (result.passed and allowed == 1), result.reason

        places = {1, whole.heard // 3, whole.heard // 2, whole.heard * 4 // 5}
        await asyncio.gather(*map(broken, places))


@web_kind
@pytest.mark.parametrize(
    ("opening", "drop"),
    [(b"", b"H"), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), (reply(b"x" * 9, b"200 OK")[:-8], b"")],
    ids=["status", "headers", "body"],
)
async def test_a_slow_page_ends_in_time(
    kind: Kind, opening: bytes, drop: bytes, tls: ssl.SSLContext
) -> None:
    result = await asked(kind, dripping(opening, drop), tls)
    assert not result.passed
    assert "within" in result.reason or result.reason.startswith("reply is not HTTP")


@web_kind
async def test_never_ending_headers_end(kind: Kind, tls: ssl.SSLContext) -> None:
    result = await asked(kind, dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 999, 0), tls)
    assert (result.passed, result.reason) == (False, "headers larger than 64 KiB")


@web_kind
async def test_a_never_ending_body_ends(kind: Kind, tls: ssl.SSLContext) -> None:
    result = await asked(kind, dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0), tls)
    assert not result.passed
    assert result.reason in (
        'body larger than 1 MiB, no match for "fake"',
        "answer not complete within 0.6 s",
    )


@tls_kind
async def test_plain_text_where_tls_is_expected_fails(kind: Kind) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(-1)

    async with server(plain) as port:
        result = await ask(replace(kind.check, port=port))
    assert not result.passed
    assert result.reason == "TLS handshake failed: wrong version number"


@tls_kind
async def test_a_certificate_is_verified_on_request(
    kind: Kind, tls: ssl.SSLContext, cafile: Path
) -> None:
    async with served(kind, kind.good, tls) as here:
        check = replace(here.check, timeout=10.0, verify=True)
        unknown = await ask(check)
        known = await ask(replace(check, cafile=str(cafile)))
        other = await ask(replace(check, cafile=str(cafile), virtualhost=b"other.example.test"))
    assert unknown.reason == "certificate not accepted: unable to get local issuer certificate"
    assert known.passed, known.reason
    assert "certificate is not valid for 'other.example.test'" in other.reason


@every_kind
async def test_closing_in_the_middle_leaks_nothing(kind: Kind) -> None:
    results = Results()
    with listening(backlog=64) as hung:
        port = hung.getsockname()[1]
        checks = [replace(kind.check, port=port, timeout=9 + n / 10) for n in range(20)]
        engine = Engine(results)
        engine.set_checks(checks)
        for check in checks:
            engine.trigger(check)
        await condition(lambda: engine.started == len(checks))
        engine.set_checks(checks[:10])  # some by removal,
        engine.close()  # some by the end; the fixture looks for leaks
        engine.close()


@talking_kind
async def test_closing_in_mid_conversation_leaks_nothing(kind: Kind, tls: ssl.SSLContext) -> None:
    async with served(kind, kind.good, tls) as here:
        async with relay(here.check.port, Cut.NEVER) as whole:
            await ask(replace(here.check, port=whole.port, timeout=10.0))
        for allowed in {0, whole.heard // 3, whole.heard // 2}:
            async with relay(here.check.port, Cut.STALL, allowed) as stalled:
                engine = Engine(Results())
                check = replace(here.check, port=stalled.port, timeout=60.0)
                engine.set_checks([check])
                engine.trigger(check)
                await condition(lambda stalled=stalled: stalled.stalls == 1)  # type: ignore[misc]
                engine.close()
