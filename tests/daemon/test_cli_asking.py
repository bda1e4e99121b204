"""The commands that ask the daemon, against a real control socket with a scripted desk."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from lvsd.cli import main
from lvsd.control import server
from lvsd.control.history import History
from lvsd.control.status import (
    ConfigStatus,
    PlanResult,
    RealStatus,
    ReloadResult,
    Status,
    VirtualStatus,
)


class ScriptedDesk:
    """Answers from attributes; a drained real loses one connection per status."""

    history: History

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.active = 0
        self.reloaded = ReloadResult(ok=True)
        self.planned = PlanResult(steps=[], source="health from the running daemon")
        self.stepdown_error = ""

    async def status(self) -> Status:
        self.asked.append(("status",))
        self.active, active = max(self.active - 1, 0), self.active
        real = RealStatus(
            real="192.0.2.4:80",
            forwarding="gate",
            weight=1,
            effective_weight=0,
            health="up",
            admin="drain",
            reason="",
            since=1.0,
            active=active,
        )
        virtual = VirtualStatus(
            virtual="192.0.2.1:80",
            protocol="tcp",
            scheduler="rr",
            up=True,
            fallback=None,
            reals=[real],
        )
        config = ConfigStatus(path="/etc/lvsd/lvsd.conf")
        return Status(
            version="0.1.0", pid=1, since=1.0, host="dir1", config=config, virtuals=[virtual]
        )

    async def drain(self, real: str, virtual: str | None, deadline: float | None) -> list[str]:
        self.asked.append(("drain", real, virtual, deadline))
        if real != "192.0.2.4":
            raise LookupError(f"no real server {real}")
        return ["192.0.2.1:80 192.0.2.4:80"]

    async def undrain(self, real: str, virtual: str | None) -> list[str]:
        self.asked.append(("undrain", real, virtual))
        return ["192.0.2.1:80 192.0.2.4:80"]

    async def reload(self) -> ReloadResult:
        return self.reloaded

    async def plan(self) -> PlanResult:
        return self.planned

    async def stepdown(self, name: str, undo: bool) -> str:
        self.asked.append(("stepdown", name, undo))
        return self.stepdown_error

    def operators(self) -> Collection[str]:
        return ()


class Daemon:
    """A control server in a thread of its own, so that commands can block as they do."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.desk = ScriptedDesk()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Daemon:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(self.path)
            listening.listen()
            self.desk.history = History("1-1")
            running = await server.serve(listening, self.desk)
            self._ready.set()
            await self._stop.wait()
            await running.close()

    def command(self, *args: str) -> int:
        return main([*args, "--socket", self.path])


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "lvsd.sock") as running:
        yield running


def test_status_prints_the_table(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.command("status") == 0

    out = capsys.readouterr().out
    assert "TCP  192.0.2.1:80 rr\n" in out
    assert "  -> 192.0.2.4:80                 Route   0      0          0           draining" in out


def test_status_json_is_the_document(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.command("status", "--json") == 0

    assert json.loads(capsys.readouterr().out)["virtuals"][0]["virtual"] == "192.0.2.1:80"


def test_drain_says_what_it_touched(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.command("drain", "192.0.2.4", "--deadline", "5m", "--virtual", "v") == 0

    assert capsys.readouterr().out == "draining 192.0.2.1:80 192.0.2.4:80\n"
    assert daemon.desk.asked == [("drain", "192.0.2.4", "v", 300.0)]


def test_drain_of_an_unknown_real_fails(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.command("drain", "192.0.2.9") == 1

    assert capsys.readouterr().err == "lvsd: no real server 192.0.2.9\n"


def test_drain_waits_until_the_last_connection_ended(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvsd.cli.asking.WATCH_INTERVAL", 0.0)
    daemon.desk.active = 2

    assert daemon.command("drain", "192.0.2.4", "--wait") == 0

    assert capsys.readouterr().out.splitlines() == [
        "draining 192.0.2.1:80 192.0.2.4:80",
        "2 active connections",
        "1 active connection",
        "no active connections",
    ]


def test_undrain_says_what_it_touched(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.command("undrain", "192.0.2.4") == 0

    assert capsys.readouterr().out == "back in service: 192.0.2.1:80 192.0.2.4:80\n"


def test_reload_tells_changes(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.command("reload") == 0
    assert capsys.readouterr().out == "nothing changed\n"

    daemon.desk.reloaded = ReloadResult(ok=True, changes=["added 192.0.2.1:81"])

    assert daemon.command("reload") == 0
    assert capsys.readouterr().out == "added 192.0.2.1:81\n"


def test_a_refused_reload_is_exit_1_with_every_error(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.desk.reloaded = ReloadResult(ok=False, errors=["f:1:1: error: a", "f:2:1: error: b"])

    assert daemon.command("reload") == 1

    err = capsys.readouterr().err
    assert "f:1:1: error: a\nf:2:1: error: b\n" in err
    assert "reload refused" in err


def test_stepdown_without_a_peer_is_exit_1(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert daemon.command("stepdown", "VI_1") == 0
    assert capsys.readouterr().out == "VI_1 gave up mastership\n"

    daemon.desk.stepdown_error = "nobody took over"

    assert daemon.command("stepdown") == 1
    assert capsys.readouterr().err == "lvsd: nobody took over\n"
    assert daemon.command("stepdown", "--undo") == 1
    assert daemon.desk.asked[-1] == ("stepdown", "", True)


def test_plan_asks_the_running_daemon(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon.command("plan") == 0
    assert capsys.readouterr().out == "Nothing to do (health from the running daemon).\n"

    daemon.desk.planned = PlanResult(steps=["ipvsadm -D -t 192.0.2.1:80"], source="s")

    assert daemon.command("plan") == 3
    assert daemon.command("plan", "--json") == 3
    out = capsys.readouterr().out
    assert "1 step (s):\n  ipvsadm -D -t 192.0.2.1:80\n" in out
    assert json.loads(out[out.index("{") :])["steps"] == ["ipvsadm -D -t 192.0.2.1:80"]


def test_a_plan_of_a_bad_file_is_exit_1(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.desk.planned = PlanResult(steps=[], source="s", errors=["f:1:1: error: a"])

    assert daemon.command("plan") == 1

    assert capsys.readouterr().err == "f:1:1: error: a\n"


def test_watch_repeats_until_interrupted(daemon: Daemon) -> None:
    argv = [sys.executable, "-m", "lvsd", "status", "--watch", "--json", "--socket", daemon.path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        lines = [watching.stdout.readline() for _ in range(2)]
        watching.send_signal(signal.SIGINT)

        assert watching.wait(10) == 0
        assert watching.stderr.read() == b""
    assert [json.loads(line)["host"] for line in lines] == ["dir1", "dir1"]


def test_a_closed_pipe_is_no_traceback(daemon: Daemon) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "lvsd", "status", "--socket", daemon.path]

    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, check=False)

    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 141


def test_any_locale_prints(daemon: Daemon) -> None:
    daemon.desk.reloaded = ReloadResult(ok=True, changes=["added “Größe”"])
    argv = [sys.executable, "-m", "lvsd", "reload", "--socket", daemon.path]
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PATH": os.environ["PATH"]}

    done = subprocess.run(argv, env=env, capture_output=True, check=False)

    assert done.stderr == b""
    assert done.stdout == rb"added \u201cGr\xf6\xdfe\u201d" + b"\n"
