"""`lvsd ldirectord FILE VERB` with real daemons (table in memory): verbs, exit codes, places."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lvsd.cli import ldirectord, main
from lvsd.cli.ldirectord import Instance, Places
from lvsd.control import client

GOOD = "virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate\n\tchecktype=on\n\tscheduler=rr\n"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "run"), str(tmp_path / "state"), "none")


@pytest.fixture
def instance(tmp_path: Path, places: Places) -> Iterator[Instance]:
    """The daemon of web.cf, gone at the end."""
    (tmp_path / "run").mkdir()
    (tmp_path / "web.cf").write_text(GOOD)
    found = Instance(str(tmp_path / "web.cf"), places)
    yield found
    if pid := found.pid():
        os.kill(pid, signal.SIGKILL)


def _commands() -> Iterator[list[str]]:
    """The words of every process there is."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield entry.read_bytes().decode("utf-8", "replace").split("\0")


def call(instance: Instance, *words: str) -> int:
    return ldirectord.run([*words[:-1], instance.file, words[-1]], instance.places)


def test_the_life_of_a_daemon_has_ldirectords_exit_codes(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(instance, "status") == 3
    assert f"ldirectord is stopped for {instance.file}" in capsys.readouterr().out
    assert [call(instance, verb) for verb in ("stop", "try-restart", "reload")] == [0, 0, 1]

    assert call(instance, "start") == 0
    first = instance.pid()
    assert Path(instance.pidfile).read_text() == f"{first}\n"
    assert client.request(instance.socket, "GET", "/v1/status")[0] == 200

    assert call(instance, "status") == 0
    assert f"is running with pid: {first}" in capsys.readouterr().err
    assert call(instance, "start") == 0
    assert instance.pid() == first, "a second start does nothing"

    assert call(instance, "try-restart") == 0
    second = instance.pid()
    assert second not in (None, first)

    assert call(instance, "stop") == 0
    assert instance.pid() is None
    assert not os.path.exists(instance.pidfile)


def test_reload_makes_a_changed_file_count(instance: Instance) -> None:
    assert call(instance, "start") == 0
    Path(instance.file).write_text(GOOD + "\tcomment=x\n\treal=192.0.2.5:80 gate\n")

    assert call(instance, "force-reload") == 0

    def reals() -> int:
        _, status = client.request(instance.socket, "GET", "/v1/status")
        return len(status["virtuals"][0]["reals"])

    assert ldirectord._until(lambda: reals() == 2)


def test_a_killed_daemon_leaves_a_stale_pid_file(instance: Instance) -> None:
    assert call(instance, "start") == 0
    pid = instance.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert ldirectord._until(lambda: instance.pid() is None)

    assert call(instance, "status") == 1
    assert call(instance, "stop") == 0
    assert call(instance, "status") == 3


def test_a_broken_file_starts_nothing_and_hinders_neither_stop_nor_status(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(instance, "start") == 0
    running = instance.pid()
    Path(instance.file).write_text("virtual=192.0.2.1:99999\n")

    assert [call(instance, verb) for verb in ("configtest", "start", "restart")] == [2, 2, 2]
    assert f"{instance.file}:1:" in capsys.readouterr().err
    assert instance.pid() == running
    assert call(instance, "status") == 0
    assert call(instance, "stop") == 0
    assert instance.pid() is None


def test_a_missing_file_is_exit_status_1(
    tmp_path: Path, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ldirectord.run([str(tmp_path / "no.cf"), "start"], places) == 1
    assert f"Config file {tmp_path / 'no.cf'} not found" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["web.cf"], ["web.cf", "begin"], ["-x", "web.cf", "start"]])
def test_misuse_shows_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ldirectord.run(words) == 255
    assert capsys.readouterr().err.startswith("usage: ")


def test_a_daemon_that_cannot_start_is_told(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(instance.folder).write_text("in the way")
    assert call(instance, "start") == 1
    assert f"{instance.folder}: File exists" in capsys.readouterr().err
    os.unlink(instance.folder)
    os.makedirs(os.path.join(instance.folder, "lvsd.sock", "x"))

    assert call(instance, "start") == 1
    assert "did not start" in capsys.readouterr().err
    assert not os.path.exists(instance.pidfile)


def test_two_starts_at_once_make_one_daemon_that_can_be_stopped(instance: Instance) -> None:
    with ThreadPoolExecutor() as calls:
        assert [*calls.map(lambda _: call(instance, "start"), range(2))] == [0, 0]

    pid = instance.pid()
    assert pid is not None
    assert Path(instance.pidfile).read_text() == f"{pid}\n"
    assert call(instance, "stop") == 0
    assert not any(instance.socket in words for words in _commands())


def test_who_may_not_is_told_so(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(pid: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    assert call(instance, "start") == 0
    with monkeypatch.context() as patched:
        patched.setattr(ldirectord.os, "kill", denied)
        assert [call(instance, verb) for verb in ("stop", "reload", "restart")] == [1, 1, 1]
    assert "Operation not permitted" in capsys.readouterr().err
    assert call(instance, "stop") == 0


def test_a_log_that_cannot_be_written_leaves_nothing_behind(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    os.makedirs(os.path.join(instance.folder, "log"))

    assert call(instance, "start") == 1
    assert f"{instance.folder}/log: Is a directory" in capsys.readouterr().err
    assert call(instance, "status") == 3


def test_files_are_looked_for_where_ldirectord_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = tmp_path / "ha.d", tmp_path / "ha.d" / "conf"
    monkeypatch.setattr(ldirectord, "FOLDERS", tuple(map(str, folders)))
    monkeypatch.chdir(tmp_path)
    folders[1].mkdir(parents=True)
    (tmp_path / "web.cf").write_text("broken")
    (folders[1] / "web.cf").write_text(GOOD)

    assert main(["ldirectord", "web.cf", "configtest"]) == 0

    (folders[0] / "web.cf").write_text("broken too")
    assert main(["ldirectord", "web.cf", "configtest"]) == 2
    assert str(folders[0] / "web.cf") in capsys.readouterr().err


def test_a_link_named_ldirectord_speaks_its_language(tmp_path: Path) -> None:
    program = tmp_path / "ldirectord"
    program.symlink_to(Path(sys.executable).with_name("lvsd"))

    answer = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)

    assert answer.stdout.startswith("lvsd ")


@pytest.mark.parametrize("named", ["", 'logfile="{0}"\n', 'logfile="{0}.other"\n'])
def test_every_event_is_logged_once(instance: Instance, named: str) -> None:
    default = ldirectord._logfile(instance)
    Path(instance.file).write_text(named.format(default) + GOOD)
    assert [call(instance, verb) for verb in ("start", "stop")] == [0, 0]

    events = r" (child_started|started|ready|config_loaded|table_cleared|stopping|stopped)\b"
    text = "".join(path.read_text() for path in Path(instance.folder).glob("log*"))
    found = re.findall(events, text)
    assert sorted(found) == sorted(set(found))
    assert len(found) == 7
    if "other" in named:
        assert "ready" not in Path(default).read_text()
