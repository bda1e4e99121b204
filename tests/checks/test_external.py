"""External checks: arguments, exit status, time limit, and which programs are run at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.checks.engine import Engine
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import SLACK, Results, ask, condition

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

Write = Callable[[str], str]
FOUR = ("192.0.2.1", "80", "[::2]", "0")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder below which a program may be trusted."""
    path = tmp_path_factory.mktemp("checks")
    path.chmod(0o700)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def program(folder: Path) -> Write:
    """Writes a shell script and gives its path."""

    def write(text: str) -> str:
        path = folder / "check"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return write


def external(*words: str, kind: CheckKind = CheckKind.EXTERNAL, timeout: float = 10.0) -> Check:
    return Check(kind, ip_address("::2"), 0, 60.0, timeout, command=(*words, *FOUR))


async def test_status_0_passes_and_the_four_arguments_follow_its_own(
    program: Write, folder: Path
) -> None:
    result = await ask(external(program(f'echo "$# $*" > {folder}/said'), "-v"))
    assert (result.passed, result.reason) == (True, "exit status 0")
    assert (folder / "said").read_text() == "5 -v 192.0.2.1 80 [::2] 0\n"


@pytest.mark.parametrize(
    ("text", "reason"), [("exit 3", "exit status 3"), ("kill -9 $$", "killed by signal 9")]
)
async def test_another_status_and_a_signal_fail(program: Write, text: str, reason: str) -> None:
    result = await ask(external(program(text)))
    assert (result.passed, result.reason) == (False, reason)


async def test_a_program_that_does_not_end_is_ended_in_time(program: Write, folder: Path) -> None:
    text = f"trap 'echo term > {folder}/said; exit' TERM\necho $$ > {folder}/pid\n"
    result = await ask(external(program(f"{text}while :; do sleep 0.05; done"), timeout=1.0))
    assert (result.passed, result.reason) == (False, "no end within 1 s")
    assert result.latency <= 1.0 + SLACK
    await condition((folder / "said").exists)


async def test_one_that_ignores_the_signal_is_killed_with_its_children(
    program: Write, folder: Path
) -> None:
    text = f"trap '' TERM\nsleep 60 & echo $$ $! > {folder}/pids\nwait; sleep 60"
    await ask(external(program(text), timeout=2.0))
    pids = (folder / "pids").read_text().split()
    await condition(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids))


async def test_closing_the_engine_ends_the_program(program: Write, folder: Path) -> None:
    engine = Engine(Results())
    check = external(
        program(f"echo $$ > {folder}/pid.new; mv {folder}/pid.new {folder}/pid; sleep 60")
    )
    engine.set_checks([check])
    engine.trigger(check)
    await condition((folder / "pid").exists)
    engine.close()
    pid = (folder / "pid").read_text().strip()
    await condition(lambda: not Path(f"/proc/{pid}/cmdline").exists())


async def test_a_program_that_others_could_write_is_not_run(program: Write) -> None:
    path = program("exit 0")
    os.chmod(path, 0o777)
    result = await ask(external(path))
    assert (result.passed, result.reason) == (
        False,
        f"can't run {path}: {path} is writable by others",
    )


async def test_a_program_that_is_not_there_fails() -> None:
    result = await ask(external("/no/such/check"))
    assert result.reason == "can't run /no/such/check: not found or not executable"


async def test_nothing_of_the_environment_is_passed_on(
    program: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    await ask(external(program(f"env > {folder}/said")))
    assert "SECRET_OF_OURS" not in (folder / "said").read_text()


@pytest.mark.parametrize(
    ("text", "passed"), [("exit 0;", True), ("1;\n# end", True), ("die;", False)]
)
async def test_external_perl_runs_a_file_that_is_no_program(
    folder: Path, text: str, passed: bool
) -> None:
    path = folder / "check.pl"
    path.write_text(f'open F, ">", "{folder}/said"; print F "@ARGV"; close F;\n{text}')
    path.chmod(0o600)
    result = await ask(external(str(path), kind=CheckKind.EXTERNAL_PERL))
    assert result.passed is passed, result.reason
    assert (folder / "said").read_text() == " ".join(FOUR)


async def test_external_perl_refuses_a_file_that_others_could_write(folder: Path) -> None:
    path = folder / "check.pl"
    path.write_text("exit 0;")
    path.chmod(0o666)
    result = await ask(replace(external(str(path)), kind=CheckKind.EXTERNAL_PERL))
    assert result.reason == f"can't run {path}: {path} is writable by others"
