"""Parts of the child by themselves: state directory, file watch, programs, rivals, settings."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd import log
from lvsd.core.model import (
    DestinationKey,
    Family,
    Identity,
    Protocol,
    RouterConfig,
    ServiceFlag,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    TrackScript,
    VirtualService,
)
from lvsd.daemon import scripts
from lvsd.daemon.rivals import rivals
from lvsd.daemon.scripts import Notifier, Tracker
from lvsd.daemon.settings import Settings
from lvsd.daemon.view import flag_words
from lvsd.daemon.watch import Watch
from lvsd.linux import local, sysctl
from lvsd.linux.memory import MemoryTable
from lvsd.program import Refused, run, trusted

WEB = ServiceKey(Family.INET, Protocol.TCP, ip_address("192.0.2.1"), 80)
MARK = ServiceKey(Family.INET6, Protocol.FWM, None, 0, 7)
REAL = DestinationKey(ip_address("2001:db8::4"), 8080)


# --- watch --------------------------------------------------------------------


class Watched:
    """A watch over some files that counts what it tells."""

    def __init__(self, *files: Path) -> None:
        self.changes = 0
        self.missing: list[str] = []
        self.watch = Watch(lambda: map(str, files), self.changed, self.missing.append)
        self.watch.accept({})

    async def changed(self) -> None:
        self.changes += 1

    async def look(self, times: int = 3) -> None:
        for _ in range(times):
            await self.watch.look()


async def test_a_change_is_told_once_when_the_file_stands_still(tmp_path: Path) -> None:
    file = tmp_path / "lvsd.conf"
    file.write_text("a")
    watched = Watched(file)
    await watched.look()
    assert watched.changes == 0
    for text in ("half", "half a", "half a file"):
        file.write_text(text)
        await watched.look(1)
    assert watched.changes == 0
    await watched.look()
    assert watched.changes == 1


async def test_a_deleted_file_is_told_once_and_read_when_it_is_back(tmp_path: Path) -> None:
    file, away = tmp_path / "lvsd.conf", tmp_path / "away"
    file.write_text("a")
    watched = Watched(file)
    file.rename(away)
    await watched.look()
    assert (watched.missing, watched.changes) == ([str(file)], 0)
    away.rename(file)
    await watched.look()
    assert watched.changes == 1


async def test_a_change_during_the_reading_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "lvsd.conf"
    file.write_text("a")
    watched = Watched(file)
    seen = watched.watch.look_ahead()
    file.write_text("changed while the first was read")
    watched.watch.accept(seen)
    await watched.look()
    assert watched.changes == 1


# --- programs -----------------------------------------------------------------


def program(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


@pytest.mark.root
async def test_a_program_runs_without_a_shell_between(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = program(tmp_path, f'printf "%s|" "$@" > {out}')
    assert await run((path, "a b", "$HOME;", "*"), 20.0) == 0
    assert out.read_text() == "a b|$HOME;|*|"


@pytest.mark.root
async def test_exit_status_and_signal_are_told_apart(tmp_path: Path) -> None:
    assert await run((program(tmp_path, "exit 3"),), 20.0) == 3
    assert await run((program(tmp_path, "kill -USR1 $$"),), 20.0) == -signal.SIGUSR1


@pytest.mark.root
async def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    path = program(tmp_path, f"sleep 600 & echo $! > {pid}\nwait")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await run((path,), 1.0)
    assert time.monotonic() - started < 15
    async with asyncio.timeout(15):
        while _alive(int(pid.read_text())):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_a_program_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Refused, match="writable by others"):
        trusted(program(tmp_path, "", mode))


def test_a_program_in_a_folder_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(Refused, match="writable by others"):
        trusted(program(folder, ""))


def test_a_program_that_is_not_there_or_not_executable_is_refused(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none"), program(tmp_path, "", 0o644)):
        with pytest.raises(Refused, match="not found or not executable"):
            trusted(path)


@pytest.mark.root
async def test_an_unknown_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="unknown user"):
        await run((program(tmp_path, ""),), 1.0, Identity("nobody-of-that-name"))
    with pytest.raises(Refused, match="unknown group"):
        await run((program(tmp_path, ""),), 1.0, Identity("nobody", "none-of-that-name"))


@pytest.mark.root
async def test_notify_tells_each_state_once_and_skips_initialize(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = program(tmp_path, f'echo "$3" >> {out}')
    router = RouterConfig("VI_1", "lo", 51, 100, (), notify=(path,))
    notifier = Notifier()
    for state in ("initialize", "backup", "backup"):
        notifier.changed(router, state, 100)
    await notifier.finish(20.0)
    notifier.changed(router, "master", 100)
    await notifier.finish(20.0)
    assert out.read_text().split() == ["BACKUP", "MASTER"]


@pytest.mark.root
async def test_each_state_has_a_program_of_its_own_which_runs_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = program(tmp_path, f'echo "$*" >> {out}')
    words = ("notifymaster", "notifybackup", "notifyfault", "notifystop")
    own = {word: (path, word) for word in words}
    router = RouterConfig("VI_1", "lo", 51, 100, (), notify=(path, "any"), **own)
    notifier = Notifier()
    for state in ("backup", "master", "fault", "stop"):
        notifier.changed(router, state, 90)
        await notifier.finish(20.0)
    assert out.read_text().splitlines() == [
        line
        for state in ("BACKUP", "MASTER", "FAULT", "STOP")
        for line in (f"notify{state.lower()}", f"any INSTANCE VI_1 {state} 90")
    ]


@pytest.mark.root
async def test_of_waiting_programs_the_newest_state_counts_and_one_event(tmp_path: Path) -> None:
    out, gate = tmp_path / "out", tmp_path / "gate"
    path = program(tmp_path, f'while [ ! -e {gate} ]; do sleep 0.05; done; echo "$*" >> {out}')
    lower = (path, "lower")
    router = RouterConfig("VI_1", "lo", 51, 100, (), notify=(path,), notifymasterrxlowerpri=lower)
    notifier = Notifier()
    notifier.changed(router, "fault", 100)
    await asyncio.sleep(0)  # the first program is on its way
    notifier.changed(router, "backup", 100)
    notifier.changed(router, "master", 100)
    for _ in range(3):
        notifier.lower_heard(router, 100)
    gate.touch()
    await notifier.finish(20.0)
    assert out.read_text().splitlines() == [
        "INSTANCE VI_1 FAULT 100",
        "INSTANCE VI_1 MASTER 100",
        "lower",
        "INSTANCE VI_1 MASTER_RX_LOWER_PRI 100",
    ]


@pytest.mark.root
async def test_a_notify_program_that_hangs_is_killed_and_the_next_state_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "NOTIFY_TIME_LIMIT", 0.5)
    told: list[tuple[str, object]] = []
    monkeypatch.setattr(log, "_observer", lambda _, name, fields: told.append((name, fields)))
    out = tmp_path / "out"
    path = program(tmp_path, f'echo "$3" >> {out}\ntest "$3" = MASTER || exec sleep 600')
    router = RouterConfig("VI_1", "lo", 51, 100, (), notify=(path,))
    notifier = Notifier()
    notifier.changed(router, "backup", 100)
    while not out.exists():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    notifier.changed(router, "master", 100)
    await notifier.finish(20.0)
    assert out.read_text().split() == ["BACKUP", "MASTER"]
    error = {"router": "VI_1", "program": path, "error": "killed after 0.5 s"}
    assert told == [("notify_failed", error)]


@pytest.mark.root
async def test_a_tracked_script_needs_rise_and_fall_runs_to_change(tmp_path: Path) -> None:
    flag, runs = tmp_path / "flag", tmp_path / "runs"
    path = program(tmp_path, f"echo x >> {runs}\ntest -e {flag}")
    flag.touch()
    changed = asyncio.Event()
    tracker = Tracker(changed.set)
    tracker.follow((TrackScript("chk", (path,), interval=0.02, timeout=10.0, fall=3, rise=2),))
    async with asyncio.timeout(20):
        await changed.wait()
        assert tracker.values == {"chk": True}
        changed.clear()
        flag.unlink()
        before = len(runs.read_text().split())
        await changed.wait()
    assert tracker.values == {"chk": False}
    assert len(runs.read_text().split()) - before >= 2
    await tracker.close()


# --- view ---------------------------------------------------------------------

P, OPS = ServiceFlag.PERSISTENT, ServiceFlag.ONEPACKET
PORT, FALLBACK, THIRD = ServiceFlag.SCHED2, ServiceFlag.SCHED1, ServiceFlag.SCHED3


@pytest.mark.parametrize(
    ("service", "words"),  # as ipvsadm 1.31 prints them after the scheduler
    [
        (VirtualService(WEB, "rr"), ""),
        (VirtualService(WEB, "rr", OPS), "ops"),
        (VirtualService(WEB, "rr", P, 300), "persistent 300"),
        (VirtualService(WEB, "rr", P, 300, 24), "persistent 300 mask 255.255.255.0"),
        (VirtualService(MARK, "wlc", P, 360, 64), "persistent 360 mask 64"),
        (VirtualService(MARK, "wlc", P, 360, 128), "persistent 360"),
        (VirtualService(WEB, "rr", P | OPS, 60, pe_name="sip"), "persistent 60 pe sip ops"),
        (VirtualService(WEB, "sh", PORT | FALLBACK, 0, 0), "(sh-fallback,sh-port)"),
        (VirtualService(WEB, "mh", PORT), "(mh-port)"),
        (VirtualService(WEB, "wlc", THIRD | P, 10), "(flag-3) persistent 10"),
    ],
)
def test_flags_read_as_in_ipvsadms_listing(service: VirtualService, words: str) -> None:
    assert flag_words(service) == words


# --- rivals and settings --------------------------------------------------------


def test_rivals_are_found_by_process_name_and_by_the_script_they_run(tmp_path: Path) -> None:
    for pid, comm, cmdline in (
        ("11", "keepalived", b"/usr/sbin/keepalived\0-n\0"),
        ("12", "perl", b"/usr/bin/perl\0/usr/sbin/ldirectord\0start\0"),
        ("13", "bash", b"bash\0"),
        (str(os.getpid()), "lvsd", b"lvsd\0"),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(comm + "\n")
        (tmp_path / pid / "cmdline").write_bytes(cmdline)
    (tmp_path / "14").mkdir()
    (tmp_path / "net").mkdir()
    assert rivals(tmp_path) == ["keepalived (11)", "ldirectord (12)"]


async def test_threads_are_left_alone_until_the_configuration_asks_for_one() -> None:
    kernel = MemoryTable()
    theirs = SyncDaemon(SyncRole.MASTER, "eth9", 9)
    await kernel.start_sync(theirs)
    settings = Settings(kernel, {}, real=False)
    await settings.follow((), {})
    await settings.follow(None, {})
    assert await kernel.sync_daemons() == (theirs,)
    ours = SyncDaemon(SyncRole.BACKUP, "eth1", 51)
    await settings.follow((ours,), {})
    assert await kernel.sync_daemons() == (ours,)
    await settings.follow((), {})
    assert await kernel.sync_daemons() == ()


@pytest.mark.parametrize("change", [{"port": 9000}, {"ttl": 3}, {"maxlen": 1000}, {"syncid": 9}])
async def test_a_thread_with_other_parameters_is_started_again(change: dict[str, int]) -> None:
    kernel = MemoryTable()
    settings = Settings(kernel, {}, real=False)
    plain = SyncDaemon(SyncRole.BACKUP, "eth1", 51)
    other = replace(plain, **change)
    for wanted in (plain, other, plain):
        await settings.follow((wanted,), {})
        (running,) = await kernel.sync_daemons()
        assert (running, running.maxlen) == (wanted, wanted.maxlen)
        before = kernel.writes
        await settings.follow((wanted,), {})
        assert kernel.writes == before


async def test_the_maxlen_that_the_kernel_chose_is_no_difference() -> None:
    kernel = MemoryTable()
    await kernel.start_sync(SyncDaemon(SyncRole.BACKUP, "eth1", 51, maxlen=1452))
    settings = Settings(kernel, {}, real=False)
    before = kernel.writes
    await settings.follow((SyncDaemon(SyncRole.BACKUP, "eth1", 51),), {})
    assert kernel.writes == before
    await Settings(kernel, {}, real=False).follow(
        (SyncDaemon(SyncRole.BACKUP, "eth1", 51, maxlen=1000),), {}
    )
    assert (await kernel.sync_daemons())[0].maxlen == 1000


async def test_a_thread_whose_interface_was_made_again_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interfaces = {"eth1": 7}
    monkeypatch.setattr(local, "interface_index", lambda name: interfaces.get(name, 0))
    kernel = MemoryTable()
    thread = SyncDaemon(SyncRole.BACKUP, "eth1", 51)
    await kernel.start_sync(thread)
    settings = Settings(kernel, {}, real=False)
    await settings.follow((thread,), {})
    before = kernel.writes
    for index in (8, 9):
        interfaces["eth1"] = index
        for _ in range(2):
            await settings.follow((thread,), {})
        assert kernel.writes == (before := before + 2)
    assert await kernel.sync_daemons() == (thread,)


async def test_threads_that_are_right_cost_no_write() -> None:
    kernel = MemoryTable()
    settings = Settings(kernel, {}, real=False)
    wanted = (SyncDaemon(SyncRole.BACKUP, "eth1", 51),)
    await settings.follow(wanted, {})
    before = kernel.writes
    await settings.follow(wanted, {})
    assert kernel.writes == before


async def test_a_sysctl_is_set_once_and_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "net/ipv4/vs/sync_threshold"
    file.parent.mkdir(parents=True)
    file.write_text("3\t50\n")
    read, write = sysctl.read, sysctl.write
    monkeypatch.setattr(sysctl, "read", lambda name: read(name, root=tmp_path))
    monkeypatch.setattr(sysctl, "write", lambda name, value: write(name, value, root=tmp_path))
    settings = Settings(MemoryTable(), {})
    for _ in range(2):
        await settings.follow((), {"net.ipv4.vs.sync_threshold": "2 50"})
    assert file.read_text().split() == ["2", "50"]
    assert settings.original == {"net.ipv4.vs.sync_threshold": "3 50"}
    await settings.follow((), {})
    assert file.read_text().split() == ["3", "50"]
    assert settings.original == {}
