"""Runs a command in a throw-away VM that has IPVS, booted from the lab's tree.

virtme-ng starts QEMU on the tree's disk image; writes go to a snapshot that is thrown away.
One folder is shared, the session: the checkout goes in as a tar file (compiled for the
guest's Python) and is unpacked at the same path, stdout, stderr and the status come out as
files, and so does whatever the command leaves in $LVSD_RESULTS. Emulation is the default,
since it works everywhere; KVM is used only when a probe with a time limit has seen a kernel
boot with it. QEMU is killed on every way out, by the reaper if nobody else can.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.lab.reaper import Reaper, kill_group
from tests.lab.tree import CHECKOUT, SITE, LabError, Tree, cache, compile_all, run, which

LEAVE_OUT = (".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")
#: What the drivers of the lab's networks need.
MODULES = ("veth", "bridge", "vrf", "ipip", "ip6_tunnel")
KVM_PROBE_LIMIT = 10.0


@dataclass(slots=True)
class Vm:
    """One boot for one command. Use as a context manager; leaving it kills the VM."""

    tree: Tree
    command: Sequence[str]
    timeout: float = 2400.0
    systemd: bool = False
    memory: str = "2G"
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = None
    _reaper: Reaper | None = None
    _deadline: float = 0.0
    _turn: IO[bytes] | None = None

    def __enter__(self) -> Vm:
        self._turn = wait_for_turn()
        self.folder = Path(tempfile.mkdtemp(prefix="lvsd-vm-"))
        self.folder.chmod(0o755)
        (self.folder / "results").mkdir()
        self._pack()
        self._name_kernel()
        (self.folder / "guest.sh").write_text(self._script())
        self._reaper = Reaper()
        self._deadline = time.monotonic() + self.timeout
        with (self.folder / "console").open("wb") as console:
            self._process = subprocess.Popen(
                self._vng(),
                cwd="/",
                env={**os.environ, "PATH": self._path(), "TMPDIR": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reaper.add("group", self._process.pid)
        self._reaper.add("folder", str(self.folder))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()
        if self._reaper is not None:
            self._reaper.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._turn is not None:
            self._turn.close()

    @property
    def results(self) -> Path:
        """The guest's $LVSD_RESULTS, seen from here while the VM lives."""
        return self.folder / "results"

    def status(self) -> int | None:
        """The command's exit status; None while it runs. LabError when the VM is lost."""
        try:
            return int((self.folder / "status").read_text())
        except FileNotFoundError:
            pass
        if time.monotonic() > self._deadline:
            raise LabError(f"the VM hit its time limit of {self.timeout:.0f} s\n{self.tail()}")
        if self._process is None or self._process.poll() is not None:
            # The status may have been written between the two looks.
            if (self.folder / "status").exists():
                return self.status()
            raise LabError(f"the VM ended before the command did\n{self.tail()}")
        return None

    def tail(self, lines: int = 25) -> str:
        """The last lines of the console and of the command's stderr."""
        text = ""
        for name in ("console", "stderr"):
            path = self.folder / name
            if path.exists():
                last = path.read_text(errors="replace").splitlines()[-lines:]
                text += f"--- {name} ---\n" + "\n".join(last) + "\n"
        return text

    def follow(self, each: Callable[[], None]) -> int:
        """Call `each` some ten times a second until the command has ended; its status."""
        while (status := self.status()) is None:
            each()
            time.sleep(0.1)
        each()
        return status

    def _path(self) -> str:
        here = Path(sys.executable).parent
        tools = f"{self.folder}/bin:{self.tree.tools}"
        return f"{tools}:{here}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

    def _name_kernel(self) -> None:
        """virtme-ng learns a kernel's version from `file` or `strings`; a bare host has neither."""
        (self.folder / "bin").mkdir()
        program = self.folder / "bin" / "file"
        version = self.tree.kernel.name.removeprefix("vmlinuz-")
        program.write_text(f"#!/bin/sh\necho 'Linux kernel, version {version}'\n")
        program.chmod(0o755)

    def _vng(self) -> list[str]:
        kernel, root = self.tree.kernel, self.tree.root
        return [
            *(sys.executable, str(Path(sys.executable).with_name("vng"))),
            *("--run", str(kernel), "--busybox", str(root / "usr/bin/busybox"), "--force-9p"),
            *("--root-disk", str(self.tree.image), "--root-fstype", "ext4", "--rw"),
            "--qemu-opts=-snapshot",
            *(() if kvm_works(self.tree) else ("--disable-kvm",)),
            *(("--systemd",) if self.systemd else ()),
            *("--user", "root", "--memory", self.memory, "--cpus", "2"),
            f"--rwdir={self.folder}={self.folder}",
            *("--exec", f"bash {self.folder}/guest.sh"),
        ]

    def _pack(self) -> None:
        staging = self.folder / "staging"
        leave_out = shutil.ignore_patterns(*LEAVE_OUT, "__pycache__", "*.egg-info")
        shutil.copytree(CHECKOUT, staging, symlinks=True, ignore=leave_out)
        # A module that does not compile is reported by whoever imports it.
        try:
            compile_all(self.tree, staging, staging, prefix=str(CHECKOUT))
        except LabError as error:
            print(f"lab: {error}", file=sys.stderr)
        run(["tar", "-cf", self.folder / "checkout.tar", "-C", staging, "."])
        shutil.rmtree(staging)

    def _script(self) -> str:
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": f"/{SITE}:{CHECKOUT}",
            **{name: value for name, value in os.environ.items() if name.startswith("LVSD_")},
            **self.environment,
            "LVSD_IN_VM": "1",
            "LVSD_RESULTS": str(self.results),
        }
        here = shlex.quote(str(self.folder))
        modules = " ".join((*boot_modules(), *MODULES))
        lines = [
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            f"modprobe -a {modules} 2>/dev/null; ip link set lo up; ulimit -n 65536",
            f"mkdir -p {shlex.quote(str(CHECKOUT))} && cd {shlex.quote(str(CHECKOUT))}",
            f"tar -xf {here}/checkout.tar --no-same-owner; : >{here}/booted",
            f"{shlex.join(self.command)} >{here}/stdout 2>{here}/stderr </dev/null",
            f"echo $? >{here}/status.new; mv {here}/status.new {here}/status",
            *(["systemctl poweroff --force --force"] if self.systemd else []),
        ]
        return "\n".join(["#!/bin/bash", *lines]) + "\n"


def boot_modules() -> list[str]:
    """What the shipped file has systemd load at boot: IPVS and every scheduler (it says why)."""
    lines = (CHECKOUT / "systemd/lvsd.modules-load.conf").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def wait_for_turn() -> IO[bytes]:
    """One VM at a time: emulated guests that share processors would miss protocol times.

    The lock is held until the returned file is closed, or this process ends.
    """
    turn = (cache() / "vm.lock").open("wb")
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("lab: waiting for another VM of the lab to end ...", file=sys.stderr, flush=True)
        fcntl.flock(turn, fcntl.LOCK_EX)
    return turn


class Follower:
    """Copies what a growing file has gained to a stream."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream, self._offset = path, stream, 0

    def __call__(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as source:
            source.seek(self._offset)
            data = source.read()
        self._offset += len(data)
        if data:
            self._stream.write(data)
            self._stream.flush()


def kvm_works(tree: Tree) -> bool:
    """Whether a kernel boots with KVM within some seconds; remembered in the cache folder.

    A /dev/kvm that exists proves nothing: in nested virtualisation the guest may hang.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    memory = cache() / f"kvm-{platform.node()}-{platform.release()}"
    if memory.exists():
        return memory.read_text() == "yes"
    # Without a root file system the kernel panics, and QEMU ends: all that must be seen.
    command = [
        *("qemu-system-x86_64", "-machine", "q35,accel=kvm", "-cpu", "host", "-m", "256M"),
        *("-display", "none", "-serial", "null", "-monitor", "none", "-no-reboot", "-net", "none"),
        *("-kernel", str(tree.kernel), "-append", "panic=-1"),
    ]
    try:
        done = subprocess.run(
            command, timeout=KVM_PROBE_LIMIT, capture_output=True, stdin=subprocess.DEVNULL
        )
        works = done.returncode == 0
    except (subprocess.TimeoutExpired, OSError):
        works = False
    memory.write_text("yes" if works else "no")
    return works


def check_possible() -> None:
    """LabError naming what to install when this machine cannot boot the VM."""
    if not which("qemu-system-x86_64"):
        raise LabError(
            "this kernel has no IPVS and QEMU is not installed; "
            "on Debian or Ubuntu: apt-get install --no-install-recommends qemu-system-x86"
        )
