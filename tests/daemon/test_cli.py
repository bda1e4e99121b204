"""The command line itself: options, exit codes, and what is imported for it."""

from __future__ import annotations

import argparse
import errno
import os
import pwd
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lvsd import __version__
from lvsd.cli import main, seconds
from lvsd.control import client

COMMANDS = (
    *("run", "check", "plan", "status", "drain", "undrain", "reload", "stepdown"),
    "help",
)


def lvsd(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lvsd", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_version_is_the_packages() -> None:
    assert lvsd("--version").stdout == f"lvsd {__version__}\n"


@pytest.mark.parametrize("args", [[], ["frobnicate"], ["drain"], ["drain", "a", "--deadline", "x"]])
def test_misuse_is_exit_2(args: list[str]) -> None:
    done = lvsd(*args)

    assert done.returncode == 2
    assert "usage: lvsd" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = lvsd(command, "--help")

    assert done.returncode == 0
    assert f"usage: lvsd {command}" in done.stdout


@pytest.mark.parametrize("command", ["status", "reload", "stepdown", "drain x", "undrain x"])
def test_without_a_daemon_the_answer_is_clear_and_exit_1(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.sock"

    assert main([*command.split(), "--socket", str(path)]) == 1

    assert capsys.readouterr().err == f"lvsd: lvsd is not running (no socket at {path})\n"


def test_options_are_taken_before_and_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in (["--socket", "/no/such", "status"], ["status", "--socket", "/no/such"]):
        assert main(argv) == 1
        assert "no socket at /no/such" in capsys.readouterr().err


def test_a_dead_socket_is_a_clear_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))

    assert main(["status", "--socket", str(path)]) == 1

    assert f"nobody answers at {path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "cannot talk to lvsd"),
        (b"\x00\xff garbage\r\n\r\n", "cannot talk to lvsd"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{{{", "not JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "cannot talk to lvsd"),
        (b'HTTP/1.1 503 No\r\nContent-Length: 15\r\n\r\n{"error": "no"}', "lvsd: no\n"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops", "lvsd: oops\n"),
    ],
)
def test_a_broken_answer_is_a_clear_error(
    answer: bytes, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(10)
        script = (
            "import socket,sys\n"
            "s = socket.socket(fileno=int(sys.argv[1]))\n"
            "c, _ = s.accept(); c.recv(65536); c.sendall(bytes.fromhex(sys.argv[2]))\n"
        )
        fd = listening.fileno()
        argv = [sys.executable, "-c", script, str(fd), answer.hex()]
        with subprocess.Popen(argv, pass_fds=[fd]):
            assert main(["status", "--socket", str(path)]) == 1

    assert text in capsys.readouterr().err


def test_an_answer_given_before_the_body_was_read_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "stopgap.sock"
    answer = b'HTTP/1.1 503 No\r\nContent-Length: 15\r\n\r\n{"error": "no"}'
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(10)

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(10)
                connection.sendall(answer)

        refusing = threading.Thread(target=refuse)
        refusing.start()
        body = {"real": "x" * 1_000_000}

        assert client.request(str(path), "POST", "/v1/drain", body) == (503, {"error": "no"})

        refusing.join()


def test_a_silent_daemon_is_given_up_in_time(tmp_path: Path) -> None:
    path = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        with pytest.raises(client.Unreachable, match=r"did not answer within 0\.1 s"):
            client.request(str(path), "GET", "/v1/status", timeout=0.1)


def test_a_socket_one_may_not_open_names_the_group(tmp_path: Path) -> None:
    path = tmp_path / "lvsd.sock"
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o600)
        script = (
            "import os,sys; from lvsd.control import client\n"
            f"os.setuid({pwd.getpwnam('nobody').pw_uid})\n"
            "try: client.request(sys.argv[1], 'GET', '/v1/status')\n"
            "except client.Unreachable as e: print(e)\n"
        )
        argv = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.stdout == (
        f"permission denied on {path}: you need to be root or in the group lvsd\n"
    )


def test_status_loads_nothing_heavy() -> None:
    script = (
        "import sys; from lvsd.cli import main; main(['status', '--socket', '/no/such'])\n"
        "heavy = {'aiohttp', 'asyncio', 'pyroute2', 'structlog', 'msgspec', 'lvsd.config'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout == "[]\n"


def test_nothing_is_loaded_before_the_guard_is_forked() -> None:
    script = (
        "import sys, lvsd.cli; from lvsd.daemon import guard\n"
        "heavy = {'aiohttp', 'asyncio', 'pyroute2', 'structlog', 'msgspec', 'lvsd.config'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_guard_that_cannot_be_started_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)

    assert main(["run"]) == 1

    reason = "Resource temporarily unavailable"
    assert capsys.readouterr().err == f"lvsd: cannot start the guard process: {reason}\n"


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400)]
)
def test_times_are_read_as_operators_write_them(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "0", "0m", "-5m", "5 m", "5x", "1.5h", "٣m", "²"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time"):
        seconds(text)


def test_directories_come_from_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    from lvsd.cli import _parser

    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)

    args = _parser().parse_args(["run"])

    assert (args.runtime_dir, args.state_dir) == ("/run/a", "/var/lib/lvsd")
    assert args.table == "kernel"
