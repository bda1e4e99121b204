"""As `watch`, on a kernel with IPVS: until its table says weight 0; and the writing alone.

lvsd beside keepalived and, for the one real server, ldirectord. In the lab's virtual machine
programs run many times slower than natively, so that detection is the native bench's business and
the writing (from the wish in memory to the last acknowledgement) is this one's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import structlog

from lvsd.core.model import Table as Wish
from lvsd.daemon.table import Applier
from lvsd.linux.ipvs import Ipvs
from tests.bench import table, watch
from tests.bench.crowd import CrowdKeepalived, CrowdLvsd, Ldirectord
from tests.bench.figures import Table, aim, aims, number, ratio, sample
from tests.bench.watch import AIMS, ALL, CROWD, INTERVAL, ONE, REALS, Host, Samples
from tests.lab.topology import Process

#: Seconds between two looks at the kernel's table.
LOOK = 0.02
DAEMONS = ("lvsd", "keepalived", "ldirectord")
FEW = replace(CROWD, reals=4, watch=False)


def zeros(argv: list[str]) -> None:
    """The watcher's process: a JSON line [Unix time, how many have weight 0] for each change."""
    known = -1
    while True:
        text, at = Path("/proc/thread-self/net/ip_vs").read_text(), time.time()
        found = text.count(" Route   0 ") + text.count(" Masq    0 ")
        if found != known:
            print(json.dumps([at, found]), flush=True)
        known = found
        time.sleep(LOOK)


def reached(watcher: Process, count: int, since: float) -> float:
    """When the table had so many at weight 0; infinite before that."""
    lines = watcher.text()
    seen = [json.loads(line) for line in lines[: lines.rfind("\n") + 1].splitlines()]
    return min((at for at, zero in seen if at >= since and zero >= count), default=float("inf"))


def deaths(here: Host, name: str, found: Samples, moments: random.Random) -> None:
    """One life of a daemon, with the table watched."""
    daemon = {
        "lvsd": lambda: CrowdLvsd(here.lab, CROWD, "kernel"),
        "keepalived": lambda: CrowdKeepalived(here.lab, CROWD, stub=False),
        "ldirectord": lambda: Ldirectord(here.lab, FEW),
    }[name]()
    watcher = here.lab.fork("dirA", zeros, [])
    try:

        def seen(which: str, since: float) -> float:
            return reached(watcher, 1 if which == ONE else REALS + 1, since)

        names = (ONE,) if name == "ldirectord" else (ONE, ALL)
        for which, took in watch.life(here, daemon, moments, seen, names):
            found[which, name].append(took)
            print(f"{name}, {which}: {took * 1e3:.0f} ms", file=sys.stderr, flush=True)
    finally:
        watcher.kill()
        here.lab.exec_peer("dirA", ["ipvsadm", "-C"])


async def written(reals: int) -> float:
    """Seconds from the wish that so many reals have weight 0 to the kernel's last word."""
    ipvs, wish = await Ipvs.open(), table.farm(reals)
    applier = table.applier(ipvs, wish)
    try:
        await applier.read()
        await _round(applier, wish)
        began = time.monotonic()
        await _round(applier, zeroed(wish))
        return time.monotonic() - began
    finally:
        await applier.clear([*wish])
        ipvs.close()


async def _round(applier: Applier, wish: Wish) -> None:
    applier.wish(wish)
    await applier.round(inspect=False)
    assert not applier.errors, applier.errors[:3]


def zeroed(wish: Wish) -> Wish:
    """The same with nobody in service."""
    return {
        key: replace(
            entry,
            destinations={k: replace(d, weight=0) for k, d in entry.destinations.items()},
        )
        for key, entry in wish.items()
    }


def run(reps: int) -> list[Table]:
    """What was measured, and what was aimed at."""
    found: Samples = defaultdict(list)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with watch.host() as here:
        for _ in range(max(3, reps)):
            for name, reals in ((ONE, 1), (ALL, REALS)):
                took = here.lab.inside("dirA", lambda n=reals: asyncio.run(written(n)))
                found[name, "written"].append(took)
                print(f"{name}: written in {took * 1e3:.0f} ms", file=sys.stderr, flush=True)
        for rep in range(reps):
            for name in DAEMONS:
                deaths(here, name, found, random.Random(rep))
    return tables(found)


def tables(found: Samples) -> list[Table]:
    """The samples and the aims."""
    rows, aimed = [], []
    for name, limit in AIMS.items():
        sides = [found[name, daemon] for daemon in DAEMONS]
        wrote = found[name, "written"]
        compared = [ratio(sides[0], side) for side in sides[1:]]
        rows.append((name, *(sample(s, 1e3) for s in (*sides, wrote)), *compared))
        worst = max(wrote)
        said = (f"{name}: weight 0 written, without detection", f"< {limit * 1e3:.0f} ms")
        aimed.append(aim(*said, f"worst {number(worst * 1e3)} ms", worst < limit))
    return [
        Table(
            "From the death of a server process to weight 0 in the kernel for all its reals, ms",
            ("killed", *DAEMONS, "lvsd, writing alone", "to keepalived", "to ldirectord"),
            rows,
        ),
        aims(
            "A server process is killed, with the kernel",
            aimed,
            (
                f"checkinterval {INTERVAL} s, failurecount 1, killed at random moments of the "
                "interval; lvsd: watch=yes failfast=yes. A process that reads the kernel's table "
                f"every {LOOK * 1e3:g} ms sees it.",
                "Writing alone: from the wish in memory to the kernel's last acknowledgement. The "
                "aim is of detection and writing together: add what `watch` measures natively. The "
                "whole way in an emulated machine is in the first table, whatever it takes there.",
                "ldirectord has five real servers and is asked for the one only: with 1,000 it "
                "starts a thousand programs before it checks anything, and as many to take them "
                "out.",
            ),
        ),
    ]
