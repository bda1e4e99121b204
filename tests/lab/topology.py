"""A cluster in network namespaces: client, dirA, dirB, rs1..rsN, and a router if wanted.

A Layout says which machine has which addresses; a Topology makes it and removes it again,
whatever happens (context manager, atexit, and a Reaper for the rest). Machines hang on
switches, bridges in a namespace of their own, each by a cable that can be cut at the switch's
side, so that the machine sees its carrier go. `lan` carries the service, `sync` (eth1 of the
directors) the heartbeat, `inner` (eth2 of the directors) the real servers of LVS-NAT, `outer`
the client behind a router. Names carry `lvsd-<process id>-`, so runs do not meet.
A program is started from a thread that has entered the namespace: no `ip netns exec`, since
under emulation each program start costs 100 ms.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NoReturn, ParamSpec, TypeVar

from tests.lab import client, peer, webserver
from tests.lab.layout import Layout
from tests.lab.reaper import NAMESPACES, Reaper, kill_group, remove_namespaces, stale
from tests.lab.tree import which

P = ParamSpec("P")
T = TypeVar("T")
CLONE_NEWNET = 0x40000000
PREFIX = "lvsd-"
_serial = itertools.count()


def wait_until(
    true: Callable[[], object], timeout: float = 10.0, what: str = "", interval: float = 0.02
) -> None:
    """Poll until `true()` holds; AssertionError with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or true}")
        time.sleep(interval)


class Forked:
    """What Process needs of a Popen, for a child that was only forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (3600.0 if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


Program = subprocess.Popen[bytes] | Forked


@dataclass(slots=True)
class Process:
    """A program running on a machine of the topology; its output goes to `log`."""

    node: str
    popen: Program
    log: Path
    _gone: Callable[[int], None] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def text(self) -> str:
        """What it has written so far, stdout and stderr together."""
        return self.log.read_text(errors="replace")

    def alive(self) -> bool:
        return self.popen.poll() is None

    def wait_for(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Wait until its output matches; AssertionError with the output when it does not."""
        deadline = time.monotonic() + timeout
        while (match := re.search(pattern, self.text())) is None:
            if time.monotonic() > deadline or not self.alive():
                if match := re.search(pattern, self.text()):
                    return match
                state = "still runs" if self.alive() else f"ended with {self.popen.returncode}"
                raise AssertionError(f"no {pattern!r}; {self.node} {state}:\n{self.text()}")
            time.sleep(0.02)
        return match

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself."""
        self.popen.send_signal(number)

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit status; subprocess.TimeoutExpired."""
        return self.popen.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to its whole process group (children that left the group stay)."""
        kill_group(self.pid)
        self.popen.wait()
        self._gone(self.pid)

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, then SIGKILL when that is not heard in time; the exit status."""
        if self.alive():
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout)
        self.kill()
        return self.popen.wait()


class Topology:
    """Build with `with Topology(Layout.dr()) as lab:`; see Layout for what there is.

    `folder` is a scratch folder for configurations and logs, removed at the end.
    """

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = layout or Layout.dr()
        self.prefix = f"{PREFIX}{os.getpid()}-{next(_serial)}-"
        self.folder = Path()
        self.processes: list[Process] = []
        self._reaper: Reaper | None = None
        self._ports: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Topology:
        if os.geteuid() != 0:
            raise PermissionError("network namespaces need root")
        remove_namespaces(stale(PREFIX))
        self.folder = Path(tempfile.mkdtemp(prefix=self.prefix))
        self.folder.chmod(0o755)
        self._reaper = Reaper()
        self._reaper.add("folder", str(self.folder))
        atexit.register(self.close)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill every process of the topology and remove its namespaces. May be repeated."""
        if self._reaper is None:
            return
        atexit.unregister(self.close)
        for process in self.processes:
            process.kill()
        names = self._names()
        remove_namespaces(names)
        for name in names:
            self._reaper.remove("netns", name)
        self._reaper.close()
        self._reaper = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def netns(self, node: str) -> str:
        """The name of a machine's namespace, as `ip -n` takes it."""
        return self.prefix + node

    def inside(self, node: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread that has entered the machine's network.

        Sockets it opens and /proc/sys/net it reads are the machine's.
        """
        result: list[T] = []
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                _enter(self.netns(node))
                result.append(call(*args, **kwargs))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    def exec(
        self,
        node: str,
        command: Sequence[str | Path],
        *,
        timeout: float = 60.0,
        check: bool = True,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a machine to its end; AssertionError with its output if it fails."""
        words = [str(word) for word in command]
        done = self.inside(
            node,
            lambda: subprocess.run(
                words, timeout=timeout, capture_output=True, text=True, input=input or ""
            ),
        )
        if check and done.returncode:
            said = done.stdout + done.stderr
            raise AssertionError(f"{node}: {shlex.join(words)} gave {done.returncode}:\n{said}")
        return done

    def spawn(
        self,
        node: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a program on a machine, in a session and process group of its own."""
        words = [str(word) for word in command]
        log = self.folder / f"{len(self.processes)}-{node}-{Path(words[0]).name}.log"

        def start() -> subprocess.Popen[bytes]:
            with log.open("wb") as output:
                return subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    pass_fds=pass_fds,
                )

        return self._register(node, self.inside(node, start), log)

    def serve(self, node: str, *words: object) -> Process:
        """Start tests.lab.webserver on a machine, named after it; returns once it listens.

        `words` are its command line, e.g. "--port", 8080, "--mode-file", path.
        """
        started = self.fork(node, webserver.main, ["--name", node, *map(str, words)])
        started.wait_for('"ready"')
        return started

    def ask(self, url: str, *words: object, node: str = "client") -> Process:
        """Start tests.lab.client; read its `log` with client.requests() and its kin."""
        return self.fork(node, client.main, [url, *map(str, words)])

    def fork(self, node: str, call: Callable[[list[str]], None], argv: list[str]) -> Process:
        """Like spawn, but a function in a copy of this process: no Python start (seconds in
        the VM) to wait for."""
        log = self.folder / f"{len(self.processes)}-{node}-{call.__module__.split('.')[-1]}.log"
        log.touch()
        with warnings.catch_warnings():
            # Python 3.12 warns of fork with threads; none runs besides this one.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _become(self.netns(node), log, call, argv)
        return self._register(node, Forked(pid), log)

    def _register(self, node: str, popen: Program, log: Path) -> Process:
        reaper = self._open()
        reaper.add("group", popen.pid)
        process = Process(node, popen, log, lambda pid: reaper.remove("group", pid))
        self.processes.append(process)
        return process

    def peer(self, command: Sequence[str | Path]) -> list[str]:
        """The words that run a program of the lab's tree, which sees `folder` at its own path."""
        return peer.words(command, self.folder)

    def spawn_peer(self, node: str, command: Sequence[str | Path]) -> Process:
        """Start keepalived, ldirectord, FRR, ... of the tree on a machine."""
        return self.spawn(node, self.peer(command))

    def exec_peer(
        self, node: str, command: Sequence[str | Path], *, timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool of the tree (ipvsadm, vtysh, nft, tcpdump, ...) on a machine."""
        return self.exec(node, self.peer(command), timeout=timeout, check=check)

    def cut(self, node: str, interface: str = "eth0") -> None:
        """Pull the cable at the switch: the machine loses its carrier."""
        self._port(node, interface, "down")

    def join(self, node: str, interface: str = "eth0") -> None:
        """Plug the cable in again."""
        self._port(node, interface, "up")

    def port(self, node: str, interface: str = "eth0") -> str:
        """The switch's end of a cable: an interface of the machine `sw`."""
        return self._ports[node, interface]

    def sysctl(self, node: str, values: Mapping[str, object]) -> None:
        """Set `net` sysctls, e.g. {"ipv4/ip_forward": 1}; OSError for one that is not there."""

        def write() -> None:
            for name, value in values.items():
                Path("/proc/sys/net", name).write_text(str(value))

        self.inside(node, write)

    def addresses(self, node: str, interface: str = "eth0") -> set[str]:
        """The addresses an interface holds now, without prefix length or link-local ones."""
        said = self.exec(node, ["ip", "-o", "addr", "show", "dev", interface]).stdout
        found = re.findall(r"\binet6? ([0-9a-f.:]+)", said)
        return {address for address in found if not address.startswith("fe80:")}

    def ip(self, node: str, lines: Iterable[str]) -> None:
        """Several `ip` commands on a machine in one go (`ip -batch`)."""
        _batch(lines, self.netns(node))

    def _open(self) -> Reaper:
        if self._reaper is None:
            raise RuntimeError("the topology is closed")
        return self._reaper

    def _names(self) -> list[str]:
        return [self.netns(node) for node in ("sw", *self.layout.nodes)]

    def _port(self, node: str, interface: str, state: str) -> None:
        _batch([f"link set {self._ports[node, interface]} {state}"], self.netns("sw"))

    def _build(self) -> None:
        reaper = self._open()
        if self.layout.method == "tun" and (modprobe := which("modprobe")):
            subprocess.run([modprobe, "-a", "ipip", "ip6_tunnel"], capture_output=True, check=False)
        names = self._names()
        for name in names:
            reaper.add("netns", name)
        _batch([f"netns add {name}" for name in names])
        self._wire()
        for node in self.layout.nodes:
            _batch(self.layout.commands(node), self.netns(node))
            self.sysctl(node, self.layout.sysctls(node))

    def _wire(self) -> None:
        lines = ["link set lo up"]
        for switch in self.layout.switches:
            bridge = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
            lines += [f"link add name {switch} {bridge}", f"link set {switch} up"]
        for number, cable in enumerate(self.layout.cables):
            port = self._ports[cable.node, cable.interface] = f"p{number}"
            peer = f"type veth peer name {cable.interface} netns {self.netns(cable.node)}"
            lines += [
                f"link add name {port} {peer}",
                f"link set {port} master {cable.switch} up",
            ]
        # Duplicate address detection would keep IPv6 addresses unusable for a second or two.
        for node in ("sw", *self.layout.nodes):
            self.sysctl(node, {"ipv6/conf/default/accept_dad": 0, "ipv6/conf/all/accept_dad": 0})
        _batch(lines, self.netns("sw"))


def _become(name: str, log: Path, call: Callable[[list[str]], None], argv: list[str]) -> NoReturn:
    """The forked child: in the namespace, in a session of its own, with `log` as output."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # The reaper's pipe above all: it must close when the parent dies.
        os.closerange(3, 65536)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        _enter(name)
        call(argv)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _enter(name: str) -> None:
    """Move the calling thread into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (NAMESPACES / name).open() as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, f"setns {name}: {os.strerror(code)}")


def _batch(lines: Iterable[str], name: str | None = None) -> None:
    """One `ip` for many commands; AssertionError with what it said when one fails."""
    command = ["ip", *(["-n", name] if name else []), "-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", text=True, capture_output=True)
    if done.returncode:
        raise AssertionError(f"ip -batch in {name or 'the root namespace'}: {done.stderr.strip()}")
