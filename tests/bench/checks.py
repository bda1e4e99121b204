"""CPU of plain HTTP checks: the whole of lvsd beside the whole of keepalived, in turn.

A farm of 1,000 real servers, each asked once a second over a fresh connection; the answer must have
status 200 and match an expression. The farm counts the requests that arrive, so the CPU is per
check really done. The second row has one tenth of the servers in ten services: there CPU is per
check asked for by the configuration, whether or not one probe serves several services.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.bench.daemons import Job, checkers, cpu_seconds, stub_note
from tests.bench.farm import Farm, farm
from tests.bench.figures import Table, aim, aims, number, ratio, sample

ROWS = {
    "1,000 reals, 10 services": Job(reals=1000, services=10),
    "100 reals, shared by 10 services": Job(reals=100, services=10, shared=True),
}
#: The share of keepalived's CPU aimed at.
AIMS = dict(zip(ROWS, (1.0, 0.2), strict=True))
#: Windows in each life of a daemon.
WINDOWS = 3


def windows(inside: Farm, kind: type, job: Job, seconds: float) -> Iterator[tuple[float, float]]:
    """(checks per second that arrived, CPU seconds per 1,000 checks configured) of each window."""
    configured = 1000 / job.interval  # both jobs
    with inside.running(kind, job) as daemon:
        pids = daemon.pids()
        for _ in range(WINDOWS):
            served, cpu, began = inside.served, cpu_seconds(pids), time.monotonic()
            time.sleep(seconds)
            spent, took = cpu_seconds(pids) - cpu, time.monotonic() - began
            rate = (inside.served - served) / took
            yield rate, spent / took / (configured if job.shared else rate) * 1000


def run(reps: int, seconds: float) -> list[Table]:
    """What was measured, and what was aimed at. Takes about a minute for each of `reps`."""
    rates, costs = defaultdict[tuple[str, str], list[float]](list), defaultdict(list)
    with farm() as inside:
        for rep in range(reps):
            for name, job in ROWS.items():
                for kind in checkers()[:: 1 if rep % 2 == 0 else -1]:
                    for rate, cost in windows(inside, kind, job, seconds):
                        rates[name, kind.name].append(rate)
                        costs[name, kind.name].append(cost)
                        said = f"{kind.name}, {name}: {rate:.0f} requests/s, {cost:.3f} s per 1,000"
                        print(said, file=sys.stderr, flush=True)
    rows, reached = [], []
    for name in ROWS:
        ours, theirs = costs[name, "lvsd"], costs[name, "keepalived"]
        asked = (sample(rates[name, side]) for side in ("lvsd", "keepalived"))
        rows.append((name, sample(ours), sample(theirs), ratio(ours, theirs), *asked))
        if theirs:
            share = median(ours) / median(theirs)
            target = f"≤ {number(AIMS[name])} × keepalived"
            work = f"CPU of HTTP checks every second: {name}"
            reached.append(aim(work, target, ratio(ours, theirs), share <= AIMS[name]))
    return [
        Table(
            "CPU seconds per 1,000 HTTP checks, all processes of the daemon, native",
            (
                *("each real once a second", "lvsd", "keepalived", "ratio"),
                *("requests/s: lvsd", "keepalived"),
            ),
            rows,
            (
                f"{WINDOWS} windows of {seconds:g} s in each life of a daemon, {reps} lives.",
                "Status 200 and the expression for both. CPU by the scheduler's own count.",
                stub_note(),
            ),
        ),
        aims("CPU of HTTP checks", reached),
    ]
