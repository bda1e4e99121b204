"""Databases that are asked by a process of their own: their promises on servers that are none."""

from __future__ import annotations

import contextlib
import importlib.util
import ssl
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType

import pytest

from lvsd.checks import oracle_query, pgsql_query, question
from lvsd.checks.engine import Engine
from lvsd.checks.oracle_query import failure
from lvsd.checks.probe import LocalFault
from lvsd.checks.sql_process import _verdict
from lvsd.core.model import Check, CheckKind
from tests.checks import scripts
from tests.checks.kinds import (
    SLACK,
    Kind,
    Results,
    ask,
    condition,
    free_port,
    listening,
    pouring,
    resetting,
    server,
    silent,
)
from tests.checks.scripts import Script

pytestmark = pytest.mark.usefixtures("no_leaks")

#: The process that asks takes its time to start.
ORACLE = Check(
    CheckKind.ORACLE,
    *(ip_address("127.0.0.1"), 0, 60.0, 15.0, b"select 1 from dual"),
    login=b"joe",
    passwd=b"secret",
    database=b"ORCL",
)
KIND = Kind(CheckKind.ORACLE, silent, ORACLE)

both = pytest.mark.parametrize(
    "check", [ORACLE, replace(ORACLE, kind=CheckKind.PGSQL)], ids=["oracle", "pgsql"]
)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_good_server_passes(host: str) -> None:
    check = replace(ORACLE, kind=CheckKind.PGSQL, address=ip_address(host))
    async with server(scripts.pgsql, host=host) as port:
        result = await ask(replace(check, port=port))
    assert result.passed, result.reason


async def test_a_pgsql_server_is_asked_inside_tls_on_request(cafile: Path) -> None:
    check = replace(ORACLE, kind=CheckKind.PGSQL, starttls=True)
    async with server(scripts.pgsql_tls) as port:
        check = replace(check, port=port)
        plain = await ask(check)
        unknown = await ask(replace(check, verify=True))
        trusting = replace(check, verify=True, cafile=str(cafile))
        known = await ask(trusting)
        named = await ask(replace(trusting, virtualhost=b"www.example.test"))
        other = await ask(replace(trusting, virtualhost=b"other.example.test"))
    assert plain.passed, plain.reason
    assert unknown.reason == "certificate not accepted: unable to get local issuer certificate"
    assert known.passed, known.reason
    assert named.passed, named.reason
    assert "certificate is not valid for 'other.example.test'" in other.reason


async def test_a_pgsql_server_without_tls_fails_where_it_is_asked_for() -> None:
    check = replace(ORACLE, kind=CheckKind.PGSQL, starttls=True)
    async with server(scripts.pgsql) as port:
        result = await ask(replace(check, port=port))
    assert (result.passed, result.reason) == (False, "the server offers no TLS")


async def test_an_oracle_certificate_is_verified_on_request(
    cafile: Path, tls: ssl.SSLContext
) -> None:
    async with server(pouring(KIND, b""), tls=tls) as port:
        check = replace(ORACLE, port=port, starttls=True, verify=True)
        unknown = await ask(check)
        trusting = replace(check, cafile=str(cafile))
        other = await ask(replace(trusting, virtualhost=b"other.example.test"))
        ended = [
            await ask(one) for one in (trusting, replace(trusting, virtualhost=b"www.example.test"))
        ]
        ended.append(await ask(replace(check, verify=False)))
    assert unknown.reason == "certificate not accepted: unable to get local issuer certificate"
    assert "certificate is not valid for 'other.example.test'" in other.reason
    assert [one.reason for one in ended] == ["connection closed early"] * 3  # all but its question


@both
async def test_a_missing_cafile_is_our_fault(check: Check, tmp_path: Path) -> None:
    gone = replace(check, starttls=True, verify=True, cafile=str(tmp_path / "gone.pem"))
    assert isinstance(question(gone), LocalFault)


@pytest.mark.parametrize("program", [oracle_query, pgsql_query], ids=["oracle", "pgsql"])
def test_a_cafile_that_vanished_condemns_nobody(program: ModuleType) -> None:
    said = program.answer({"tls": {"verify": True, "cafile": "/no/such", "name": "x"}})
    assert said.startswith("local cafile cannot be used: ")
    with pytest.raises(LocalFault, match="cafile cannot be used"):
        _verdict(said.encode())


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_closed_port_is_refused(check: Check, host: str) -> None:
    result = await ask(replace(check, address=ip_address(host), port=free_port(host)))
    assert (result.passed, result.reason) == (False, "refused")


@both
@pytest.mark.parametrize(
    ("script", "reason"),
    [(resetting, "reset by peer"), (pouring(KIND, b""), "connection closed early")],
    ids=["reset", "close"],
)
async def test_an_end_is_told(check: Check, script: Script, reason: str) -> None:
    async with server(script) as port:
        result = await ask(replace(check, port=port))
    assert (result.passed, result.reason) == (False, reason)


@both
@pytest.mark.parametrize("noise", [b"\0", b"\xff\xfe" * 99, b"SSH-2.0-here\r\n", b"H\n" * 9999])
async def test_garbage_fails(check: Check, noise: bytes) -> None:
    async with server(pouring(KIND, noise)) as port:
        result = await ask(replace(check, port=port, timeout=3.0))
    assert not result.passed
    assert result.reason.isprintable()


@both
async def test_an_answer_that_makes_no_sense_ends_in_time(check: Check) -> None:
    async with server(pouring(KIND, b"\0\0\0", b"x", 0.02)) as port:
        result = await ask(replace(check, port=port, timeout=2.0))
    assert not result.passed
    assert result.latency <= 2.0 + SLACK


@both
async def test_closing_in_the_middle_ends_the_process(check: Check) -> None:
    def asking() -> list[str]:
        found = []
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # a thread or a process ended meanwhile
                for pid in (task / "children").read_text().split():
                    if b"_query.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(pid)
        return found

    with listening() as hung:
        check = replace(check, port=hung.getsockname()[1])
        engine = Engine(Results())
        engine.set_checks([check])
        engine.trigger(check)
        await condition(lambda: len(asking()) == 1)
        engine.close()
        await condition(lambda: not asking())


def test_a_refusal_is_told_in_the_librarys_words() -> None:
    assert failure(RuntimeError("ORA-01017: invalid credential (x)")) == (
        "failed ORA-01017: invalid credential"
    )


@both
def test_without_its_library_it_is_not_asked(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    fault = question(check)
    assert isinstance(fault, LocalFault)
    assert str(fault) == (f"service={check.kind} needs a library: pip install 'lvsd[{check.kind}]'")
