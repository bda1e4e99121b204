"""CPU of plain HTTP checks: all of lvsd beside all of ldirectord, with the same file, in turn.

Natively, so the table of neither is the kernel's. ldirectord checks one real server after the other
and pauses between two passes, so its rate is what it manages; the farm counts the requests that
arrive, and the CPU is per request.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from statistics import median

from tests.bench.crowd import Crowd, CrowdLvsd, Ldirectord
from tests.bench.daemons import cpu_seconds
from tests.bench.figures import Table, aim, aims, number, ratio, sample
from tests.bench.watch import Host, host
from tests.lab.topology import wait_until

REALS = 1000
#: Reals are asked over and over, with this many seconds between two passes.
CROWD = Crowd(REALS, 100, 1)
AIM = 0.1
#: Seconds that ldirectord has for its start, a program for each real server, and two passes.
PATIENCE = 240.0


def window(here: Host, daemon: CrowdLvsd | Ldirectord, seconds: float) -> tuple[float, float]:
    """(requests per second, CPU seconds per 1,000 of them) after three rounds."""
    here.serve()
    before = here.served
    daemon.start()
    try:
        wait_until(lambda: here.served >= before + 3 * REALS, PATIENCE, "three rounds", 0.2)
        pids = daemon.pids()
        served, cpu, began = here.served, cpu_seconds(pids), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        count, spent = here.served - served, cpu_seconds(pids) - cpu
        return count / took, spent / count * 1000
    except AssertionError:
        print(f"--- {daemon.name}\n{daemon.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        daemon.kill_everything()


def run(reps: int, seconds: float) -> list[Table]:
    """Two tables: what was measured, what was aimed at."""
    rates, costs = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    with host() as here:
        for _ in range(reps):
            for daemon in (CrowdLvsd(here.lab, CROWD), Ldirectord(here.lab, CROWD, stub=True)):
                rate, cost = window(here, daemon, seconds)
                rates[daemon.name].append(rate)
                costs[daemon.name].append(cost)
                said = f"{daemon.name}: {rate:.0f} requests/s, {cost:.3f} s per 1,000"
                print(said, file=sys.stderr, flush=True)
    ours, theirs = costs["lvsd"], costs["ldirectord"]
    rows = [
        ("CPU seconds per 1,000 checks", sample(ours), sample(theirs), ratio(ours, theirs)),
        ("requests/s", *(sample(rates[name]) for name in ("lvsd", "ldirectord")), "–"),
    ]
    measured = median(ours) / median(theirs)
    said = ("CPU of 1,000 plain HTTP checks", f"≤ {AIM} × ldirectord", f"{number(measured)} ×")
    notes = (
        f"{REALS} real servers, checkinterval {CROWD.interval} s, HTTP with a body expression over "
        f"fresh connections; both read the same file. Windows of {seconds:g} s after three rounds. "
        "All processes of each, by the kernel's accounting (schedstat).",
        "ldirectord checks one real server after the other: requests/s is all that it manages.",
        "lvsd with --table=none, ldirectord with an ipvsadm that does nothing.",
    )
    return [
        Table("HTTP checks: lvsd beside ldirectord", ("", "lvsd", "ldirectord", "ratio"), rows),
        aims("HTTP checks beside ldirectord", [aim(*said, measured <= AIM)], notes),
    ]
