"""Commands, maintenance folder and monitor file, with a whole child process."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvsd.config import loads
from lvsd.daemon.maintenance import MaintenanceFolder
from lvsd.daemon.messages import Reload, RouterEvent
from lvsd.daemon.monitor import _append
from tests.daemon.childhood import ChildProcess, Web, child, conf


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


def program(folder: Path, text: str) -> Path:
    """A program that only we can change, as lvsd demands."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def test_the_fallbackcommand_hears_start_and_stop(tmp_path: Path, web: Web) -> None:
    told = tmp_path / "told"
    command = program(tmp_path, f'echo "$@" >> {told}')
    async with child(tmp_path, conf(web, f"fallbackcommand={command} extra")) as c:
        await c.ready()
        await _lines(c, told, ["extra stop 192.0.2.1:80 tcp"])
        web.status = 500
        await _lines(c, told, ["extra stop 192.0.2.1:80 tcp", "extra start 192.0.2.1:80 tcp"])


async def test_a_command_that_fails_is_told(tmp_path: Path, web: Web) -> None:
    command = program(tmp_path, "exit 3")
    async with child(tmp_path, conf(web, f"fallbackcommand={command}")) as c:
        await c.logged("command_failed")
        assert 'error="exit status 3"' in c.log


@pytest.mark.parametrize("autoreload", ["yes", "no"])
async def test_the_callback_hears_of_a_changed_file(
    tmp_path: Path, web: Web, autoreload: str
) -> None:
    told = tmp_path / "told"
    command = program(tmp_path, f'echo "$@" >> {told}')
    text = conf(web, f'callback="{command}"\nautoreload={autoreload}')
    async with child(tmp_path, text) as c:
        await c.ready()
        c.conf.write_text(text + "\tcomment=changed\n")
        await _lines(c, told, [str(c.conf)])


async def test_a_touched_file_calls_nobody_back(tmp_path: Path, web: Web) -> None:
    told = tmp_path / "told"
    command = program(tmp_path, f'echo "$@" >> {told}; touch "$1"')
    text = conf(web, f'callback="{command}"')
    async with child(tmp_path, text) as c:
        await c.ready()
        c.conf.write_text(text + "\tcomment=changed\n")
        await _lines(c, told, [str(c.conf)])
        c.conf.write_text(text + "\tcomment=changed again\n")
        await _lines(c, told, [str(c.conf)] * 2)
        assert c.log.count("config_changed") == 2


async def test_a_refused_file_is_not_handed_on(tmp_path: Path, web: Web) -> None:
    told = tmp_path / "told"
    command = program(tmp_path, f'echo "$@" >> {told}')
    text = conf(web, f'callback="{command}"\nautoreload=yes')
    async with child(tmp_path, text) as c:
        await c.ready()
        c.conf.write_text(text + "\tschedluer=rr\n")
        await c.logged("config_refused")
        c.conf.write_text(text + "\tcomment=mended\n")
        await _lines(c, told, [str(c.conf)])


@pytest.mark.parametrize("name", ["127.0.0.1", "127.0.0.1:PORT"])
async def test_a_file_in_the_maintenance_folder_takes_a_real_out_at_once(
    tmp_path: Path, web: Web, name: str
) -> None:
    folder = tmp_path / "maintenance"
    folder.mkdir()
    file = folder / name.replace("PORT", str(web.port))
    async with child(tmp_path, conf(web, f"maintenancedir={folder}")) as c:
        await c.ready()
        file.touch()
        status = await c.until(lambda s: s["virtuals"][0]["reals"][0]["effective_weight"] == 0)
        row = status["virtuals"][0]["reals"][0]
        assert (row["health"], row["admin"]) == ("up", "drain")
        assert row["reason"] == f"maintenance: {file}"
        file.unlink()
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["effective_weight"] == 3)


@pytest.mark.parametrize("name", ["web1.example.org", "web1.example.org:80", "web1", "web1:80"])
async def test_a_file_may_have_the_host_name_of_a_real_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def named(address: tuple[str, int], flags: int) -> tuple[str, str]:
        if address[0] != "192.0.2.4":
            raise OSError("no name")
        return "web1.example.org", "0"

    monkeypatch.setattr(socket, "getnameinfo", named)
    text = "\treal=192.0.2.4:80 gate\n\treal=192.0.2.5:80 gate\n\tchecktype=on\n"
    virtuals = loads(f"virtual=192.0.2.1:80\n{text}".encode(), interfaces=[]).virtuals
    (tmp_path / name).touch()
    told: asyncio.Queue[list[str]] = asyncio.Queue()
    folder = MaintenanceFolder(lambda files: told.put_nowait([str(key.real) for key in files]))
    await folder.look(str(tmp_path), virtuals)
    folder.follow()
    try:
        async with asyncio.timeout(20):
            while not (found := await told.get()):
                pass
    finally:
        folder.close()
    assert found == ["192.0.2.4:80"]


async def test_a_folder_that_comes_later_is_found(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvsd.daemon.maintenance.RETRY_DELAY", 0.05)
    virtuals = loads(conf(web).encode(), interfaces=[]).virtuals
    folder = tmp_path / "later"
    told: asyncio.Queue[list[str]] = asyncio.Queue()
    watch = MaintenanceFolder(lambda files: told.put_nowait([*files.values()]))
    await watch.look(str(folder), virtuals)
    watch.follow()
    try:
        async with asyncio.timeout(20):
            assert await told.get() == []
            folder.mkdir()
            (folder / "127.0.0.1").touch()
            while not (found := await told.get()):
                pass
    finally:
        watch.close()
    assert found == [str(folder / "127.0.0.1")]


async def test_a_file_that_is_there_at_the_start_counts_from_the_first_check_on(
    tmp_path: Path, web: Web
) -> None:
    (tmp_path / "127.0.0.1").touch()
    async with child(tmp_path, conf(web, f"maintenancedir={tmp_path}")) as c:
        await c.ready()
        row = (await c.status())["virtuals"][0]["reals"][0]
        assert (row["health"], row["admin"], row["effective_weight"]) == ("up", "drain", 0)
        assert c.log.index("maintenance_started") < c.log.index("real_up")
        await c.crash()
        await c.ready()
        assert list((await c.weights()).values()) == [0]


@pytest.mark.parametrize("how", ["renamed", "turned"])
async def test_a_folder_in_the_place_of_another_counts_without_a_gap(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("lvsd.linux.folder.LOOK_INTERVAL", 0.05)
    virtuals = loads(conf(web).encode(), interfaces=[]).virtuals
    path, new = tmp_path / "now", tmp_path / "new"
    new.mkdir()
    (new / f"127.0.0.1:{web.port}").touch()
    old = path if how == "renamed" else tmp_path / "old"
    old.mkdir()
    (old / "127.0.0.1").touch()
    if how == "turned":
        path.symlink_to(old)
    told: asyncio.Queue[list[str]] = asyncio.Queue()
    watch = MaintenanceFolder(lambda files: told.put_nowait([*files.values()]))
    heard = [[*(await watch.look(str(path), virtuals)).values()]]
    watch.follow()
    try:
        async with asyncio.timeout(20):
            heard.append(await told.get())
            if how == "renamed":
                _exchange(path, new)
            else:
                (tmp_path / "link").symlink_to(new)
                (tmp_path / "link").rename(path)
            while heard[-1] != [str(path / f"127.0.0.1:{web.port}")]:
                heard.append(await told.get())
    finally:
        watch.close()
    assert [] not in heard


async def test_a_host_name_once_heard_outlives_the_dns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns = {"192.0.2.4": "web1.example.org"}

    def named(address: tuple[str, int], flags: int) -> tuple[str, str]:
        if address[0] not in dns:
            raise OSError("no answer")
        return dns[address[0]], "0"

    monkeypatch.setattr(socket, "getnameinfo", named)
    text = b"virtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate\n\tchecktype=on\n"
    virtuals = loads(text, interfaces=[]).virtuals
    (tmp_path / "web1").touch()
    folder = MaintenanceFolder(lambda files: None)
    try:
        assert [*(await folder.look(str(tmp_path), virtuals)).values()] == [str(tmp_path / "web1")]
        dns.clear()
        assert [*(await folder.look(str(tmp_path), virtuals)).values()] == [str(tmp_path / "web1")]
    finally:
        folder.close()


def test_a_reason_of_odd_bytes_is_written(tmp_path: Path) -> None:
    file = tmp_path / "monitor"
    assert _append({str(file): ["a \udcff\n"]}) == {}
    assert file.read_text() == "a \\udcff\n"


async def test_the_monitor_file_has_a_line_for_each_check(tmp_path: Path, web: Web) -> None:
    monitor, folder = tmp_path / "monitor", tmp_path / "maintenance"
    folder.mkdir()
    text = conf(web, f"maintenancedir={folder}", f'\tmonitorfile="{monitor}"\n')
    async with child(tmp_path, text) as c:
        await c.ready()
        web.status = 500
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["health"] == "down")
        (folder / "127.0.0.1").touch()
        async with asyncio.timeout(20):
            while "[down] Server in maintenance\n" not in await c.file(monitor):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await c.stop() == 0
        name = f"negotiate http tcp 127.0.0.1 {web.port} 3 masq / "
        lines = monitor.read_text().splitlines()
        assert f"[{c.process.pid}] {name} [up] " in lines[0]
        assert any(f"{name} [down] status 500" in line for line in lines)


async def test_the_log_file_speaks_ldirectords_language_where_asked(
    tmp_path: Path, web: Web
) -> None:
    file = tmp_path / "lvsd.log"
    text = f'logfile="{file}"\nlogstyle=ldirectord\nautoreload=yes\n'
    text += "emailalert=ops@example.org\nsmtp=127.0.0.1:9"
    async with child(tmp_path, conf(web, text)) as c:
        await c.ready()
        c.send(RouterEvent("started", 1.0, {"version": "1.2"}))
        c.conf.write_text(conf(web, text) + "\tcomment=changed\n")
        await c.logged("config_changed")
        c.send(Reload())
        c.send(RouterEvent("stopping", 2.0, {"signal": "SIGTERM"}))
        assert await c.stop() == 0
    found = [line.partition("] ") for line in file.read_text().splitlines()]
    lines = [text for _, _, text in found]

    where = f"{web.name} (192.0.2.1:80)"
    changed = lines.index(f"Configuration file '{c.conf}' has changed on disk")
    assert lines[changed + 1] == " - reread new configuration"
    for line in (
        "Starting Linux Director (lvsd 1.2) as daemon",
        "Added virtual server: 192.0.2.1:80",
        f"Added real server: {where} (Weight set to 3)",
        f"emailalert: Added real server: {where} (Weight set to 3)",
        "Reloading Linux Director Daemon config on signal",
        f"Purged real server (stop): {where}",
        "Purged virtual server (stop): 192.0.2.1:80",
        "Linux Director Daemon terminated on signal: TERM",
    ):
        assert line in lines
    assert {head.split("|")[1] for head, _, _ in found} == {"lvsd.conf"}


def _exchange(path: Path, new: Path) -> None:
    """Put one folder in the place of another at once, as renameat2(2) with RENAME_EXCHANGE."""
    libc = ctypes.CDLL(None, use_errno=True)
    status = libc.renameat2(-100, bytes(path), -100, bytes(new), 2)
    assert status == 0, os.strerror(ctypes.get_errno())


async def _lines(c: ChildProcess, path: Path, expected: list[str]) -> None:
    """Wait until a file has exactly these lines."""
    lines: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while lines != expected:
                lines = (await c.file(path)).splitlines()
                await asyncio.sleep(0.02)
    assert lines == expected, c.log
