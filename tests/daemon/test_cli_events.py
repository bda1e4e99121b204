"""`lvsd events` against a whole daemon: main, child and command, with nothing scripted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.family import children

PATIENCE = 20.0
ONE = "checktimeout=1\nvirtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate\n\tchecktype=on\n"
TWO = ONE + "virtual=192.0.2.2:80\n\treal=192.0.2.4:80 gate\n\tchecktype=on\n"


def lvsd(*words: object) -> list[str]:
    return [sys.executable, "-m", "lvsd", *map(str, words)]


def eventually(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.02)


class Daemon:
    """`lvsd run --table none` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "lvsd.sock"
        (folder / "lvsd.conf").write_text(ONE)
        self.start()

    def start(self) -> None:
        words = ("--runtime-dir", self.folder / "run", "--state-dir", self.folder / "state")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                lvsd("run", "-c", self.folder / "lvsd.conf", *self.at, *words, "--table", "none"),
                stderr=log,
            )
        eventually(lambda: "director_started" in self.names())

    @property
    def at(self) -> tuple[object, ...]:
        return ("--socket", self.socket)

    def command(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(lvsd(*words, *self.at), capture_output=True, text=True)

    def names(self) -> list[str]:
        said = self.command("events", "--json").stdout
        return [json.loads(line)["event"] for line in said.splitlines()]

    def child(self) -> int:
        family = children(self.process.pid).items()
        return next(pid for pid, (name, _) in family if name == "lvsd-director")

    def guard(self) -> int:
        family = children(self.process.pid).items()
        return next(pid for pid, (name, _) in family if name == "lvsd-guard")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE)


class Follower:
    """A running `lvsd events --follow`; both of its streams in files."""

    def __init__(self, daemon: Daemon, *words: str) -> None:
        self.out, self.err = daemon.folder / "followed", daemon.folder / "said"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                lvsd("events", "--follow", *words, *daemon.at), stdout=out, stderr=err
            )

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=PATIENCE)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def follower(daemon: Daemon) -> Iterator[Follower]:
    following = Follower(daemon, "--json")
    yield following
    if following.process.poll() is None:
        following.process.kill()
        following.process.wait()


def reload(daemon: Daemon, text: str) -> int:
    (daemon.folder / "lvsd.conf").write_text(text)
    return daemon.command("reload").returncode


def test_events_are_lines_with_time_name_and_words(daemon: Daemon) -> None:
    assert reload(daemon, "virtual=nonsense\n") == 1

    result = daemon.command("events")

    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert any(" config_loaded path=" in line for line in lines)
    refused = next(line for line in lines if " config_refused: " in line)
    assert "lvsd.conf:1:" in refused
    assert refused[:4].isdigit()


def test_a_follower_sees_reloads_and_drains_as_they_come(
    daemon: Daemon, follower: Follower
) -> None:
    assert reload(daemon, TWO) == 0
    assert daemon.command("drain", "192.0.2.4", "--virtual", "192.0.2.2:80").returncode == 0

    eventually(lambda: "real_drained" in [event["event"] for event in follower.events()])
    numbers = [event["seq"] for event in follower.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    loaded = [e["fields"]["changes"] for e in follower.events() if e["event"] == "config_loaded"]
    assert len(loaded) == 2
    assert loaded[1]
    assert follower.interrupt() == 0
    assert follower.err.read_text() == ""


def test_a_follower_comes_back_after_a_restart_of_the_child(
    daemon: Daemon, follower: Follower
) -> None:
    eventually(follower.events)

    os.kill(daemon.child(), signal.SIGKILL)

    def numbered_anew() -> bool:
        started = [e["seq"] for e in follower.events() if e["event"] == "director_started"]
        return len(started) == 2 and [e["seq"] for e in follower.events()].count(1) == 2

    eventually(numbered_anew)
    said = follower.err.read_text()
    assert "waiting for lvsd" in said
    assert "numbered from 1 again" in said
    assert follower.interrupt() == 0


def test_the_deaths_of_child_and_guard_are_told_with_their_time_and_reason(daemon: Daemon) -> None:
    assert {"started", "child_started"} <= set(daemon.names())
    logfile = daemon.folder / "lvsd.log"
    assert reload(daemon, f"logfile={logfile}\n" + ONE) == 0

    before = time.time()
    os.kill(daemon.child(), signal.SIGKILL)
    eventually(lambda: "child_returned" in daemon.names())
    os.kill(daemon.guard(), signal.SIGKILL)
    eventually(lambda: "guard_replaced" in daemon.names())

    lines = daemon.command("events", "--json").stdout.splitlines()
    told = {event["event"]: event for event in map(json.loads, lines)}
    assert told["child_lost"]["reason"] == "closed its end"
    assert before <= told["child_lost"]["at"] <= told["child_returned"]["at"]
    assert told["child_returned"]["at"] <= told["guard_lost"]["at"] <= time.time()
    written = logfile.read_text()
    for name in ("child_lost", "child_returned", "guard_lost", "guard_replaced"):
        assert written.count(f" {name} ") == 1


def test_a_follower_waits_for_a_daemon_that_is_started_again(
    daemon: Daemon, follower: Follower
) -> None:
    eventually(follower.events)

    begun = time.monotonic()
    daemon.stop()
    assert time.monotonic() - begun < 5.0  # a follower does not hold up the stop
    eventually(lambda: "waiting for lvsd" in follower.err.read_text())
    assert [e["event"] for e in follower.events()][-1] == "director_stopped"
    daemon.start()

    eventually(lambda: [e["event"] for e in follower.events()].count("director_started") == 2)
    assert follower.err.read_text().count("waiting for lvsd") == 1


def test_without_a_daemon_both_forms_say_so(tmp_path: Path) -> None:
    for words in ((), ("--follow",)):
        result = subprocess.run(
            lvsd("events", *words, "--socket", tmp_path / "none"), capture_output=True, text=True
        )
        assert result.returncode == 1
        assert "lvsd is not running" in result.stderr
