"""Check workers: real processes that a real director starts, feeds, misses and ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.checks.engine import Result
from lvsd.core.model import Check, CheckKind, Protocol
from lvsd.daemon import checking, checkworker
from lvsd.daemon.checkers import Checkers
from lvsd.daemon.checkworker import Worker
from lvsd.daemon.messages import Stop
from tests.daemon.childhood import ChildProcess, Web, child, conf
from tests.lab.family import children
from tests.lab.topology import wait_until

CHECK = Check(CheckKind.HTTP, ip_address("127.0.0.1"), 1, interval=1.0, timeout=1.0)


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


def workers(director: ChildProcess) -> list[int]:
    """The process ids of a director's workers."""
    found = children(director.process.pid)
    return [pid for pid in found if "lvsd.daemon.checker" in _words(pid)]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except FileNotFoundError:
        return []


def gone(pids: list[int]) -> bool:
    """Whether none of these processes runs any more."""
    return not any(_words(pid) for pid in pids)


async def settled(director: ChildProcess, number: int) -> list[int]:
    """Wait until so many workers are there, and no more."""
    await director.until(lambda s: s["checks"]["checkers"] == number)
    async with asyncio.timeout(20):
        while len(found := workers(director)) != number:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


def health(status: dict) -> str:
    return status["virtuals"][0]["reals"][0]["health"]


async def test_a_worker_judges_without_privileges(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, conf(web, "checkers=2")) as c:
        await c.ready()
        for pid in await settled(c, 2):
            assert unprivileged(pid)
        web.status = 500
        status = await c.until(lambda s: health(s) == "down")
        assert status["virtuals"][0]["reals"][0]["reason"] == "status 500"
        web.status = 200
        status = await c.until(lambda s: health(s) == "up")
        assert status["checks"]["asked"] == 1
        assert status["checks"]["finished"] >= 2  # told once a second
        assert status["virtuals"][0]["reals"][0]["latency"] > 0


def unprivileged(pid: int) -> bool:
    """Whether a process has no capability, cannot get one, and is not root's if root may choose."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    words = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    powerless = not any(int(words[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Amb"))
    everybody = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    ours = "0" in words["Uid"].split() or bool(words["Groups"].strip())
    return powerless and words["NoNewPrivs"] == "1" and not (everybody and ours)


async def test_a_killed_worker_fails_nobody_and_comes_back(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, conf(web, "checkers=1")) as c:
        await c.ready()
        (first,) = await settled(c, 1)
        finished = (await c.status())["checks"]["finished"]

        os.kill(first, signal.SIGKILL)
        await c.logged('error checker_lost checker=1 reason="was killed by signal 9"')
        await c.logged("info checker_returned checker=1")

        (second,) = await settled(c, 1)
        asked = web.asked
        status = await c.until(lambda s: web.asked > asked + 1)
        assert second != first
        assert health(status) == "up"
        assert status["notes"] == []
        assert status["checks"]["finished"] >= finished
        assert "real_down" not in c.log
        assert "real_failing" not in c.log
        web.status = 500
        await c.until(lambda s: health(s) == "down")


async def test_a_worker_that_cannot_live_is_told_and_harms_nobody(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, conf(web, "checkers=1")) as c:
        await c.ready()
        for count in (1, 2, 3, 4, 5):  # the pause doubles
            (pid,) = await settled(c, 1)
            os.kill(pid, signal.SIGKILL)
            await c.until(lambda s, count=count: c.log.count("killed by signal 9") == count)
        status = await c.until(lambda s: s["notes"])
        words = "check worker 1 of 1 was killed by signal 9: it is being started again"
        assert status["notes"] == [words]
        assert status["checks"]["checkers"] == 0
        assert health(status) == "up"


async def test_a_reload_changes_their_number_and_no_verdict(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, conf(web)) as c:
        await c.ready()
        before: list[int] = []
        for number in (2, 3, 1, 0):
            c.conf.write_text(conf(web, f"checkers={number}"))
            code, answer = await c.ask("POST", "/v1/reload")
            assert (code, answer["ok"]) == (200, True)
            assert any("checkers" in line for line in answer["changes"])
            running = await settled(c, number)
            assert set(before[:number]) <= set(running)
            asked, before = web.asked, running
            status = await c.until(lambda s, asked=asked: web.asked > asked + 1)
            assert health(status) == "up"
        assert "real_down" not in c.log
        assert "checker_lost" not in c.log


@pytest.mark.parametrize("how", ["killed", "stopped", "left"])
async def test_workers_end_with_their_director(tmp_path: Path, web: Web, how: str) -> None:
    async with child(tmp_path, conf(web, "checkers=2")) as c:
        await c.ready()
        pids = await settled(c, 2)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)  # not theirs to heed
        if how == "killed":
            await c.kill()
        elif how == "stopped":
            await c.stop()
        else:
            await c.leave()
        await asyncio.to_thread(wait_until, lambda: gone(pids), 20.0, "the workers are gone")


async def test_a_stuck_worker_is_killed_with_its_director(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, conf(web, "checkers=1")) as c:
        await c.ready()
        pids = await settled(c, 1)
        os.kill(pids[0], signal.SIGSTOP)  # it cannot see that anybody has gone
        await c.kill()
        await asyncio.to_thread(wait_until, lambda: gone(pids), 20.0, "the worker is gone")


async def test_a_watch_connection_lives_with_the_checks_of_its_target(tmp_path: Path) -> None:
    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = (
        f"checkers=2\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:{port} masq\n\tchecktype=connect\n"
        "\tcheckinterval=600\n\tfailurecount=5\n\twatch=yes\n\tfailfast=yes\n"
    )
    async with child(tmp_path, text) as c:
        await c.ready()
        await c.until(lambda s: s["checks"]["watching"] == 1)
        server.close()
        for writer in held:
            writer.transport.abort()
        status = await c.until(lambda s: health(s) == "down")
        assert status["virtuals"][0]["reals"][0]["reason"] == "refused"


async def test_what_a_worker_says_must_have_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await strange(
        monkeypatch,
        "import sys, socket; s = socket.socket(fileno=int(sys.argv"
        "[1])); s.send(b'\\0\\0\\0\\3abc'); s.recv(1); s.recv(1 << 20)",
    )
    assert worker.lost.startswith("cannot be understood")


async def test_a_silent_worker_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "BEAT", 0.02)
    worker = await strange(monkeypatch, "import time; time.sleep(600)")
    assert worker.lost == f"said nothing for {checkworker.SILENCE} s"


async def strange(monkeypatch: pytest.MonkeyPatch, program: str) -> Worker:
    """A worker with another program, once it is lost."""
    monkeypatch.setattr(checkworker, "RESTART_DELAY", 600.0)
    monkeypatch.setattr(checkworker, "command", lambda fd: ("python3", "-c", program, str(fd)))
    results: list[Result] = []
    worker = Worker(1, results.append)
    try:
        async with asyncio.timeout(20):
            while not worker.lost:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        worker.close()
    assert not results
    return worker


async def test_what_needs_privileges_files_or_programs_is_asked_in_the_director(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkworker, "command", lambda fd: ("python3", "-c", "input()"))
    everywhere = Checkers(lambda result: None)
    everywhere.resize(2)
    kinds = {CheckKind.PING, CheckKind.EXTERNAL, CheckKind.MYSQL}
    away = [replace(CHECK, port=port, interval=600.0) for port in range(1, 101)]

    everywhere.set_checks([*away, *(replace(CHECK, kind=kind, interval=600.0) for kind in kinds)])

    here, *apart = (asker.asked for asker in everywhere._askers())
    assert here == len(kinds)
    assert sum(apart) == 100
    assert min(apart) > 20
    everywhere.close()


def test_a_check_arrives_as_it_left() -> None:
    for check in (
        CHECK,
        Check(
            CheckKind.DNS,
            ip_address("fe80::1%lo"),
            53,
            request=b"\xff\0",
            passwd=b"secret",
            protocol=Protocol.UDP,
            command=("a", "b"),
            verify=True,
            attempts=3,
        ),
    ):
        wire = checking.check_to_wire(check)
        packed = checking.pack(checking.Ask({7: wire}, [], []))
        decoder = checking.msgspec.msgpack.Decoder(checking.ToWorker)
        assert checking.check_from_wire(decoder.decode(packed[4:]).added[7]) == check


async def test_an_orderly_stop_of_a_director_leaves_no_worker_lost_in_the_log(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, conf(web, "checkers=1")) as c:
        await c.ready()
        await settled(c, 1)
        c.send(Stop())
        assert await c.end() == 0
        assert "checker_lost" not in c.log


async def test_a_worker_that_says_nothing_is_told_before_it_is_killed(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, conf(web, "checkers=1")) as c:
        await c.ready()
        (pid,) = await settled(c, 1)
        os.kill(pid, signal.SIGSTOP)
        status = await c.until(lambda s: s["notes"])
        assert status["notes"][0].startswith("check worker 1 of 1 has said nothing for ")
        assert status["checks"]["checkers"] == 1
        os.kill(pid, signal.SIGCONT)
        await c.until(lambda s: not s["notes"])
