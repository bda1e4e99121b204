"""20,000 real servers, each checked every three seconds by one machine.

The peer is the Go health checker of DPVS as its authors published it: TCP checks of 20,400 real
servers, five to a service, timeout 1 s and one retry. Here the same is done natively, with the
table in memory, and once more with HTTP checks. keepalived runs beside.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from lvsd.checks.engine import STARTS
from tests.bench.arrivals import Arrivals, arrivals
from tests.bench.crowd import (
    Crowd,
    CrowdDaemon,
    CrowdKeepalived,
    CrowdLvsd,
    Ldirectord,
    out,
    reweighted,
)
from tests.bench.daemons import compiler, cpu_seconds, memory, stub_note
from tests.bench.figures import Table, aim, aims, number, percentile, sample
from tests.lab.topology import wait_until

REALS = 20_000
KINDS = {"TCP": False, "HTTP": True}
CORES, MEMORY, PSS = "cores", "memory, MB", "PSS, MB"
LATE = "start lateness p99, ms"
REFUSED, SILENT = "all out when refused, s", "all out when silent, s"
#: What DPVS says of its checker.
PUBLISHED = {CORES: "1.08", MEMORY: "599", SILENT: "28"}
#: What is aimed at.
AIMS = {CORES: 1.0, MEMORY: 400.0, LATE: 100.0, REFUSED: 10.0, SILENT: 10.0}
PATIENCE = 120.0
#: Seconds after which nobody waits for the last one any more.
OUT_AT_LAST = 40.0


def crowd(reals: int, http: bool) -> Crowd:
    """The configuration."""
    return Crowd(reals, 5, 3, timeout=2 if http else 1, http=http, failures=2)


@dataclass(frozen=True, slots=True)
class Steady:
    """A daemon in a quiet window: cores used, octets (see daemons.memory), seconds late (p99)."""

    cores: float
    memory: float
    pss: float
    late: float


@contextmanager
def running(here: Arrivals, daemon: CrowdDaemon | Ldirectord, asked: Crowd) -> Iterator[None]:
    """The daemon, once everything was asked three times: from then on its grids stand."""
    here.serve(asked.http)
    daemon.start()
    try:
        limit = PATIENCE + asked.reals / 200
        wait_until(lambda: here.asked(asked.reals, 3), limit, "everything was asked", 0.5)
        yield
    except AssertionError:
        print(f"--- {daemon.name}\n{daemon.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        daemon.kill_everything()
        if here.process is not None and here.process.alive():
            here.kill()


def steady(
    here: Arrivals, daemon: CrowdDaemon | Ldirectord, asked: Crowd, seconds: float
) -> Steady:
    """A window without news."""
    pids = daemon.pids()
    cpu, began = cpu_seconds(pids), time.monotonic()
    time.sleep(seconds)
    spent, ended = cpu_seconds(pids) - cpu, time.monotonic()
    size, pss = memory(pids)
    late = here.lateness(asked.reals, asked.interval, began, ended)
    return Steady(spent / (ended - began), size, pss, percentile(late, 99))


def reload(daemon: CrowdDaemon | Ldirectord, asked: Crowd) -> float:
    """Seconds from the wish to reload, with one weight changed, until the table was told."""
    weight, since = asked.weight + 1, time.time()
    daemon.reload(reweighted(asked, weight))
    wait_until(lambda: daemon.weighed(weight) < float("inf"), PATIENCE, "the new weight", 0.1)
    return daemon.weighed(weight) - since


def levelled(daemon: CrowdDaemon, level: int, since: float) -> float:
    """Seconds until the table was told of the last one, so many being out then; or infinite."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: since < out(daemon, level) < float("inf"), OUT_AT_LAST, "", 0.5)
    return max(out(daemon, level), since) - since


def life(
    here: Arrivals, daemon: CrowdDaemon | Ldirectord, asked: Crowd, seconds: float
) -> dict[str, float]:
    """The figures of one daemon by name."""
    with running(here, daemon, asked):
        found = steady(here, daemon, asked, seconds)
        refused = levelled(daemon, asked.reals, here.kill())
        mended = time.time()
        here.serve(asked.http)
        levelled(daemon, 0, mended)
        try:
            silent = levelled(daemon, asked.reals, here.silence())
        finally:
            here.speak()
    return {
        CORES: found.cores,
        MEMORY: found.memory / 1e6,
        PSS: found.pss / 1e6,
        LATE: found.late * 1e3,
        REFUSED: refused,
        SILENT: silent,
    }


def run(reps: int, seconds: float) -> list[Table]:
    """A table for each kind of check, and what was aimed at."""
    kinds = (CrowdLvsd, CrowdKeepalived) if compiler() else (CrowdLvsd,)
    found = defaultdict[tuple[str, str, str], list[float]](list)
    with arrivals() as here:
        for _ in range(reps):
            for check, http in KINDS.items():
                for kind in kinds:
                    asked = crowd(REALS, http)
                    measured = life(here, kind(here.lab, asked), asked, seconds)
                    for what, value in measured.items():
                        found[check, kind.name, what].append(value)
                    said = ", ".join(f"{what}: {number(v)}" for what, v in measured.items())
                    print(f"{kind.name}, {check}: {said}", file=sys.stderr, flush=True)
    return [*(compared(check, found) for check in KINDS), aimed(found, seconds)]


def compared(check: str, found: Mapping[tuple[str, str, str], list[float]]) -> Table:
    """lvsd, keepalived, and what DPVS has published."""
    rows = []
    for what in (CORES, MEMORY, PSS, LATE, REFUSED, SILENT):
        ours, theirs = (found.get((check, name, what), []) for name in ("lvsd", "keepalived"))
        rows.append((what, sample(ours), sample(theirs), PUBLISHED.get(what, "–")))
    head = ("", "lvsd", "keepalived", "DPVS, published")
    return Table(f"{REALS:,} real servers, {check} checks every 3 s, native", head, rows)


def aimed(found: Mapping[tuple[str, str, str], list[float]], seconds: float) -> Table:
    """The medians beside the aims."""
    rows = []
    for check in KINDS:
        for what, limit in AIMS.items():
            if values := found.get((check, "lvsd", what)):
                measured = median(values)
                said = (
                    f"{REALS:,} {check} checks every 3 s: {what}",
                    f"≤ {number(limit)}",
                    number(measured),
                )
                rows.append(aim(*said, measured <= limit))
    return aims(f"{REALS:,} real servers", rows, notes(seconds))


def notes(seconds: float) -> tuple[str, ...]:
    """What one must know to read the tables."""
    return (
        "Five real servers to a service, timeout 1 s (HTTP: 2 s), two failures in a row "
        f"(keepalived: retry 1 after 3 s) take one out. Windows of {seconds:g} s. The process that "
        "answers for all addresses runs on the same machine; its CPU is not counted.",
        "DPVS: tools/healthcheck/test/README.md, 20,400 real servers on an E5-2650v4, five to a "
        "service, its default checks (TCP for TCP services; 3 s, 1 s, one retry) of addresses "
        "that do not answer. Its 28 s are from the first real server out to the last; here they "
        "are from the fault to the last.",
        "`start lateness`: that process notes when each address is asked. The times of one "
        "address lie on a grid of 3 s, of which the earliest in the window is taken to be on "
        "time; its own delays count against the daemon. lvsd starts them "
        f"{STARTS} at a time; keepalived counts its interval from the end of a check, so that its "
        "grid drifts.",
        "`refused`: the process is killed. `silent`: packets to the addresses get lost without a "
        "word. Out: the table in memory (keepalived: the stub) was told of the last one.",
        f"`no end`: not all within {OUT_AT_LAST:g} s.",
        "Memory: pages that the daemon's processes share count once, as if nobody else ran.",
        stub_note(),
    )
