"""The log: what a line looks like, where it goes, and that writing it never waits."""

from __future__ import annotations

import ast
import contextlib
import os
import pty
import re
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvsd import log
from lvsd.events import EVENTS, events_document
from tests.lab.topology import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def err(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe in the place of stderr, non-blocking at the reading end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with stderr_at(writing, monkeypatch):
        yield reading
    os.close(reading)
    os.close(writing)


@contextlib.contextmanager
def stderr_at(fd: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`fd` in the place of stderr, and everything as it was afterwards."""
    with monkeypatch.context() as patch:
        patch.delenv("JOURNAL_STREAM", raising=False)
        patch.setattr(log, "STDERR", fd)
        patch.setattr(log, "_sinks", log._Sinks())
        yield
        log.set_logfile("")
        if log._sinks.stderr is not None:
            log._sinks.stderr.close()


def _logged(event: str, path: Path) -> bool:
    """Log an event; whether the file by that name has it."""
    log.get().info(event)
    return path.exists() and event in path.read_text()


def read(fd: int) -> str:
    try:
        return os.read(fd, 1 << 20).decode()
    except BlockingIOError:
        return ""


def test_a_line_is_time_level_event_and_keys(err: int) -> None:
    log.configure("director")

    log.get().info("real_down", real="192.0.2.4:80", reason="status 500", latency=0.25)

    stamp, level, rest = read(err).split(" ", 2)
    assert stamp.endswith("Z")
    assert level == "info"
    assert rest == 'real_down real=192.0.2.4:80 reason="status 500" latency=0.25\n'


def test_a_logger_made_before_configure_keeps_its_fields(err: int) -> None:
    bound = log.get(router="VI_1")
    log.configure("vrrp")

    bound.warning("vips_failed", error="no such device")

    assert 'warning vips_failed router=VI_1 error="no such device"' in read(err)


def test_hostile_values_stay_on_one_line_and_drive_no_terminal(err: int) -> None:
    log.configure("director")

    log.get().info(
        "real_down", reason='a\nreal_up "b"\x1b[2J\u2028\u202e\udcff', request=b"\xff\x00"
    )

    text = read(err)
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u2028" not in text
    assert "\u202e" not in text  # would turn the rest of the line around
    assert r'reason="a\x0areal_up \"b\"\x1b[2J\x2028\x202e\xdcff"' in text


def test_a_huge_value_is_cut_between_characters(err: int) -> None:
    log.configure("director")

    log.get().info("real_down", reason="é" * 10_000)

    text = read(err)
    assert len(text.encode()) <= log.MAX_LINE
    assert text.endswith("é...\n")


def test_secrets_are_never_written(err: int) -> None:
    log.configure("vrrp")

    log.get().info("config_loaded", authpass="1111", db_password="geheim")

    text = read(err)
    assert "authpass=*** db_password=***" in text
    assert "1111" not in text
    assert "geheim" not in text


def test_debug_lines_are_not_written(err: int) -> None:
    log.configure("vrrp")

    log.get().debug("advert_rejected", reason="ttl")

    assert read(err) == ""


def test_under_the_journal_a_line_has_a_priority_and_no_time(
    err: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.fstat(log.STDERR)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    log.configure("vrrp")

    log.get().error("vips_failed", router="VI_1")
    log.get().warning("advert_rejected", reason="ttl")

    assert read(err) == "<3>vips_failed router=VI_1\n<4>advert_rejected reason=ttl\n"

    log.say("error", "lvsd.conf:1:1: error: \x1b[2J")

    assert read(err) == "<3>lvsd.conf:1:1: error: \\x1b[2J\n"


def test_a_journal_that_does_not_read_costs_lines_not_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, stderr_at(ours.fileno(), monkeypatch):
        log.configure("vrrp")
        before = log.dropped()

        for _ in range(2000):
            log.get().info("real_down", reason="x" * 1000)

        assert log.dropped() > before
        assert theirs.recv(4096).startswith(b"20")


def test_a_terminal_gets_colour_and_may_stop_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = pty.openpty()
    with stderr_at(follower, monkeypatch):
        log.configure("vrrp")
        before = log.dropped()
        log.get().error("vips_failed", router="VI_1")
        assert "\x1b[31mvips_failed" in os.read(leader, 4096).decode()

        for _ in range(2000):
            log.get().info("real_down", reason="x" * 1000)

        assert log.dropped() > before
    os.close(leader)
    os.close(follower)


def test_a_full_pipe_drops_lines_counts_them_and_says_so_later(err: int) -> None:
    log.configure("director")
    before = log.dropped()

    started = time.monotonic()
    for number in range(500):
        log.get().info("real_down", number=number, reason="x" * 1000)
    took = time.monotonic() - started

    lost = log.dropped() - before
    assert lost > 0
    assert took < 5
    text = read(err)
    log.get().info("real_up", real="192.0.2.4:80")
    text += read(err)
    reported = re.findall(r"warning lines_dropped count=(\d+)\n", text)
    assert sum(map(int, reported)) == lost
    assert "real_up real=192.0.2.4:80" in text
    assert log.dropped() - before == lost


def test_the_shared_descriptor_keeps_its_blocking_mode(err: int) -> None:
    log.configure("director")

    assert os.get_blocking(log.STDERR)


def test_an_exception_is_told_in_full_on_one_line(err: int) -> None:
    log.configure("director")

    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.get().error("control_failed", exc_info=True)

    text = read(err)
    assert text.count("\n") == 1
    assert "Traceback" in text
    assert "RuntimeError: broken" in text


def test_a_logfile_gets_time_process_and_pid(err: int, tmp_path: Path) -> None:
    path = tmp_path / "lvsd.log"
    log.configure("director", str(path))

    log.get().info("real_up", real="192.0.2.4:80")

    line = path.read_text()
    assert line.startswith("[")
    assert f"|director|{os.getpid()}] info real_up real=192.0.2.4:80\n" in line
    assert "real_up" in read(err)


def test_a_logfile_is_not_readable_by_everybody(err: int, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        log.configure("director", str(tmp_path / "lvsd.log"))
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "lvsd.log").stat().st_mode) & 0o007 == 0


def test_reopen_follows_the_name_after_logrotate(err: int, tmp_path: Path) -> None:
    path = tmp_path / "lvsd.log"
    log.configure("director", str(path))
    log.get().info("real_up")
    path.rename(tmp_path / "lvsd.log.1")

    log.reopen()
    log.get().info("real_down")

    assert "real_down" in path.read_text()
    assert "real_down" not in (tmp_path / "lvsd.log.1").read_text()


def test_a_logfile_is_followed_when_it_is_moved_and_nobody_says_so(
    err: int, tmp_path: Path
) -> None:
    path = tmp_path / "lvsd.log"
    log.configure("director", str(path))
    path.rename(tmp_path / "lvsd.log.1")

    wait_until(path.exists)
    wait_until(lambda: _logged("real_down", path))

    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_a_log_file_as_stderr_is_followed_and_gets_what_no_logfile_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, taken = tmp_path / "ldirectord.log", tmp_path / "lvsd.log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with stderr_at(fd, monkeypatch):
        log.configure("director", stderr=str(path))
        log.relay("info", "started", {})
        path.rename(tmp_path / "ldirectord.log.1")
        wait_until(lambda: _logged("ready", path))
        log.set_logfile(str(taken))
        log.get().info("real_up")
        log.relay("info", "router_changed", {})
        log.leave_to_child(True)
        log.get(relayed=True).info("stopping")
    os.close(fd)

    assert "info started" in (tmp_path / "ldirectord.log.1").read_text()
    assert "real_up" not in path.read_text()
    assert [line.split()[-1] for line in taken.read_text().splitlines()] == [
        "real_up",
        "router_changed",
    ]


def test_a_relayed_event_goes_to_the_logfile_alone(err: int, tmp_path: Path) -> None:
    log.configure("director", str(tmp_path / "lvsd.log"))

    log.relay("info", "router_changed", {"router": "VI_1", "new": "master"}, 1e9)

    line = (tmp_path / "lvsd.log").read_text()
    assert line.startswith(f"[{time.ctime(1e9)}|")
    assert "router_changed router=VI_1 new=master" in line
    assert read(err) == ""


def test_a_logfile_that_cannot_be_opened_leaves_the_old_one(err: int, tmp_path: Path) -> None:
    log.configure("director", str(tmp_path / "lvsd.log"))

    with pytest.raises(OSError, match="missing"):
        log.set_logfile(str(tmp_path / "missing" / "lvsd.log"))

    log.get().info("real_up")
    assert "real_up" in (tmp_path / "lvsd.log").read_text()


def test_a_facility_sends_datagrams_to_syslog(
    err: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "DEV_LOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        syslog.settimeout(5)
        log.configure("director", "local0")

        log.get().error("real_down", real="192.0.2.4:80")

        expected = f"<131>lvsd-director[{os.getpid()}]: real_down real=192.0.2.4:80"
        assert syslog.recv(4096).decode() == expected


@pytest.mark.parametrize(
    ("classic", "expected"),
    [("web.cf", "<134>ldirectord[{}]: Added"), ("", "<134>lvsd-director[{}]: real_up")],
)
def test_ldirectords_words_come_with_its_name_and_only_where_asked(
    err: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classic: str, expected: str
) -> None:
    monkeypatch.setattr(log, "DEV_LOG", str(tmp_path / "log"))
    log.configure("director")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        syslog.settimeout(5)
        log.set_logfile("local0", classic)

        log.get(sentence="Added").info("real_up")

        assert syslog.recv(4096).decode() == expected.format(os.getpid())


def test_syslog_away_costs_lines_and_comes_back(
    err: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "DEV_LOG", str(tmp_path / "log"))
    log.configure("director", "daemon")
    before = log.dropped()

    log.get().info("real_down")

    assert log.dropped() == before + 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        syslog.settimeout(5)
        log.get().info("real_up")
        assert b"real_up" in syslog.recv(4096)
        assert b"lines_dropped count=1" in syslog.recv(4096)


def test_an_unknown_facility_is_refused(err: int) -> None:
    with pytest.raises(ValueError, match='unknown syslog facility "local9"'):
        log.configure("director", "local9")


def test_docs_events_is_made_from_the_list() -> None:
    assert (ROOT / "docs" / "events.md").read_text() == events_document()


def _events_logged() -> Iterator[tuple[str, str]]:
    levels = ("debug", "info", "warning", "error", "critical")
    for path in sorted((ROOT / "lvsd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in levels
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield str(path.relative_to(ROOT)), str(node.args[0].value)


def test_every_event_logged_anywhere_is_on_the_list() -> None:
    unlisted = [f"{path}: {event}" for path, event in _events_logged() if event not in EVENTS]

    assert unlisted == []


def test_every_event_on_the_list_is_logged_somewhere() -> None:
    files = [path for path in (ROOT / "lvsd").rglob("*.py") if path.name != "events.py"]
    source = "".join(path.read_text() for path in files)

    unused = [event for event in EVENTS if f'"{event}"' not in source]

    assert unused == []
