"""ldirectord and lvsd side by side: the same file, the same real servers, a table each.

Both are directors of one lab, each with an IPVS table of its own; their checks reach the same
scripted servers. After each step the tables must come to what the scenario says, agree, and stay.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Self

from tests.kernel.differential.farm import Farm
from tests.kernel.differential.scenario import Scenario, Step, tokens
from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Process, Topology, wait_until

OURS, THEIRS = "dirA", "dirB"
REALS = range(20, 30)
#: Seconds that the tables may take to come to what they must be. Under emulation a program takes
#: seconds to start, and several scenarios share two processors.
SETTLED = 300.0
#: Seconds for which they must stay so: a round of checks, or several where nothing has changed.
STAY, STAY_UNCHANGED = 2.5, 6.0
#: Programs that all start at once are all late, and lvsd gives its child a minute.
_starting = threading.Lock()


class Table:
    """The IPVS table of a machine, as ipvsadm says it."""

    def __init__(self, lab: Topology, node: str) -> None:
        self._lab, self._node = lab, node
        self._seen: str | None = None
        self._lines = ""

    def read(self) -> str:
        """`ipvsadm -Sn`; it runs only when the kernel's own listing is another than before."""
        listing = Path("/proc/thread-self/net/ip_vs")
        now = self._lab.inside(self._node, listing.read_text)
        if now != self._seen:
            self._seen, self._lines = now, self._ipvsadm("-Sn")
        return "".join(sorted(self._lines.splitlines(keepends=True)))

    def thresholds(self) -> str:
        """`ipvsadm -Ln --thresholds`."""
        return "".join(sorted(self._ipvsadm("-Ln", "--thresholds").splitlines(keepends=True)))

    def change(self, words: tuple[str, ...]) -> None:
        """By hand."""
        self._ipvsadm(*words)

    def _ipvsadm(self, *words: str) -> str:
        return self._lab.exec_peer(self._node, ["ipvsadm", *words]).stdout


class Stage:
    """A lab in which one scenario after the other is played; a context manager."""

    def __init__(self) -> None:
        hosts = [(f"10.77.0.{n}/24", f"fd77::{n}/64") for n in (11, 12)]
        farm = tuple(f"10.77.0.{n}/24" for n in REALS) + tuple(f"fd77::{n}/64" for n in REALS)
        self.lab = Topology(
            Layout("nat", vips=(), sync=(), directors=tuple(hosts), reals=(farm,), client=())
        )
        self._theirs: Process | None = None
        self._scene = Path()

    def __enter__(self) -> Self:
        self.lab.__enter__()
        try:
            self.farm = Farm(self.lab, "rs1").__enter__()
        except BaseException:
            self.lab.close()
            raise
        self._director = Director(self.lab, OURS, "")
        self.ours, self.theirs = Table(self.lab, OURS), Table(self.lab, THEIRS)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.farm.__exit__()
        finally:
            self.lab.close()

    def play(self, scenario: Scenario) -> None:
        """AssertionError with tables and logs at the first step that goes otherwise."""
        self._scene = self.lab.folder / scenario.name
        (self._scene / "maintenance").mkdir(parents=True)
        self._scene.chmod(0o755)
        self._write(scenario, "config")
        for name, text in scenario.programs.items():
            program = self._scene / name
            program.write_text(text.replace("FOLDER", str(self._scene)))
            program.chmod(0o755)
        before: Step | None = None
        try:
            for server in scenario.servers:
                self.farm.serve(*server)
            for step in scenario.steps:
                self._do(scenario, step)
                same = before is not None and (before.theirs, before.ours) == (
                    step.theirs,
                    step.ours,
                )
                self._settle(scenario, step, STAY_UNCHANGED if same else STAY)
                before = step
        finally:
            self._clear()

    def _settle(self, scenario: Scenario, step: Step, stay: float) -> None:
        """Wait until both tables are as they must be, and have been for `stay` seconds."""
        since = time.monotonic()

        def stays() -> bool:
            nonlocal since
            if not self._right(step):
                since = time.monotonic()
            return time.monotonic() - since > stay

        try:
            wait_until(stays, SETTLED, interval=0.5)
        except AssertionError:
            said = self._theirs.text()[-6000:] if self._theirs else ""
            raise AssertionError(
                f"{scenario.name}: after {str(step)!r}\n"
                f"wanted: {step.theirs} and {step.key or 'the same'}: {step.ours}\n"
                f"--- ldirectord has\n{self.theirs.read()}--- lvsd has\n{self.ours.read()}"
                f"--- ldirectord said\n{said}\n--- lvsd said\n{self._director.log()[-6000:]}"
            ) from None

    def _right(self, step: Step) -> bool:
        theirs, ours = self.theirs.read(), self.ours.read()
        if (tokens(theirs, step.theirs), tokens(ours, step.ours)) != (step.theirs, step.ours):
            return False
        if step.words[0] == "thresholds":
            theirs, ours = self.theirs.thresholds(), self.ours.thresholds()
        # A named difference that is none any more has to leave the scenario.
        return (theirs != ours) == bool(step.key)

    def _do(self, scenario: Scenario, step: Step) -> None:
        verb, *words = step.words
        match verb, words:
            case "start", []:
                self._start()
            case "stop", []:
                self._stop()
            case (("reload" | "change"), _):
                if words:
                    self._write(scenario, f"config {words[0]}")
                if verb == "reload":
                    self._signal(signal.SIGHUP)
            case "file", [name]:
                (self._scene / name).touch()
            case "no-file", [name]:
                (self._scene / name).unlink()
            case "ipvsadm", _:
                for table in (self.ours, self.theirs):
                    table.change(tuple(words))
            case "gone", [real]:
                self.farm.gone(real)
            case "back", [real]:
                self.farm.back(real)
            case (("nothing" | "thresholds"), []):
                pass
            case (("ok" | "wrong" | "hang" | "refuse" | "error" | "elsewhere"), _):
                for place in words:
                    self.farm.behave(verb, place)
            case _:
                raise ValueError(f"no such step: {step}")

    def _write(self, scenario: Scenario, name: str) -> None:
        text = scenario.configs[name].replace("FOLDER", str(self._scene))
        self._director.config.write_text(text)
        (self._scene / "ldirectord.cf").write_text(text)

    def _start(self) -> None:
        self._kill()
        command = ["/usr/sbin/ldirectord", "-d", self._scene / "ldirectord.cf", "start"]
        # Without PERLIO it sets it and starts itself anew: seconds under emulation.
        env = {"PERLIO": "perlio"}
        with _starting:
            self._theirs = self.lab.spawn(THEIRS, self.lab.peer(command), env=env)
            self._director.start()
            wait_until(self._started, SETTLED, "lvsd serves, or refuses the file", interval=0.5)

    def _started(self) -> bool:
        process = self._director.process
        return process is None or not process.alive() or bool(self._director.status())

    def _signal(self, number: signal.Signals) -> None:
        for process in (self._theirs, self._director.process):
            if process is not None and process.alive():
                process.send(number)

    def _stop(self) -> None:
        self._signal(signal.SIGTERM)
        for process in (self._theirs, self._director.process):
            if process is not None:
                process.wait(60)

    def _kill(self) -> None:
        for process in (self._theirs, self._director.process):
            if process is not None:
                process.kill()
        self._theirs = self._director.process = None

    def _clear(self) -> None:
        self._kill()
        self.farm.clear()
        for node in (OURS, THEIRS):
            self.lab.exec_peer(node, ["ipvsadm", "-C"])
        shutil.rmtree(self._director.folder / "state", ignore_errors=True)
        shutil.rmtree(self._scene)
