"""Tracked processes and files, on this very system."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from lvsd.core.model import TrackFile, TrackProcess
from lvsd.daemon.lookout import Lookout, number


def start(program: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([str(program), "1000"])


class Seen:
    """A Lookout and a way to wait for its word."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.lookout = Lookout(self._changed.set)

    async def until(self, claim: Callable[[Lookout], bool]) -> None:
        async with asyncio.timeout(20):
            while not claim(self.lookout):
                await self._changed.wait()
                self._changed.clear()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        *((b"7\n", 7), (b" -3 ", -3), (b"+4", 4), (b"", 0), (b"x", 0), (b"1 2", 0), (b"\xff", 0)),
        *((b"9999999999", 2**31), (b"5" * 40, 0)),
    ],
)
def test_a_file_holds_a_number_or_0(tmp_path: Path, content: bytes, value: int) -> None:
    (tmp_path / "f").write_bytes(content)
    assert number(str(tmp_path / "f")) == value


def test_no_file_is_0(tmp_path: Path) -> None:
    assert number(str(tmp_path / "none")) == number(str(tmp_path)) == 0


async def test_a_file_is_followed(tmp_path: Path) -> None:
    path, seen = tmp_path / "f", Seen()
    seen.lookout.follow((), (TrackFile("load", str(path)),))
    await seen.until(lambda s: (s.values, s.numbers) == ({"file load": True}, {"file load": 0}))
    path.write_text("7")
    await seen.until(lambda s: (s.values, s.numbers) == ({"file load": False}, {"file load": 7}))
    path.write_text("8")
    await seen.until(lambda s: s.numbers == {"file load": 8})
    seen.lookout.follow((), ())
    assert (seen.lookout.values, seen.lookout.numbers) == ({}, {})


async def test_processes_are_found_by_name_path_and_arguments(tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:20]}"  # longer than what the kernel keeps of a name
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    seen = Seen()
    commands = {
        "name": (name,),
        "path": (str(program),),
        "args": (name, "1000"),
        "other": (name, "1001"),
        "missing": (name + "x", "1000"),
    }
    wanted = [TrackProcess(key, command) for key, command in commands.items()]
    wanted.append(TrackProcess("two", (name,), quorum=2))
    wanted.append(TrackProcess("one", (str(program),), quorummax=1))
    seen.lookout.follow(wanted, ())
    await seen.until(lambda s: len(s.values) == 7)
    assert not any(seen.lookout.values.values())

    def up() -> set[str]:
        return {key.removeprefix("process ") for key, up in seen.lookout.values.items() if up}

    running = [start(program)]
    try:
        await seen.until(lambda _: up() == {"name", "path", "args", "one"})
        running.append(start(program))
        await seen.until(lambda _: up() == {"name", "path", "args", "two"})
    finally:
        for process in running:
            process.kill()  # not waited for: zombies don't count
    await seen.until(lambda _: not up())
    for process in running:
        process.wait()
    seen.lookout.close()


async def test_a_delay_must_pass_before_a_change_counts(tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    seen = Seen()
    slow = TrackProcess("slow", (name,), forkdelay=1.5)
    seen.lookout.follow((slow, TrackProcess("quick", (name,))), ())
    await seen.until(lambda s: len(s.values) == 2)
    process = start(program)
    try:
        await seen.until(lambda s: s.values["process quick"])
        assert not seen.lookout.values["process slow"]
        await seen.until(lambda s: s.values["process slow"])
    finally:
        process.kill()
        process.wait()
        seen.lookout.close()
