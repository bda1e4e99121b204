"""A switch, directors and a client, each in a namespace of its own, with real sockets.

Every name carries this process's number and a serial one, and everything is removed again
whatever happens.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lvsd.core.model import RouterConfig, Vip
from lvsd.daemon.messages import router_to_wire
from tests.lab.family import children
from tests.lab.reaper import Reaper

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VIP, VIP6 = "10.77.0.100", "fd77::100"
_serial = itertools.count()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def eventually(claim: Callable[[], Any], timeout: float = 30.0) -> Any:
    """Poll until the claim holds; what it said. A busy machine takes seconds to start a daemon."""
    deadline = time.monotonic() + timeout
    while not (value := claim()):
        assert time.monotonic() < deadline, "did not become true in time"
        time.sleep(0.02)
    return value


#: A reply later than this comes too late.
PATIENCE = 0.5


def _answered(sent_at: float, at: float) -> bool:
    return 0 <= at - sent_at < PATIENCE


class Probe:
    """A running probe.py; `stop` gives its lines."""

    def __init__(self, namespace: str, mode: str, vip: str) -> None:
        argv = ["ip", "netns", "exec", namespace, sys.executable, str(HERE / "probe.py"), mode, vip]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def stop(self) -> list[list[float]]:
        out, _ = self.process.communicate()
        return [[float(word) for word in line.split()] for line in out.splitlines()]

    def replies(self) -> int:
        """How many requests were answered in time."""
        return sum(_answered(*line) for line in self.stop())

    def longest_gap(self) -> float:
        """Seconds from the first lost request to the next answered one, at most.

        Before the first reply and after the last nothing counts.
        """
        longest, replies, lost_at = 0.0, 0, None
        for sent_at, at in self.stop():
            if not _answered(sent_at, at):
                lost_at = lost_at or sent_at
                continue
            if replies and lost_at is not None:
                longest = max(longest, sent_at - lost_at)
            replies, lost_at = replies + 1, None
        assert replies > 5, "hardly any replies"
        return longest


class Director:
    """One lvsd main process with a scripted child, in its namespace."""

    def __init__(self, namespace: str, address: str, folder: Path) -> None:
        self.namespace, self.address, self.folder = namespace, address, folder
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    def start(self, *routers: RouterConfig, say: tuple[dict[str, Any], ...] = ()) -> None:
        self.write(*routers, say=say)
        self.launch()

    def launch(self) -> None:
        """Start with what was written."""
        argv = ["ip", "netns", "exec", self.namespace, sys.executable, str(HERE / "launch_main.py")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*argv, str(self.folder)],
                stderr=log,
                stdout=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def write(self, *routers: RouterConfig, say: tuple[dict[str, Any], ...] = ()) -> None:
        document = {"routers": [router_to_wire(r) for r in routers], "say": say}
        (self.folder / "routers.json").write_text(json.dumps(document))

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> dict[str, int]:
        """Process names to ids: the guard and the child."""
        return {name: pid for pid, (name, _) in children(self.pid).items()}

    def python(self, script: str) -> None:
        """Run a few lines inside the namespace."""
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", script]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def states(self) -> list[dict[str, Any]]:
        """The routers as last told to the child."""
        path = self.folder / "routers.said"
        lines = path.read_text().splitlines() if path.exists() else []
        said = [json.loads(line) for line in lines]
        told = [m["routers"] for m in said if m["type"] == "routerstates"]
        return told[-1] if told else []

    def state(self) -> str:
        return next((r["state"] for r in self.states()), "")

    def holds(self, vip: str = VIP) -> bool:
        return any(a["local"] == vip for a in self.entries())

    def entries(self) -> list[dict[str, Any]]:
        out = subprocess.run(
            ["ip", "-n", self.namespace, "-j", "address", "show"], capture_output=True, check=True
        ).stdout
        return [a for link in json.loads(out) for a in link.get("addr_info", [])]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def end(self) -> None:
        """Whatever is left, by process id."""
        if self.process is None or self.process.poll() is not None:
            return
        pids = [*self.children().values(), self.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


def router(**changes: Any) -> RouterConfig:
    fields: dict[str, Any] = {
        "name": "VI_1",
        "interface": "eth0",
        "vrid": 51,
        "priority": 100,
        "addresses": (Vip(ip_address(VIP), 32),),
    }
    return RouterConfig(**fields | changes)


def owners_overlap(first: list[list[float]], second: list[list[float]]) -> float:
    """Seconds during which both namespaces held the address."""
    return sum(max(0.0, min(b, d) - max(a, c)) for a, b in _spans(first) for c, d in _spans(second))


def _spans(lines: list[list[float]]) -> list[tuple[float, float]]:
    end = time.monotonic()
    ends = [*(at for at, _ in lines[1:]), end]
    return [(at, until) for (at, held), until in zip(lines, ends, strict=True) if held]


class Network:
    """A bridge, a client and directors behind it; and what tests need to speak about them."""

    vip, vip6 = VIP, VIP6
    ip = staticmethod(ip)
    eventually = staticmethod(eventually)
    router = staticmethod(router)
    overlap = staticmethod(owners_overlap)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"lvsd{os.getpid()}-{next(_serial)}-"
        self.namespaces: list[str] = []
        self.directors: list[Director] = []

    def __enter__(self) -> "Network":
        self._reaper = Reaper()
        try:
            self._build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _build(self) -> None:
        self.switch = self._namespace("sw")
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        self.client = self._host("cl", 200)

    def director(self, number: int) -> Director:
        namespace = self._host(f"d{number}", number)
        director = Director(namespace, f"10.77.0.{number}", self.folder / f"d{number}")
        self.directors.append(director)
        return director

    def pair(self) -> tuple[Director, Director]:
        return self.director(1), self.director(2)

    def plug(self, director: Director, *, connected: bool) -> None:
        """Pull or plug the director's cable at the switch: no carrier is lost at its end."""
        port = "p" + director.namespace.removeprefix(self.prefix)
        master = ["master", "br0"] if connected else ["nomaster"]
        ip("-n", self.switch, "link", "set", port, *master)

    def isolate(self, *directors: Director, isolated: bool) -> None:
        """Whether these can reach everybody but each other, at the switch."""
        for director in directors:
            port = "p" + director.namespace.removeprefix(self.prefix)
            words = ["bridge", "-n", self.switch, "link", "set", "dev", port]
            flag = "on" if isolated else "off"
            subprocess.run([*words, "isolated", flag], check=True, capture_output=True)

    def ping(self, vip: str = VIP) -> Probe:
        return Probe(self.client, "ping", vip)

    def own(self, director: Director, vip: str = VIP) -> Probe:
        return Probe(director.namespace, "own", vip)

    def remove(self) -> None:
        for director in self.directors:
            director.end()
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True)
        self._reaper.close()

    def _namespace(self, name: str) -> str:
        namespace = self.prefix + name
        self.namespaces.append(namespace)
        self._reaper.add("netns", namespace)
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
        return namespace

    def _host(self, name: str, number: int) -> str:
        namespace = self._namespace(name)
        peer = ("type", "veth", "peer", "name", f"p{name}", "netns", self.switch)
        ip("link", "add", "eth0", "netns", namespace, *peer)
        ip("-n", self.switch, "link", "set", f"p{name}", "master", "br0", "up")
        ip("-n", namespace, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
        ip("-n", namespace, "address", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
        ip("-n", namespace, "link", "set", "eth0", "address", f"02:00:00:77:00:{number:02x}")
        ip("-n", namespace, "link", "set", "eth0", "up")
        # An IPv6 link-local address is usable at once only without duplicate detection.
        subprocess.run(
            ["ip", "netns", "exec", namespace, "tee", "/proc/sys/net/ipv6/conf/eth0/accept_dad"],
            input=b"0",
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return namespace
