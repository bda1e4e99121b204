"""CPU of plain HTTP checks: the whole of lvsd beside the whole of keepalived, in turn.

A farm of 1,000 real servers, each asked once a second with a body expression over a fresh
connection. The farm counts the requests that arrive, so the CPU is per check really done. The
second row has one tenth of the servers in ten services: there CPU is per check asked for by the
configuration, whether or not one probe serves several services.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict

from tests.bench.daemons import Job, checkers, cpu_seconds, stub_note
from tests.bench.farm import Farm, farm
from tests.bench.figures import Table, ratio, sample

ROWS = {
    "1,000 reals, 10 services": Job(reals=1000, services=10),
    "100 reals, shared by 10 services": Job(reals=100, services=10, shared=True),
}


def window(inside: Farm, kind: type, job: Job, seconds: float) -> tuple[float, float]:
    """(checks per second that arrived, CPU seconds per 1,000 checks configured) of a window."""
    with inside.running(kind, job) as daemon:
        pids = daemon.pids()
        served, cpu, began = inside.served, cpu_seconds(pids), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        rate = (inside.served - served) / took
        spent = cpu_seconds(pids) - cpu
    configured = 1000 / job.interval  # both jobs
    asked = configured if job.shared else rate
    return rate, spent / took / asked * 1000


def run(reps: int, seconds: float) -> list[Table]:
    """One table."""
    rates, costs = defaultdict[tuple[str, str], list[float]](list), defaultdict(list)
    with farm() as inside:
        for rep in range(reps):
            for kind in checkers()[:: 1 if rep % 2 == 0 else -1]:
                for name, job in ROWS.items():
                    rate, cost = window(inside, kind, job, seconds)
                    rates[name, kind.name].append(rate)
                    costs[name, kind.name].append(cost)
                    said = f"{kind.name}, {name}: {rate:.0f} requests/s, {cost:.3f} s per 1,000"
                    print(said, file=sys.stderr, flush=True)
    rows = []
    for name in ROWS:
        ours, theirs = costs[name, "lvsd"], costs[name, "keepalived"]
        asked = (sample(rates[name, side]) for side in ("lvsd", "keepalived"))
        rows.append((name, sample(ours), sample(theirs), ratio(ours, theirs), *asked))
    return [
        Table(
            "CPU seconds per 1,000 HTTP checks, all processes of the daemon, native",
            (
                *("each real once a second", "lvsd", "keepalived", "ratio"),
                *("requests/s: lvsd", "keepalived"),
            ),
            rows,
            (f"Windows of {seconds:g} s.", stub_note()),
        )
    ]
