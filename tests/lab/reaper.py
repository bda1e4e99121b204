"""Removes namespaces and processes of this run, however it ends.

A forked process waits on a pipe whose other end only this process holds. It is told what
exists; when the pipe closes, even by SIGKILL, it kills the processes and removes the
namespaces that are left. On an orderly end nothing is left and it just goes away.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

NAMESPACES = Path("/run/netns")
MNT_DETACH = 2


class Reaper:
    """The pipe to the process that cleans up after this one."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns of fork with threads; the child only reads and kills.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()
        if self._child == 0:
            try:
                _reap(reading)
            finally:
                os._exit(0)
        os.close(reading)

    def add(self, kind: str, name: str | int) -> None:
        """Clean up `kind` ("netns", "folder" or "group", a process group) if this process dies."""
        os.write(self._writing, f"+ {kind} {name}\n".encode())

    def remove(self, kind: str, name: str | int) -> None:
        """It is gone; a process group number may be somebody else's from now on."""
        os.write(self._writing, f"- {kind} {name}\n".encode())

    def close(self) -> None:
        """Let the child remove what is left, and wait for it."""
        if self._child:
            os.close(self._writing)
            os.waitpid(self._child, 0)
            self._child = 0


def _reap(reading: int) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    # Any other descriptor may be the writing end of some pipe that somebody waits on.
    os.closerange(3, reading)
    os.closerange(reading + 1, 65536)
    known: dict[tuple[str, str], None] = {}
    with os.fdopen(reading) as lines:
        for line in lines:
            sign, kind, name = line.rstrip("\n").split(" ", 2)
            if sign == "+":
                known[kind, name] = None
            else:
                known.pop((kind, name), None)
    for kind, name in known:
        if kind == "group":
            kill_group(int(name))
    remove_namespaces([name for kind, name in known if kind == "netns"])
    for kind, name in known:
        if kind == "folder":
            shutil.rmtree(name, ignore_errors=True)


def kill_group(group: int) -> None:
    """SIGKILL to a whole process group, if there still is one."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def processes_in(names: list[str]) -> list[int]:
    """The processes that live in any of these network namespaces."""
    inodes = set()
    for name in names:
        try:
            inodes.add((NAMESPACES / name).stat().st_ino)
        except FileNotFoundError:
            continue
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                if os.stat(f"/proc/{entry}/ns/net").st_ino in inodes:
                    found.append(int(entry))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found


def remove_namespaces(names: list[str]) -> None:
    """Kill what lives in the namespaces, then remove them; names that are gone are fine."""
    deadline = time.monotonic() + 5
    while names and (pids := processes_in(names)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)
    libc = ctypes.CDLL(None, use_errno=True)
    for name in names:
        path = NAMESPACES / name
        libc.umount2(str(path).encode(), MNT_DETACH)
        path.unlink(missing_ok=True)


def stale(prefix: str) -> list[str]:
    """Namespaces of runs whose process is gone (`prefix` + process id + `-...`)."""
    if not NAMESPACES.is_dir():
        return []
    gone = []
    for entry in NAMESPACES.iterdir():
        pid = entry.name.removeprefix(prefix).split("-")[0]
        if entry.name.startswith(prefix) and pid.isdecimal() and not Path("/proc", pid).exists():
            gone.append(entry.name)
    return gone


if __name__ == "__main__":
    remove_namespaces(sys.argv[1:])
