"""Punctuality of adverts, whatever else the daemon does: lvsd beside keepalived, in turn.

Lateness is by how much the gap between one advert and the next, by the kernel's timestamps at the
switch, exceeds the interval: each advert against a grid that begins with the one before it, for
both daemons count their next interval from when they have sent. The long run has a pair of each
daemon at the same time and counts what a backup takes for the death of a living master.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from lvsd.control.client import request, stream
from tests.bench.daemons import (
    DAEMONS,
    REAL_TIME_NOTE,
    SOURCES,
    Daemon,
    Job,
    Keepalived,
    Lvsd,
    checkers,
    lvsd_conf,
    stub_note,
)
from tests.bench.farm import Farm, farm
from tests.bench.figures import Table, aim, aims, number, percentile
from tests.bench.observer import Observer
from tests.bench.pair import Pair
from tests.lab.topology import Topology, wait_until

#: Seconds by which lvsd may be behind keepalived at the 99th and 99.9th percentile.
ALLOWED = 0.001
POINTS = (50.0, 99.0, 99.9)

Kind = type[Lvsd] | type[Keepalived]
Stress = Callable[[Daemon, Job, float], int]


@dataclass(frozen=True, slots=True)
class Row:
    """What goes on while adverts are due, and with which daemons."""

    name: str
    job: Job
    stress: Stress
    kinds: tuple[Kind, ...]


def wait(daemon: Daemon, job: Job, until: float) -> int:
    """Nothing more than the job."""
    time.sleep(until - time.monotonic())
    return 0


def reload(daemon: Daemon, job: Job, until: float) -> int:
    """Every weight changed, again and again; how often."""
    number = 0
    while time.monotonic() < until:
        number += 1
        daemon.reload(replace(job, weight=1 + number % 2))
    return number


def dump(daemon: Daemon, job: Job, until: float) -> int:
    """The whole status with every real server, again and again; how often."""
    assert isinstance(daemon, Lvsd)
    number = 0
    while time.monotonic() < until:
        number += 1
        for path in ("/v1/status", "/metrics"):
            with stream(str(daemon.director.socket), path, 60) as (_, lines):
                deque(lines, maxlen=0)
    return number


def hang(daemon: Daemon, job: Job, until: float) -> int:
    """Reloads of a configuration with a name that no name server answers for; how often."""
    assert isinstance(daemon, Lvsd)
    named = "virtual=10.79.1.1:80\n\treal=silent.example.test:80 gate\n\tchecktype=on\n"
    daemon.director.config.write_text(lvsd_conf(job) + named)
    number = 0
    while time.monotonic() < until:
        number += 1  # refused after the resolver's patience
        request(str(daemon.director.socket), "POST", "/v1/reload", timeout=120)
    return number


@contextmanager
def silence(lab: Topology) -> Iterator[None]:
    """Name servers on dirA that hear and say nothing, at the addresses that programs here ask."""
    found = re.findall(r"^nameserver ([\d.]+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    servers = found or ["127.0.0.1"]
    lab.ip("dirA", [f"addr add {one}/32 dev lo" for one in servers if not one.startswith("127.")])
    with ExitStack() as held:
        for one in servers:
            server = lab.inside("dirA", socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
            held.enter_context(server).bind((one, 53))
        yield


def rows(advertint: float) -> list[Row]:
    """The rows of the table."""
    both = checkers()
    idle = Job(advertint=advertint)
    busy = replace(idle, reals=5000, services=50, tls=5)
    huge = replace(idle, idle_reals=40_000)
    return [
        Row("idle", idle, wait, DAEMONS),
        Row("5,000 checks/s, 10 % over TLS", busy, wait, both),
        Row("the same by 2 workers", replace(busy, checkers=2), wait, (Lvsd,)),
        Row("reloads of 40,000 reals, one after the other", huge, reload, both),
        Row("status and metrics of 40,000 reals in a loop", huge, dump, (Lvsd,)),
        Row("reloads that wait for a silent name server", idle, hang, (Lvsd,)),
    ]


@dataclass(slots=True)
class Seen:
    """Of one row and daemon: seconds of lateness, requests per second, how often it was done."""

    lateness: list[float]
    rates: list[float]
    times: int = 0

    def add(self, other: Seen) -> None:
        """One more window."""
        self.lateness += other.lateness
        self.rates += other.rates
        self.times += other.times


def window(inside: Farm, observer: Observer, kind: Kind, row: Row, seconds: float) -> Seen:
    """What was seen of one daemon during a window."""
    job = row.job
    with inside.running(kind, job) as daemon:
        # With services a director may wait for its checks before it becomes master.
        observer.advert(SOURCES["dirA"], time.monotonic(), 60)
        wait_until(lambda: observer.holds("dirA"), 10, "the VIP is there")
        began, served = time.monotonic(), inside.served
        times = row.stress(daemon, job, began + seconds)
        ended = time.monotonic()
        rate = (inside.served - served) / (ended - began)
        observer.look()
    sent = sorted(a.at for a in observer.adverts if began <= a.at <= ended)
    inside.lab.exec("dirA", ["ip", "addr", "flush", "dev", "eth0", "to", "10.77.0.100"])
    late = [later - earlier - job.advertint for earlier, later in pairwise(sent)]
    return Seen(late, [rate], times)


def run(reps: int, seconds: float, advertint: float) -> list[Table]:
    """What was measured, and what was aimed at."""
    todo = rows(advertint)
    found: dict[tuple[str, str], Seen] = defaultdict(lambda: Seen([], []))
    with farm() as inside, silence(inside.lab):
        observer = Observer(inside.lab).start()
        for rep in range(reps):
            for row in todo:
                for kind in row.kinds[:: 1 if rep % 2 == 0 else -1]:
                    new = window(inside, observer, kind, row, seconds)
                    found[row.name, kind.name].add(new)
                    said = f"{kind.name}, {row.name}: at most {max(new.lateness) * 1e3:.1f} ms late"
                    print(said, file=sys.stderr, flush=True)
    return [_measured(todo, found, advertint, (reps, seconds)), _aimed(todo, found)]


def _measured(
    todo: list[Row], found: dict[tuple[str, str], Seen], advertint: float, size: tuple[int, float]
) -> Table:
    cells = []
    for row in todo:
        for kind in row.kinds:
            seen = found[row.name, kind.name]
            late = [value * 1e3 for value in seen.lateness]
            shown = (
                f"{value:.2f}" for value in (*(percentile(late, p) for p in POINTS), max(late))
            )
            rate = f"{sum(seen.rates) / len(seen.rates):.0f}" if row.job.reals else "–"
            cells.append(
                (row.name, kind.name, *shown, str(len(late)), rate, str(seen.times or "–"))
            )
    return Table(
        f"Lateness of adverts every {advertint * 1e3:g} ms, in ms, native",
        ("while", "daemon", "p50", "p99", "p99.9", "max", "n", "requests/s", "times"),
        cells,
        (
            f"{size[0]} windows of {size[1]:g} s each, in turn; by how much a gap between two "
            "adverts exceeds the interval, by the kernel's timestamps at the switch.",
            "Director, farm and bench share the processors. `times`: dumps, or reloads, each of "
            "which changes every weight (keepalived: one every 2 s) or asks for a name.",
            "At a reload the process of keepalived's that speaks VRRP reads the whole file itself.",
            REAL_TIME_NOTE,
            stub_note(),
        ),
    )


def _aimed(todo: list[Row], found: dict[tuple[str, str], Seen]) -> Table:
    """The 99th and 99.9th percentiles against keepalived's."""
    cells = []
    for row in todo:
        if len(row.kinds) < 2 or (row.stress is wait and not row.job.reals):
            continue
        ours, theirs = (found[row.name, kind.name].lateness for kind in (Lvsd, Keepalived))
        for point in POINTS[1:]:
            behind = percentile(ours, point) - percentile(theirs, point)
            target = f"p{point:g} at most {ALLOWED * 1e3:g} ms later than keepalived"
            work = f"adverts every {row.job.advertint * 1e3:g} ms, {row.name}"
            cells.append(aim(work, target, f"{behind * 1e3:+.2f} ms", behind <= ALLOWED))
    return aims("Lateness of adverts", cells, work="while")


def run_long(minutes: float = 10.0, advertint: float = 0.01) -> list[Table]:
    """False transitions of a backup, with a pair of each daemon at the same time, checking."""
    job = Job(advertint=advertint, reals=500, services=10, tls=1)
    with ExitStack() as stack:
        pairs = [_pair(stack, kind, job) for kind in checkers()]
        began = time.monotonic()
        time.sleep(minutes * 60)
        ended = time.monotonic()
        cells = [_steadiness(pair, began, ended) for pair in pairs]
    counts = [int(cell[1]) for cell in cells]
    said = ("no more than keepalived", f"{counts[0]}; keepalived {counts[-1]}")
    false = f"adverts every {advertint * 1e3:g} ms, {minutes:g} minutes: false transitions"
    title = f"A pair with adverts every {advertint * 1e3:g} ms for {minutes:g} minutes, native"
    note = (
        "Both pairs at the same time; each of the four daemons makes 500 checks a second, a tenth "
        "of them over TLS. A false transition is the first advert of a backup whose master lives."
    )
    head = ("daemon", "false transitions", "adverts", *(f"late ms: p{p:g}" for p in POINTS), "max")
    return [
        Table(title, head, cells, (note, REAL_TIME_NOTE, stub_note())),
        aims("A pair", [aim(false, *said, counts[0] <= counts[-1])]),
    ]


def _pair(stack: ExitStack, kind: Kind, job: Job) -> Pair:
    """A settled pair in networks of its own."""
    inside = stack.enter_context(farm())
    observer = Observer(inside.lab).start()
    first, second = (kind(inside.lab, node, job) for node in SOURCES)
    pair = Pair(inside.lab, observer, job, first, second)
    stack.callback(pair.close)
    pair.start()
    return pair


def _steadiness(pair: Pair, began: float, ended: float) -> tuple[str, ...]:
    """The row of a pair: how often the backup spoke, and the master's lateness."""
    pair.observer.look()
    heard = [a for a in pair.observer.adverts if began <= a.at <= ended]
    theirs = [a.at for a in heard if a.source == SOURCES["dirB"]]
    # A takeover speaks until the master is heard again; the next one is patient first.
    apart = [later - earlier > pair.silence for earlier, later in pairwise(theirs)]
    false = bool(theirs) + sum(apart)
    ours = sorted(a.at for a in heard if a.source == SOURCES["dirA"])
    late = [(b - a - pair.job.advertint) * 1e3 for a, b in pairwise(ours)]
    points = (number(percentile(late, point)) for point in POINTS)
    return (pair.first.name, str(false), str(len(ours)), *points, number(max(late)))
