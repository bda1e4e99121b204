"""The check of oracle on the path where it passes, and its refusals, by a stand-in of its library.

Everything of ours runs: the check, its process, and the verdict.
"""

from __future__ import annotations

import inspect
import runpy
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import oracledb
import pytest

from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import ask

pytestmark = pytest.mark.usefixtures("no_leaks")

STANDIN = Path(__file__).parent / "standin"
CHECK = Check(
    CheckKind.ORACLE,
    *(ip_address("127.0.0.1"), 1521, 60.0, 30.0, b"select dummy from dual"),
    login=b"joe",
    passwd=b"secret",
    database=b"ORCL",
)


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stand-in comes before the library in the processes of checks."""
    python = tmp_path / "python"
    shift = "shift  # -I, which knows no other paths than the installed ones"
    python.write_text(f'#!/bin/sh\n{shift}\nPYTHONPATH={STANDIN} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


@pytest.mark.parametrize(
    "request_", [b"select dummy from dual", b"update dual set dummy = 'Y'"], ids=["row", "changed"]
)
async def test_a_statement_that_gives_or_changes_a_row_passes(request_: bytes) -> None:
    result = await ask(replace(CHECK, request=request_))
    assert (result.passed, result.reason) == (True, "row found")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"request": b"select dummy from dual where 1 = 2"}, "no row"),
        ({"request": b"delete from dual where 1 = 2"}, "no row"),
        ({"request": b"select x from dual"}, "no such column: x"),
        ({"passwd": b"no"}, "ORA-01017: invalid credential; logon denied"),
        ({"database": b"NONE"}, "ORA-12505: SID NONE is not registered"),
    ],
    ids=["no-row", "none-changed", "statement", "password", "sid"],
)
async def test_what_does_not_pass_is_told_in_one_line(words: dict[str, bytes], reason: str) -> None:
    result = await ask(replace(CHECK, **words))  # type: ignore[arg-type]
    assert (result.passed, result.reason) == (False, reason)


async def test_a_certificate_to_be_verified_changes_nothing_of_the_question(cafile: Path) -> None:
    result = await ask(replace(CHECK, starttls=True, verify=True, cafile=str(cafile)))
    assert (result.passed, result.reason) == (True, "row found")


def test_the_stand_in_takes_no_word_that_the_library_does_not_know() -> None:
    standin = runpy.run_path(str(STANDIN / "oracledb.py"))
    asked = {name for name in inspect.signature(standin["connect"]).parameters if name != "tls"}
    known = set(inspect.signature(oracledb.connect).parameters)
    assert asked <= known
    assert {"protocol", "ssl_context", "ssl_server_dn_match"} <= known
    assert issubclass(oracledb.DatabaseError, oracledb.Error)
