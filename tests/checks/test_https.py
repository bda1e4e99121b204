"""TLS: nothing is verified by default, everything with verify=yes."""

from __future__ import annotations

import ssl
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.checks import question
from lvsd.checks.engine import Engine
from lvsd.checks.probe import LocalFault
from lvsd.checks.tls import server_name
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import Results, ask, server
from tests.checks.scripts import answering, reply

pytestmark = pytest.mark.usefixtures("no_leaks")

CHECK = Check(CheckKind.HTTPS, ip_address("127.0.0.1"), 0, 60.0, 2.0, b"/", b"fake")


async def test_an_unknown_authority_is_accepted_by_default(tls: ssl.SSLContext) -> None:
    async with server(answering(reply()), tls=tls) as port:
        assert (await ask(replace(CHECK, port=port))).passed


async def test_verify_refuses_an_unknown_authority(tls: ssl.SSLContext) -> None:
    async with server(answering(reply()), tls=tls) as port:
        result = await ask(replace(CHECK, port=port, verify=True))
    assert not result.passed
    assert result.reason == "certificate not accepted: unable to get local issuer certificate"


@pytest.mark.parametrize("virtualhost", [b"", b"www.example.test", b"www.example.test:443"])
async def test_verify_accepts_the_authority_of_cafile(
    virtualhost: bytes, tls: ssl.SSLContext, cafile: Path
) -> None:
    check = replace(CHECK, verify=True, cafile=str(cafile), virtualhost=virtualhost)
    async with server(answering(reply()), tls=tls) as port:
        result = await ask(replace(check, port=port))
    assert result.passed, result.reason


async def test_verify_refuses_a_certificate_for_another_name(
    tls: ssl.SSLContext, cafile: Path
) -> None:
    check = replace(CHECK, verify=True, cafile=str(cafile), virtualhost=b"other.example.test")
    async with server(answering(reply()), tls=tls) as port:
        result = await ask(replace(check, port=port))
    assert not result.passed
    assert "certificate is not valid for 'other.example.test'" in result.reason


async def test_the_virtualhost_is_sent_as_sni(tls: ssl.SSLContext) -> None:
    seen: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: seen.append(name)
    try:
        async with server(answering(reply()), tls=tls) as port:
            await ask(replace(CHECK, port=port, virtualhost=b"www.example.test:8443"))
            await ask(replace(CHECK, port=port))
    finally:
        tls.sni_callback = None
    assert seen == ["www.example.test", None]


@pytest.mark.parametrize(
    ("virtualhost", "name"),
    [
        (b"www.example.com", "www.example.com"),
        (b"www.example.com:8443", "www.example.com"),
        (b"www.example.com.", "www.example.com"),
        (b"my_host", "my_host"),
        (b"", None),
        (b".example.com", None),
        (b"two words", None),
        (b"[2001:db8::1]", None),
        (b"caf\xe9.example", None),
        (b"a" * 64, None),
    ],
)
def test_server_names(virtualhost: bytes, name: str | None) -> None:
    assert server_name(virtualhost) == name


async def test_a_missing_cafile_is_our_fault_and_condemns_nobody(tmp_path: Path) -> None:
    check = replace(CHECK, verify=True, cafile=str(tmp_path / "gone.pem"), interval=0.01)
    assert isinstance(question(check), LocalFault)
    results = Results()
    engine = Engine(results)
    engine.set_checks([check])
    try:
        with pytest.raises(TimeoutError):
            await results.until(1, 0.2)
        assert engine.local_errors > 1
        assert engine.local_reason.endswith("gone.pem cannot be used: No such file or directory")
    finally:
        engine.close()
