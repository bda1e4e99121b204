"""The oracle check keeps its promises on servers that are none; there is no good one to be had."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.checks import question
from lvsd.checks.engine import Engine
from lvsd.checks.oracle_query import failure
from lvsd.checks.probe import LocalFault
from lvsd.core.model import Check, CheckKind
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
CHECK = Check(
    CheckKind.ORACLE,
    *(ip_address("127.0.0.1"), 0, 60.0, 15.0, b"select 1 from dual"),
    login=b"joe",
    passwd=b"secret",
    database=b"ORCL",
)
KIND = Kind(CheckKind.ORACLE, silent, CHECK)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_closed_port_is_refused(host: str) -> None:
    result = await ask(replace(CHECK, address=ip_address(host), port=free_port(host)))
    assert (result.passed, result.reason) == (False, "refused")


@pytest.mark.parametrize(
    ("script", "reason"),
    [(resetting, "reset by peer"), (pouring(KIND, b""), "connection closed early")],
    ids=["reset", "close"],
)
async def test_an_end_is_told(script: Script, reason: str) -> None:
    async with server(script) as port:
        result = await ask(replace(CHECK, port=port))
    assert (result.passed, result.reason) == (False, reason)


@pytest.mark.parametrize("noise", [b"\0", b"\xff\xfe" * 99, b"SSH-2.0-here\r\n", b"H\n" * 9999])
async def test_garbage_fails(noise: bytes) -> None:
    async with server(pouring(KIND, noise)) as port:
        result = await ask(replace(CHECK, port=port, timeout=3.0))
    assert not result.passed
    assert result.reason.isprintable()


async def test_an_answer_that_loops_the_library_ends_in_time() -> None:
    async with server(pouring(KIND, b"\0\0\0", b"x", 0.02)) as port:
        result = await ask(replace(CHECK, port=port, timeout=2.0))
    assert (result.passed, result.reason) == (False, "no answer within 2 s")
    assert result.latency <= 2.0 + SLACK


async def test_closing_in_the_middle_ends_the_process() -> None:
    def asking() -> list[str]:
        found = []
        for task in Path("/proc/self/task").iterdir():
            for pid in (task / "children").read_text().split():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    if b"oracle_query" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(pid)
        return found

    with listening() as hung:
        check = replace(CHECK, port=hung.getsockname()[1])
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


def test_without_its_library_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    fault = question(CHECK)
    assert isinstance(fault, LocalFault)
    assert str(fault) == "service=oracle needs a library: pip install 'lvsd[oracle]'"
