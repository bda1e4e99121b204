"""TLS that is asked for on a connection in the clear: what every such check type promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.checks.engine import Result
from lvsd.core.model import CheckKind
from tests.checks import scripts
from tests.checks.kinds import SLACK, UPGRADED, Kind, ask, server
from tests.checks.relay import Cut, relay
from tests.checks.scripts import Script

pytestmark = pytest.mark.usefixtures("no_leaks")

upgraded_kind = pytest.mark.parametrize("kind", UPGRADED, ids=str)

#: What a server says to the wish for TLS, by what comes before.
AGREED = {
    CheckKind.FTP: (b"220 ftp\r\n", b"234 go\r\n"),
    CheckKind.SMTP: (b"220 smtp\r\n", b"250 hello\r\n", b"220 go\r\n"),
    CheckKind.POP: (b"+OK\r\n", b"+OK go\r\n"),
    CheckKind.IMAP: (b"* OK\r\n", b"a0 OK go\r\n"),
    CheckKind.NNTP: (b"200 nntp\r\n", b"382 go\r\n"),
    CheckKind.LDAP: (b"", scripts.ldap_result(3, 0x78)),
}
REFUSED = {
    CheckKind.FTP: (b"500 what", "AUTH TLS refused: 500 what"),
    CheckKind.SMTP: (b"502 what", "STARTTLS refused: 502 what"),
    CheckKind.POP: (b"-ERR what", "STLS refused: -ERR what"),
    CheckKind.IMAP: (b"a0 BAD what", "STARTTLS refused: BAD what"),
    CheckKind.NNTP: (b"500 what", "STARTTLS refused: 500 what"),
    CheckKind.LDAP: (scripts.ldap_result(3, 0x78, 2), "StartTLS refused: protocolError"),
}
agreeing_kind = pytest.mark.parametrize("kind", [k for k in UPGRADED if k.kind in AGREED], ids=str)


def saying(kind: CheckKind, last: bytes, *, stays: bool = False) -> Script:
    """A server that says `last` in the place of its agreement, and closes or stays silent."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting, *answers = AGREED[kind][:-1]
        writer.write(greeting)
        for answer in (*answers, last):
            await reader.read(4096)
            writer.write(answer)
            await writer.drain()
        while stays and await reader.read(4096):
            pass

    return script


async def asked(kind: Kind, script: Script, **words: object) -> Result:
    async with server(script) as port:
        return await ask(replace(kind.check, port=port, **words))  # type: ignore[arg-type]


@upgraded_kind
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_good_server_passes(kind: Kind, host: str) -> None:
    async with server(kind.good, host=host) as port:
        address = ip_address(host)
        result = await ask(replace(kind.check, address=address, port=port, timeout=10.0))
    assert result.passed, result.reason


@upgraded_kind
async def test_a_certificate_is_verified_on_request(kind: Kind, cafile: Path) -> None:
    async with server(kind.good) as port:
        check = replace(kind.check, port=port, timeout=10.0, verify=True)
        unknown = await ask(check)
        trusting = replace(check, cafile=str(cafile))
        known = await ask(trusting)
        named = await ask(replace(trusting, virtualhost=b"www.example.test"))
        other = await ask(replace(trusting, virtualhost=b"other.example.test"))
    assert unknown.reason == "certificate not accepted: unable to get local issuer certificate"
    assert known.passed, known.reason
    assert named.passed, named.reason
    assert "certificate is not valid for 'other.example.test'" in other.reason


@agreeing_kind
async def test_a_refusal_is_told(kind: Kind) -> None:
    answer, reason = REFUSED[kind.kind]
    end = b"" if kind.kind is CheckKind.LDAP else b"\r\n"
    result = await asked(kind, saying(kind.kind, answer + end), timeout=10.0)
    assert (result.passed, result.reason) == (False, reason)


@agreeing_kind
async def test_what_comes_ahead_of_tls_does_not_count(kind: Kind) -> None:
    agreed = AGREED[kind.kind][-1]
    result = await asked(kind, saying(kind.kind, agreed + agreed), timeout=10.0)
    assert not result.passed
    assert "ahead of TLS" in result.reason


@agreeing_kind
async def test_a_handshake_that_does_not_come_fails_in_time(kind: Kind) -> None:
    result = await asked(kind, saying(kind.kind, AGREED[kind.kind][-1], stays=True), timeout=0.5)
    assert not result.passed
    assert "within 0.5 s" in result.reason
    assert result.latency <= 0.5 + SLACK


@agreeing_kind
async def test_a_server_that_closes_in_the_handshake_fails(kind: Kind) -> None:
    result = await asked(kind, saying(kind.kind, AGREED[kind.kind][-1]), timeout=10.0)
    assert not result.passed
    assert result.reason
    assert "within" not in result.reason


async def test_a_mysql_server_without_tls_is_told_no_password() -> None:
    heard = bytearray()

    async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.StreamReader()
        task = asyncio.ensure_future(scripts.mysql(talk, writer))
        while data := await reader.read(4096):
            heard.extend(data)
        task.cancel()

    (kind,) = (kind for kind in UPGRADED if kind.kind is CheckKind.MYSQL)
    result = await asked(kind, listening, timeout=10.0)
    assert (result.passed, result.reason) == (False, "the server offers no TLS")
    assert not heard


@upgraded_kind
@pytest.mark.parametrize("cut", [Cut.STALL, Cut.CLOSE, Cut.RESET])
async def test_a_conversation_cut_anywhere_ends_in_time(kind: Kind, cut: Cut) -> None:
    async with server(kind.good) as port:
        async with relay(port, Cut.NEVER) as whole:
            assert (await ask(replace(kind.check, port=whole.port, timeout=10.0))).passed
        for allowed in {1, whole.heard // 3, whole.heard // 2, whole.heard * 4 // 5}:
            async with relay(port, cut, allowed) as there:
                result = await ask(replace(kind.check, port=there.port, timeout=0.5))
            assert result.latency <= 0.5 + SLACK
            assert result.reason
            assert not (result.passed and allowed == 1), result.reason
