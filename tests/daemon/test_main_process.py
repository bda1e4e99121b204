"""The main process around its routers: its place on the machine, its child, its signals."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.family import children
from tests.netns.network import HERE, ROOT, eventually


class Daemon:
    """A main process with a scripted child and no routers."""

    #: A program that becomes another one, in front of the command line.
    through = ()

    def __init__(self, folder, **document):
        self.folder = folder
        self.configure(**document)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.settimeout(10)
        self.process = self.launch()

    def configure(self, **document):
        (self.folder / "routers.json").write_text(json.dumps({"routers": []} | document))

    def launch(self):
        more = {"PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": str(self.folder / "notify")}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*self.through, sys.executable, str(HERE / "launch_main.py"), str(self.folder)],
                stderr=log,
                env={**os.environ, **more, "WATCHDOG_USEC": "400000"},
            )

    def told(self, word):
        """Wait for a notification that starts with `word`."""
        deadline = time.monotonic() + 10
        while not (said := self.notify.recv(4096).decode()).startswith(word):
            assert time.monotonic() < deadline, f"no {word}"
        return said

    def said(self):
        path = self.folder / "routers.said"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["type"] for line in lines]

    def child(self):
        family = children(self.process.pid).items()
        return next((pid for pid, (name, _) in family if name != "lvsd-guard"), None)

    def ask(self, path="/v1/status"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.folder / "lvsd.sock"))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: lvsd\r\n\r\n".encode())
            response = http.client.HTTPResponse(sock)
            response.begin()
            return response.status, json.loads(response.read())

    def log(self):
        return (self.folder / "log").read_text()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.notify.close()


@pytest.fixture
def daemon(tmp_path):
    made = []

    def make(**document):
        made.append(Daemon(tmp_path, **document))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_it_is_ready_once_the_configuration_is_in_force_and_feeds_the_watchdog(daemon):
    one = daemon()

    assert "STATUS=" in one.told("READY=1")
    one.told("WATCHDOG=1")


def test_routers_told_early_do_not_make_it_ready(daemon):
    one = daemon(early=True, say=[{"type": "notice", "status": "2 virtuals"}])

    assert "2 virtuals" in one.told("READY=1")


def test_a_configuration_refused_after_its_routers_were_told_ends_the_start(daemon):
    one = daemon(early=True, say=[{"type": "refused", "errors": ["no table"]}])

    assert one.process.wait(timeout=10) == 1
    assert "start_failed" in one.log()


def test_an_orderly_stop_tells_the_child_last_and_leaves_nothing_behind(daemon):
    one = daemon()
    one.told("READY=1")

    one.process.send_signal(signal.SIGTERM)

    one.told("STOPPING=1")
    assert one.process.wait(timeout=10) == 0
    assert one.said()[-1] == "stop"
    assert not (one.folder / "lvsd.sock").exists()


def test_sighup_becomes_a_reload_that_ends_in_ready(daemon):
    one = daemon()
    one.told("READY=1")

    one.process.send_signal(signal.SIGHUP)

    assert "MONOTONIC_USEC=" in one.told("RELOADING=1")
    one.told("READY=1")
    assert "reload" in one.said()


def test_a_refused_first_configuration_ends_the_start(daemon):
    one = daemon(refuse=["lvsd.conf:1:1: error: nonsense"])

    assert one.process.wait(timeout=10) == 1
    assert "start_failed" in one.log()


def test_a_second_daemon_on_the_same_folder_is_refused_in_one_line(daemon):
    one = daemon()
    one.told("READY=1")

    second = one.launch()

    assert second.wait(timeout=10) == 1
    assert f"another lvsd (process {one.process.pid})" in one.log()
    assert one.process.poll() is None
    assert (one.folder / "lvsd.sock").exists()


def test_a_socket_nobody_answers_on_is_replaced(daemon, tmp_path):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "lvsd.sock"))

    one = daemon()

    one.told("READY=1")
    assert stat.S_IMODE(os.stat(tmp_path / "lvsd.sock").st_mode) == 0o660


def test_a_socket_somebody_answers_on_is_not_taken(daemon, tmp_path):
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(tmp_path / "lvsd.sock"))
        alive.listen()

        one = daemon()

        assert one.process.wait(timeout=10) == 1
    assert "another lvsd answers on" in one.log()


def test_while_the_child_is_dead_main_answers_and_then_the_child_returns(daemon):
    one = daemon()
    one.told("READY=1")
    dead = eventually(one.child)

    os.kill(dead, signal.SIGKILL)
    eventually(lambda: "child_lost" in one.log())
    status, document = one.ask()

    assert status == 200
    assert document["director"] == "down"
    assert document["pid"] == one.process.pid
    assert one.ask("/v1/plan")[0] == 503
    eventually(lambda: "child_returned" in one.log())
    assert one.child() not in (None, dead)


def test_who_ignores_its_children_starts_a_main_that_does_not(daemon, monkeypatch):
    monkeypatch.setattr(Daemon, "through", ("env", "--ignore-signal=CHLD"))
    one = daemon()
    one.told("READY=1")
    dead = eventually(one.child)

    os.kill(dead, signal.SIGKILL)

    eventually(lambda: "child_returned" in one.log())
    assert one.child() not in (None, dead)


def test_a_child_that_hangs_is_killed_and_started_again(daemon):
    one = daemon()
    one.told("READY=1")
    hung = eventually(one.child)

    (one.folder / "routers.hang").touch()
    eventually(lambda: "did not answer" in one.log(), timeout=20)
    (one.folder / "routers.hang").unlink()

    eventually(lambda: "child_returned" in one.log())
    assert not Path(f"/proc/{hung}").exists()


def test_a_command_about_no_router_is_answered_with_an_error(daemon):
    one = daemon(say=[{"type": "command", "serial": 7, "verb": "stepdown", "router": "VI_9"}])
    one.told("READY=1")

    eventually(lambda: "commanddone" in one.said())


def test_the_main_process_stays_small():
    script = (
        "import sys, lvsd.daemon.vrrp;"
        "print(*sorted({'aiohttp','lvsd.config','lvsd.checks','lvsd.control'} & set(sys.modules)))"
    )

    out = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert out.strip() == ""
