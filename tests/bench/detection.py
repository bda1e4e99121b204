"""How soon the kernel's table knows that a real server fails, and that it is well again.

ldirectord and lvsd run from one file, keepalived from its counterpart, each in turn on a director
of its own with real web servers. A watcher polls the kernel's table; a time is from the fault to
weight 0 there, or from its end to the old weight. Faults come at random moments of a daemon's
pass, the same moments for every daemon.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench.figures import Table, ratio, sample
from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Process, Topology, wait_until
from tests.lab.weights import weights

#: Seconds.
INTERVAL, TIMEOUT = 1, 3
#: Seconds between two looks at the kernel's table.
LOOK = 0.02
#: Real servers that nobody answers for, all at once.
SILENT = 10
#: Seconds, more than two passes of serial checks.
PATIENCE = 180.0
VIP, VICTIM = "10.77.0.100", "rs1"
PATH, PAGE = "/health", "all is well"
#: The address of no machine.
NOBODY = "02:00:00:00:00:01"


def ldirectord_conf(reals: Iterable[str]) -> str:
    """The file that ldirectord and lvsd read."""
    lines = [f"checkinterval={INTERVAL}", f"checktimeout={TIMEOUT}", "failurecount=1"]
    lines += ["quiescent=yes", "supervised=yes", f"virtual={VIP}:80"]
    lines += [f"\treal={real}:80 gate" for real in reals]
    lines += ["\tservice=http", f'\trequest="{PATH}"', f'\treceive="{PAGE}"']
    return "\n".join([*lines, "\tscheduler=rr", "\tprotocol=tcp", "\tchecktype=negotiate"]) + "\n"


def keepalived_conf(reals: Iterable[str]) -> str:
    """The same in keepalived's language."""
    lines = [f"virtual_server {VIP} 80 {{", "  lvs_sched rr", "  lvs_method DR", "  protocol TCP"]
    lines += [f"  delay_loop {INTERVAL}"]
    for real in reals:
        lines += [f"  real_server {real} 80 {{", "    weight 1", "    inhibit_on_failure"]
        lines += ["    HTTP_GET {", f"      connect_timeout {TIMEOUT}", "      retry 0"]
        lines += [f"      delay_before_retry {INTERVAL}", "      url {"]
        lines += [f"        path {PATH}", "        status_code 200", f'        regex "{PAGE}"']
        lines += ["      }", "    }", "  }"]
    return "\n".join([*lines, "}"]) + "\n"


def ldirectord(lab: Topology, reals: Iterable[str]) -> Process:
    file = lab.folder / "ldirectord.cf"
    file.write_text(ldirectord_conf(reals))
    return lab.spawn_peer("dirA", ["ldirectord", file, "start"])


def lvsd(lab: Topology, reals: Iterable[str]) -> Process:
    process = Director(lab, "dirA", ldirectord_conf(reals)).start().process
    assert process is not None
    return process


def keepalived(lab: Topology, reals: Iterable[str]) -> Process:
    file = lab.folder / "keepalived.conf"
    file.write_text(keepalived_conf(reals))
    return lab.spawn_peer("dirA", ["keepalived", "-n", "-l", "-D", "-G", "-C", "-f", file])


DAEMONS = {call.__name__: call for call in (ldirectord, lvsd, keepalived)}


def watch(argv: list[str]) -> None:
    """The watcher's process: a JSON line [seconds, real server, weight] for each change."""
    known: dict[str, int] = {}
    while True:
        found, at = weights(), time.monotonic()
        for real, weight in found.items():
            if known.get(real) != weight:
                print(json.dumps([at, real, weight]), flush=True)
        known = found
        time.sleep(LOOK)


@dataclass(slots=True)
class Scene:
    """A director and its real servers; faults happen to `VICTIM`, or to all the others."""

    lab: Topology
    servers: dict[str, Process] = field(default_factory=dict)
    watcher: Process | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """Node → address of the real servers."""
        reals = self.lab.layout.reals
        return {f"rs{n}": own[0].partition("/")[0] for n, own in enumerate(reals, 1)}

    def serve(self, node: str) -> float:
        """Start a web server; the time at which it was seen to listen."""
        words = ("--mode-file", self.lab.folder / f"{node}.mode", "--page", f"{PATH}={PAGE}")
        self.servers[node] = self.lab.serve(node, *words)
        return time.monotonic()

    def kill(self, node: str) -> float:
        at = time.monotonic()
        self.servers[node].kill()
        return at

    def mode(self, word: str) -> float:
        """How the victim behaves from now on, see tests.lab.webserver."""
        (self.lab.folder / f"{VICTIM}.mode").write_text(word)
        return time.monotonic()

    def plug(self, cable: Callable[[str], None]) -> float:
        at = time.monotonic()
        cable(VICTIM)
        return at

    def silence(self, command: str) -> float:
        """What is sent to all but the victim gets lost without a word, or no longer."""
        at = time.monotonic()
        others = [address for node, address in self.addresses.items() if node != VICTIM]
        self.lab.ip("dirA", [f"neigh {command.format(address)} dev eth0" for address in others])
        return at

    def changes(self) -> Iterator[tuple[float, str, int]]:
        """What the watcher has seen: when, real server, its new weight."""
        assert self.watcher is not None
        for line in self.watcher.text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)

    def settled(self) -> bool:
        """Whether every real server is in service and nothing has changed for three passes.

        ldirectord enters them with their weights before it checks them, and takes those back.
        """
        newest = {real: (at, weight) for at, real, weight in self.changes()}
        since = time.monotonic() - 3 * INTERVAL
        calm = all(weight == 1 and at < since for at, weight in newest.values())
        return calm and len(newest) == len(self.addresses)

    def reached(self, nodes: Iterable[str], weight: int, since: float) -> float:
        """When the kernel had the last of the nodes at a weight that it got after `since`."""
        wanted = {f"{self.addresses[node]}:80" for node in nodes}
        found: dict[str, float] = {}

        def all_there() -> bool:
            for at, real, now in self.changes():
                if at >= since and now == weight:
                    found.setdefault(real, at)
            return wanted <= found.keys()

        wait_until(all_there, PATIENCE, f"weight {weight} for {sorted(wanted)}", 0.05)
        return max(found[real] for real in wanted)


Act = Callable[[Scene], float]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to the victim (or, if `others`, to all but it), and how it is undone."""

    name: str
    strike: Act
    mend: Act
    others: bool = False


def _mode(name: str, word: str) -> Fault:
    return Fault(name, lambda scene: scene.mode(word), lambda scene: scene.mode("ok"))


def _killed(name: str) -> Fault:
    return Fault(name, lambda scene: scene.kill(VICTIM), lambda scene: scene.serve(VICTIM))


SINGLE = (
    _killed("process killed"),
    Fault("host gone", lambda s: s.plug(s.lab.cut), lambda s: s.plug(s.lab.join)),
    _mode("HTTP 500", "500"),
    _mode("wrong content", "wrong"),
    _mode("hung server", "hang"),
)
BLACK_HOLE = Fault(
    f"{SILENT} black-holed at once, to the last one",
    lambda scene: scene.silence(f"replace {{}} lladdr {NOBODY} nud permanent"),
    lambda scene: scene.silence("del {}"),
    others=True,
)
MEANWHILE = _killed("meanwhile: another process killed")
ROWS = (*SINGLE, BLACK_HOLE, MEANWHILE)

#: Seconds by (fault, daemon).
Samples = defaultdict[tuple[str, str], list[float]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One life of a daemon; what it finds goes to `down` and `back`."""

    daemon: str
    moments: random.Random
    down: Samples
    back: Samples

    def single(self) -> None:
        """One after the other, with one more real server that is well."""
        with scene(self.daemon, 2) as here:
            for fault in SINGLE:
                self.strike(here, fault, INTERVAL)
                self.mend(here, fault, INTERVAL + TIMEOUT)

    def many(self) -> None:
        """A black hole for all but one, and meanwhile the death of that one."""
        stall = TIMEOUT * (SILENT if self.daemon == "ldirectord" else 1)
        with scene(self.daemon, SILENT + 1) as here:
            self.strike(here, BLACK_HOLE, INTERVAL)
            self.strike(here, MEANWHILE, INTERVAL + stall)
            self.mend(here, MEANWHILE, INTERVAL + stall)
            self.mend(here, BLACK_HOLE, INTERVAL + stall)

    def strike(self, here: Scene, fault: Fault, length: float) -> None:
        """Let it happen at some moment of a pass of `length` seconds."""
        self._measure(here, fault, fault.strike, 0, length)

    def mend(self, here: Scene, fault: Fault, length: float) -> None:
        """End it at some moment of a pass of `length` seconds."""
        self._measure(here, fault, fault.mend, 1, length)

    def _measure(self, here: Scene, fault: Fault, act: Act, weight: int, length: float) -> None:
        time.sleep(self.moments.random() * length)
        since = act(here)
        nodes = [node for node in here.addresses if (node != VICTIM) == fault.others]
        took = here.reached(nodes, weight, since) - since
        (self.back if weight else self.down)[fault.name, self.daemon].append(took)
        said = f"{self.daemon}, {fault.name}: weight {weight} after {took:.2f} s"
        print(said, file=sys.stderr, flush=True)


@contextmanager
def scene(daemon: str, reals: int) -> Iterator[Scene]:
    """Web servers, the watcher and a daemon that has put every real server into service."""
    with Topology(Layout.dr(directors=1, reals=reals)) as lab:
        here = Scene(lab)
        for node in here.addresses:
            here.serve(node)
        here.watcher = lab.fork("dirA", watch, [])
        process = DAEMONS[daemon](lab, here.addresses.values())
        try:
            wait_until(here.settled, PATIENCE, "every real server is in service", 0.1)
            yield here
        except AssertionError:
            print(f"--- {daemon}\n{process.text()[-3000:]}", file=sys.stderr)
            raise
        finally:
            process.stop()


def run(reps: int) -> list[Table]:
    """Measure every daemon in turn, `reps` times."""
    down, back = Samples(list), Samples(list)
    for number in range(reps):
        for daemon in DAEMONS:
            trial = Trial(daemon, random.Random(number), down, back)
            trial.single()
            trial.many()
    return tables(down, back)


def tables(down: Samples, back: Samples) -> list[Table]:
    """The samples, out of service and back."""
    head = ("", *DAEMONS, "lvsd to ldirectord")
    found = []
    for title, samples in (
        ("Detection: from the fault to weight 0 in the kernel, s", down),
        ("Recovery: from the end of the fault to the old weight in the kernel, s", back),
    ):
        rows = []
        for fault in ROWS:
            sides = {daemon: samples[fault.name, daemon] for daemon in DAEMONS}
            compared = ratio(sides["lvsd"], sides["ldirectord"])
            rows.append((fault.name, *map(sample, sides.values()), compared))
        found.append(Table(title, head, rows))
    last = found[-1]
    return [found[0], Table(last.title, head, last.rows, NOTES)]


NOTES = (
    f"checkinterval {INTERVAL} s, checktimeout {TIMEOUT} s, failurecount 1, quiescent; HTTP checks "
    "with a body expression. ldirectord and lvsd read the same file. keepalived has delay_loop "
    f"{INTERVAL}, connect_timeout {TIMEOUT}, retry 0 and inhibit_on_failure; it wants two good "
    "answers before a real server comes back.",
    f"Seen by a process of its own that reads the kernel's table every {LOOK * 1e3:g} ms. Faults "
    "begin and end at random moments of a pass of checks, the same ones for each daemon as far as "
    "their passes are equally long.",
    f"The first faults befall one of two real servers, the last two {SILENT + 1}. Packets to the "
    "black hole get lost without a word. Once its real servers are all at weight 0, the process of "
    "the remaining one is killed and started again; then the black hole ends.",
    "`host gone`: its cable is cut. `hung server`: it accepts and never answers.",
    "ldirectord checks one real server after the other and pauses for checkinterval between two "
    "passes: each real server that does not answer delays all the others.",
)
