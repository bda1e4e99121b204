"""How soon a killed server process is out of the table, with checks every five seconds.

One process serves a real server of its own, another the 1,000 addresses of one host. Each is
killed at a random moment of the interval. lvsd has watch connections (`watch=yes failfast=yes`);
keepalived finds out by its checks.
"""

from __future__ import annotations

import mmap
import os
import random
import resource
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from tests.bench.crowd import Crowd, CrowdDaemon, CrowdKeepalived, CrowdLvsd, Ldirectord, told
from tests.bench.daemons import compiler, stub_note
from tests.bench.farm import PAGE, answer, layout
from tests.bench.figures import Table, aim, aims, number, ratio, sample
from tests.lab.topology import Process, Topology, wait_until

INTERVAL, REALS = 5, 1000
ONE, ALL = "one real", f"{REALS:,} reals of one host"
#: Seconds at the median.
AIMS = {ONE: 0.05, ALL: 0.25}
CROWD = Crowd(REALS, 100, INTERVAL, watch=True, single=True)
#: Lives of lvsd for each of the peer, which takes seconds.
LIVES = 3

Samples = dict[tuple[str, str], list[float]]


@dataclass(slots=True)
class Host:
    """A machine with two server processes. `served` counts the answers of the larger one."""

    lab: Topology
    counter: mmap.mmap
    servers: dict[str, Process]

    @property
    def served(self) -> int:
        return int.from_bytes(self.counter[:8], sys.byteorder)

    def serve(self) -> None:
        """Start the processes that do not run."""
        for name, port in ((ALL, 80), (ONE, 81)):
            if name not in self.servers:
                if name == ALL:
                    self.counter[:8] = bytes(8)  # as the new process counts
                self.servers[name] = self.lab.fork("farm", self._main, [str(port)])
                self.servers[name].wait_for("ready")

    def kill(self, name: str) -> float:
        """SIGKILL; the Unix time just before it."""
        process = self.servers.pop(name)
        at = time.time()
        os.kill(process.pid, 9)
        process.wait()
        return at

    def _main(self, argv: list[str]) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        listener = socket.create_server(("", int(argv[0])), backlog=4096)
        print("ready", flush=True)
        answer(listener, PAGE, self.counter if argv[0] == "80" else None)


@contextmanager
def host() -> Iterator[Host]:
    """The lab with that machine behind dirA; everything is gone at the end."""
    with Topology(layout()) as lab:
        lab.ip("farm", ["route add local 10.78.0.0/16 dev lo"])
        lab.ip("dirA", ["route add 10.78.0.0/16 via 10.77.0.50"])
        yield Host(lab, mmap.mmap(-1, 8), {})


def settle(here: Host, daemon: CrowdDaemon | Ldirectord, crowd: Crowd) -> None:
    """Wait until everything was checked, and lvsd's watch connections stand."""
    wanted = crowd.reals + crowd.single

    def watched() -> bool:
        status = daemon.director.status() if isinstance(daemon, CrowdLvsd) else {}
        checks = status.get("checks", {})
        return bool(checks.get("watching") == wanted and checks["finished"] >= 2 * wanted)

    def served() -> bool:
        return here.served >= before + 2 * crowd.reals

    before = here.served
    settled = watched if isinstance(daemon, CrowdLvsd) else served
    wait_until(settled, 120 + crowd.reals / 5, f"{daemon.name} has settled", 0.25)


def life(
    here: Host,
    daemon: CrowdDaemon | Ldirectord,
    moments: random.Random,
    reached: Callable[[str, float], float],
    names: Sequence[str] = (ONE, ALL),
) -> Iterator[tuple[str, float]]:
    """Kill the processes under one daemon: (which, seconds until the table was told of all).

    `reached(name, since)` is when that was, infinite until then.
    """
    here.serve()
    daemon.start()
    try:
        settle(here, daemon, daemon.crowd)
        for name in names:
            time.sleep(moments.random() * INTERVAL)
            since = here.kill(name)
            wait_until(lambda n=name, s=since: reached(n, s) < float("inf"), 120, name, 0.1)
            yield name, reached(name, since) - since
    except AssertionError:
        print(f"--- {daemon.name}\n{daemon.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        daemon.kill_everything()


def run(reps: int) -> list[Table]:
    """Two tables: what was measured, what was aimed at."""
    found: Samples = defaultdict(list)
    kinds = [CrowdLvsd] * LIVES + [CrowdKeepalived] * bool(compiler())
    with host() as here:
        for rep in range(reps):
            for turn, kind in enumerate(kinds):
                daemon = kind(here.lab, CROWD)

                def reached(name: str, since: float, seen: CrowdDaemon = daemon) -> float:
                    return told(seen, 1 if name == ONE else REALS, since)

                for name, took in life(here, daemon, random.Random(rep * 100 + turn), reached):
                    found[name, daemon.name].append(took)
                    said = f"{daemon.name}, {name}: {took * 1e3:.0f} ms"
                    print(said, file=sys.stderr, flush=True)
    return [
        told_table(found, ("lvsd", "keepalived"), "native, ms"),
        aimed(found, "detection, decision and table in memory, native"),
    ]


def told_table(found: Samples, daemons: Sequence[str], where: str) -> Table:
    rows = []
    for name in AIMS:
        sides = [found.get((name, daemon), []) for daemon in daemons]
        compared = [ratio(sides[0], side) for side in sides[1:]]
        rows.append((name, *(sample(side, 1e3) for side in sides), *compared))
    return Table(
        f"From the death of a server process until the table was told of all its reals, {where}",
        ("killed", *daemons, *(f"lvsd to {peer}" for peer in daemons[1:])),
        rows,
        (
            f"checkinterval {INTERVAL} s, HTTP checks with a body expression, failurecount 1, "
            "killed at random moments of the interval. lvsd: watch=yes, failfast=yes, up to the "
            "log's line that the table (in memory) was told; keepalived: delay_loop "
            f"{INTERVAL}, retry 0, up to its last call of the stub.",
            "Seen from outside, to the millisecond: lvsd logs to a file, the stub writes one.",
            stub_note(),
        ),
    )


def aimed(found: Samples, what: str) -> Table:
    """The targets of the median."""
    rows = []
    for name, limit in AIMS.items():
        if values := found.get((name, "lvsd")):
            reached = median(values) < limit
            target = f"< {limit * 1e3:.0f} ms at the median"
            measured = f"{number(median(values) * 1e3)} ms"
            rows.append(aim(f"{name} killed: {what}", target, measured, reached))
    return aims("A server process is killed", rows)
