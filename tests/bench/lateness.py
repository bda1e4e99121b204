"""Punctuality of adverts while the same daemon does 1,000 HTTP checks a second.

The gap between one advert and the next, by the kernel's timestamps at the switch: lvsd beside
keepalived in turn, each idle and with checks.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from itertools import pairwise

from tests.bench.daemons import REAL_TIME_NOTE, SOURCES, Job, checkers, stub_note
from tests.bench.farm import Farm, farm
from tests.bench.figures import Table, percentile
from tests.bench.observer import Observer
from tests.lab.topology import wait_until

IDLE, BUSY = "idle", "1,000 checks/s"


def jobs(advertint: float) -> dict[str, Job]:
    """The rows of the table."""
    return {
        IDLE: Job(advertint=advertint),
        BUSY: Job(advertint=advertint, reals=1000, services=10),
    }


def gaps(inside: Farm, observer: Observer, kind: type, job: Job, seconds: float) -> list[float]:
    """Seconds between adverts during a window."""
    with inside.running(kind, job):
        # With services a director may wait for its checks before it becomes master.
        observer.advert(SOURCES["dirA"], time.monotonic(), 60)
        wait_until(lambda: observer.holds("dirA"), 10, "the VIP is there")
        began = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        observer.look()
    times = sorted(a.at for a in observer.adverts if began <= a.at <= ended)
    inside.lab.exec("dirA", ["ip", "addr", "flush", "dev", "eth0", "to", "10.77.0.100"])
    return [later - earlier for earlier, later in pairwise(times)]


def run(reps: int, seconds: float, advertint: float) -> list[Table]:
    """One table."""
    todo = jobs(advertint)
    found = defaultdict[tuple[str, str], list[float]](list)
    with farm() as inside:
        observer = Observer(inside.lab).start()
        for rep in range(reps):
            for kind in checkers()[:: 1 if rep % 2 == 0 else -1]:
                for name, job in todo.items():
                    new = gaps(inside, observer, kind, job, seconds)
                    found[name, kind.name] += new
                    said = f"{kind.name}, {name}: {len(new)} gaps, at most {max(new) * 1e3:.1f} ms"
                    print(said, file=sys.stderr, flush=True)
    rows = []
    for name in todo:
        for kind in checkers():
            values = [value * 1e3 for value in found[name, kind.name]]
            points = (percentile(values, p) for p in (50, 99, 99.9))
            shown = (f"{value:.2f}" for value in (*points, max(values), min(values)))
            rows.append((name, kind.name, *shown, str(len(values))))
    return [
        Table(
            f"Gap between adverts every {advertint * 1e3:g} ms, in ms, native",
            ("while", "daemon", "p50", "p99", "p99.9", "max", "min", "n"),
            rows,
            (
                f"{reps} windows of {seconds:g} s each, in turn. Kernel timestamps at the switch.",
                REAL_TIME_NOTE,
                stub_note(),
            ),
        )
    ]
