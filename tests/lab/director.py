"""A real lvsd on a machine of the topology, as a test or the demo sees it from outside."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lvsd.control.client import Unreachable, request
from tests.lab.family import children
from tests.lab.topology import Process, Topology, wait_until

#: Starting Python costs seconds under emulation.
START_TIMEOUT = 60.0


class Director:
    """`lvsd run` with a configuration, a socket and directories of its own.

    The directories survive `stop` and `start`, as on a machine that is rebooted.
    """

    def __init__(self, lab: Topology, node: str, config: str, *, table: str = "kernel") -> None:
        self.lab, self.node, self.table = lab, node, table
        self.folder = lab.folder / f"lvsd-{node}"
        self.folder.mkdir()
        self.config = self.folder / "lvsd.conf"
        self.config.write_text(config)
        self.process: Process | None = None

    def start(self) -> Director:
        """Start the daemon; does not wait for anything."""
        words = ["run", "--config", self.config, "--runtime-dir", self.folder / "run"]
        words += ["--state-dir", self.folder / "state", "--table", self.table]
        words += ["--node", self.node]
        self.process = self.lab.spawn(self.node, self._lvsd(words))
        return self

    def command(self, *words: str | Path, check: bool = True) -> str:
        """What an `lvsd` command prints on the director; AssertionError if it fails."""
        return self.lab.exec(self.node, self._lvsd(words), check=check).stdout

    def status(self) -> dict[str, Any]:
        """`lvsd status --json`; an empty mapping while nobody answers."""
        try:
            code, answer = request(str(self.socket), "GET", "/v1/status", timeout=10.0)
        except Unreachable:
            return {}
        return dict(answer) if code == 200 else {}

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "lvsd.sock"

    @property
    def state(self) -> str:
        """The state of the first router, "" while nobody answers."""
        return next((str(router["state"]) for router in self.status().get("vrrp", [])), "")

    def real(self, name: str) -> dict[str, Any]:
        """The first real server of that name in the status, empty if there is none."""
        virtuals = self.status().get("virtuals", [])
        reals = [real for virtual in virtuals for real in virtual["reals"]]
        return next((real for real in reals if real["real"] == name), {})

    def wait_state(self, state: str, timeout: float = START_TIMEOUT) -> None:
        """Wait until the first router is in `state`."""
        self._wait(lambda: self.state == state, timeout, f"{self.node} is {state}")

    def wait_health(self, name: str, health: str, timeout: float = START_TIMEOUT) -> None:
        """Wait until the director judges a real server so."""
        self._wait(lambda: self.real(name).get("health") == health, timeout, f"{name} is {health}")

    def wait_judged(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until there is a table and every real server is known to be up or down."""

        def judged() -> bool:
            virtuals = self.status().get("virtuals", [])
            reals = [real for virtual in virtuals for real in virtual["reals"]]
            return bool(reals) and all(real["health"] != "unknown" for real in reals)

        self._wait(judged, timeout, f"{self.node} has judged every real server")

    def ipvsadm(self, *options: str) -> str:
        """What ipvsadm itself prints on the director, `-Sn` unless told otherwise."""
        return self.lab.exec_peer(self.node, ["ipvsadm", *(options or ("-Sn",))]).stdout

    def holds(self, vip: str) -> bool:
        """Whether the address is on the director's eth0."""
        return vip in self.lab.addresses(self.node)

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.send(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill_main(self) -> None:
        """SIGKILL to the main process alone: guard and child are on their own."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_everything(self) -> None:
        """SIGKILL to main process, child and guard at once, so that nobody can clean up."""
        assert self.process is not None
        family = [self.process.pid, *self.children()]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def children(self) -> list[int]:
        """The process ids of guard and child."""
        assert self.process is not None
        return list(children(self.process.pid))

    def log(self) -> str:
        """What the daemon has written so far."""
        return self.process.text() if self.process else ""

    def _wait(self, true: Callable[[], object], timeout: float, what: str) -> None:
        try:
            wait_until(true, timeout, what, interval=0.05)
        except AssertionError as late:
            raise AssertionError(f"{late}\nstatus: {self.status()}\nlog:\n{self.log()}") from None

    def _lvsd(self, words: Sequence[str | Path]) -> list[str | Path]:
        given: list[str | Path] = [sys.executable, "-m", "lvsd", *words]
        return given if "check" in words else [*given, "--socket", self.socket]
