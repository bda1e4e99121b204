"""The IPVS table: lvsd's netlink beside ipvsadm and keepalived, in turn, on the same kernel.

Each run has a network namespace of its own, so the host's table is never touched. lvsd's times are
from the desired table in memory to the kernel's last acknowledgement, by the daemon's applier;
ipvsadm's are its whole run, since that is the price of asking it; keepalived's (`balancer`) are
from its start, or the signal, to the table being so. 100 real servers a service.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from statistics import median

from lvsd import config
from lvsd.core.changes import changes
from lvsd.core.director import Director, desired, step
from lvsd.core.happenings import ConfigLoaded, RealKey, TableAdopted
from lvsd.core.listing import rules
from lvsd.core.model import (
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    ServiceEntry,
    ServiceKey,
    Table,
    VirtualService,
)
from lvsd.core.pool import in_service
from lvsd.daemon.table import Applier
from lvsd.linux.ipvs import Ipvs
from tests.bench import balancer, figures
from tests.kernel.namespace import own_namespace

SIZES = (1000, 10000)
GROUP = 100
NAMES = {
    "apply": "into an empty table; ipvsadm -R; load",
    "adopt": "adopt an identical one: read, find nothing to do; ipvsadm -Sn",
    "verify": "look at it again; ipvsadm -Sn",
    "weight": "change one weight; ipvsadm -e",
    "reload": "the same by a reload, reading apart; reload",
}
#: Of 10,000 real servers: task, peer, and the ratio aimed at.
TARGETS = (
    ("apply", "ipvsadm", 0.25),
    ("apply", "keepalived", 0.5),
    ("adopt", "ipvsadm", 1.0),
    ("verify", "ipvsadm", 1.0),
    ("reload", "keepalived", 1.0),
)
#: Netlink writes at most; counted beside the seconds of a task under this name.
WRITES = {"adopt": 0, "verify": 0, "weight": 1, "reload": 3}
COUNTED = "{}, netlink writes"
TOOLS = ("lvsd", "ipvsadm", "keepalived")


def farm(reals: int) -> Table:
    """A table with so many real servers."""
    table = {}
    for number in range(-(-reals // GROUP)):
        address = IPv4Address("10.79.0.1") + number
        key = ServiceKey(Family.INET, Protocol.TCP, address, 80)
        first = IPv4Address("10.80.0.1") + number * GROUP
        keys = [DestinationKey(first + i, 80) for i in range(min(GROUP, reals - number * GROUP))]
        destinations = {k: Destination(k, Forwarding.ROUTE, 1) for k in keys}
        table[key] = ServiceEntry(VirtualService(key, "rr"), destinations)
    return table


def ipvsadm(*words: str, text: str = "") -> float:
    """Run it; the seconds it took."""
    began = time.monotonic()
    subprocess.run(["ipvsadm", *words], input=text.encode(), capture_output=True, check=True)
    return time.monotonic() - began


def with_weight(table: Table, weight: int) -> Table:
    """The same with another weight of one destination in the middle."""
    key = list(table)[len(table) // 2]
    entry = table[key]
    destination = next(iter(entry.destinations.values()))
    changed = {**entry.destinations, destination.key: replace(destination, weight=weight)}
    return {**table, key: replace(entry, destinations=changed)}


def applier(ipvs: Ipvs, wish: Table) -> Applier:
    """The daemon's writer of the table, new."""
    made = Applier(ipvs, zeroed=_no, raised=_no, changed=lambda: None)
    made.owned = set(wish)
    return made


def _no(key: RealKey) -> bool:
    return False


async def ours(wish: Table) -> dict[str, float]:
    """The seconds and writes of each task, by lvsd; leaves the table filled."""
    filling = await Ipvs.open()
    took = await tasks(filling, applier(filling, wish), wish, ["apply"])
    filling.close()
    ipvs = await Ipvs.open()  # a daemon that has just started
    writer = applier(ipvs, wish)
    adopted, spent = await adopt(ipvs, writer, wish)
    took |= spent | await tasks(ipvs, writer, adopted, ["verify", "weight"])
    took |= await reload(ipvs, wish)
    ipvs.close()
    return took


async def adopt(ipvs: Ipvs, writer: Applier, wish: Table) -> tuple[Table, dict[str, float]]:
    """As a daemon that has just started: read what is there, then wish for nothing else."""
    found = config.loads(text(wish), interfaces=())
    expected = {virtual.key: in_service(virtual) for virtual in found.virtuals}
    gc.collect()
    gc.freeze()
    before, began = ipvs.writes, time.monotonic()
    there = await writer.read(expected)
    took = time.monotonic() - began
    director, _ = step(Director(), TableAdopted(dict(there)), 0.0)
    director, _ = step(director, ConfigLoaded(found, {}), 0.0)
    wished = desired(director).table
    began = time.monotonic()
    writer.wish(wished)
    await writer.round(inspect=False)
    took += time.monotonic() - began
    if writer.errors or not writer.settled:
        raise RuntimeError(f"adopt: {writer.errors}")
    return wished, {"adopt": took, COUNTED.format("adopt"): ipvs.writes - before}


async def reload(ipvs: Ipvs, wish: Table) -> dict[str, float]:
    """From two configurations that differ in a weight to the table of the second."""
    recall = config.Recall()
    old, new = (
        config.loads(text(table), interfaces=(), recall=recall)
        for table in (wish, with_weight(wish, 7))
    )
    director, _ = step(Director(), ConfigLoaded(old, {}), 0.0)
    writer = applier(ipvs, wish)
    writer.wish(desired(director).table)
    await writer.round(inspect=True)
    before, began = ipvs.writes, time.monotonic()
    lines = changes(old, new)
    director, _ = step(director, ConfigLoaded(new, {}), 1.0)
    writer.wish(desired(director).table)
    await writer.round(inspect=False)
    took = time.monotonic() - began
    if len(lines) != 1 or writer.errors or not writer.settled:
        raise RuntimeError(f"reload: {lines}, {writer.errors}")
    return {"reload": took, COUNTED.format("reload"): ipvs.writes - before}


def text(table: Table) -> bytes:
    """The table in lvsd's language, its real servers taken for healthy."""
    lines = ["quiescent=yes"]
    for key, entry in table.items():
        lines += [f"virtual={key}", f"\tscheduler={entry.service.scheduler}", "\tchecktype=on"]
        lines += (f"\treal={d.key} gate {d.weight}" for d in entry.destinations.values())
    return "\n".join(lines).encode()


async def tasks(ipvs: Ipvs, writer: Applier, wish: Table, todo: Sequence[str]) -> dict[str, float]:
    """The seconds of some tasks, and the number of writes that each takes."""
    took: dict[str, float] = {}
    for task in todo:
        wished = with_weight(wish, 7) if task == "weight" else wish
        before, began = ipvs.writes, time.monotonic()
        writer.wish(wished)
        await writer.round(inspect=task == "verify")
        took[task] = time.monotonic() - began
        took[COUNTED.format(task)] = ipvs.writes - before
        if writer.errors or not writer.settled:
            raise RuntimeError(f"{task} failed: {writer.errors[:3]}")
    return took


def theirs(wish: Table) -> dict[str, float]:
    """The same by ipvsadm; leaves the table filled."""
    restored = rules(wish)
    key = next(iter(wish))
    destination = next(iter(wish[key].destinations))
    todo: dict[str, Callable[[], float]] = {
        "apply": lambda: ipvsadm("-R", text=restored),
        "adopt": lambda: ipvsadm("-Sn"),
        "verify": lambda: ipvsadm("-Sn"),
        "weight": lambda: ipvsadm("-e", "-t", f"{key}", "-r", f"{destination}", "-g", "-w", "7"),
    }
    return {name: task() for name, task in todo.items()}


Found = defaultdict[tuple[int, str, str], list[float]]


def note(found: Found, size: int, tool: str, took: dict[str, float]) -> None:
    """Keep what was measured of each task, and tell it."""
    for task, seconds in took.items():
        found[size, task, tool].append(seconds)
    said = ", ".join(f"{task} {figures.number(value)}" for task, value in took.items())
    print(f"{tool}, {size} reals: {said}", file=sys.stderr, flush=True)


def measure(reps: int) -> Found:
    """All samples by size, task and tool."""
    todo: dict[str, Callable[[Table], dict[str, float]]] = {
        "lvsd": lambda wish: asyncio.run(ours(wish)),
        "ipvsadm": theirs,
        "keepalived": lambda wish: balancer.measure(wish, with_weight(wish, 7)),
    }
    found = Found(list)
    for size in SIZES:
        wish = farm(size)
        gc.collect()
        gc.freeze()  # as the daemon does with what is in force
        for _ in range(reps):
            for tool, task in todo.items():
                with own_namespace():
                    note(found, size, tool, task(wish))
    return found


def run(reps: int) -> list[figures.Table]:
    """Measure; each tool in a network namespace that nobody has used before.

    A kernel searches what was removed within the last minutes before it adds a real server, so
    an empty table that was full a moment ago is another one.
    """
    found = measure(reps)
    return [times(found), aimed(found)]


def times(found: Found) -> figures.Table:
    """The samples."""
    rows = []
    for size in SIZES:
        for task, name in NAMES.items():
            lvsd, *peers = (found[size, task, tool] for tool in TOOLS)
            each = (figures.sample(values, 1e3) for values in (lvsd, *peers))
            ratios = (figures.ratio(lvsd, peer) for peer in peers)
            rows.append((f"{size:,} reals: {name}", *each, *ratios))
    return figures.Table(
        "The IPVS table, ms",
        ("", *TOOLS, "to ipvsadm", "to keepalived"),
        rows,
        (
            "lvsd: the daemon's applier, from the wish in memory to the kernel's last "
            "acknowledgement. It adopts as a daemon that has just started: it reads, knowing "
            "only its configuration (the director's thinking in between is left out), then finds "
            "nothing to do. The next look, as every few seconds, finds everything as it was. "
            "A reload: from two configurations in memory by what changed, the director and the "
            "applier; reading is measured natively (`reload`).",
            "ipvsadm: its whole run, with the start of the program.",
            "keepalived: checkers only, no checks; from its start to a full table, and from "
            "SIGHUP to the new weight, both read in /proc/net/ip_vs.",
        ),
    )


def aimed(found: Found) -> figures.Table:
    """What was aimed at with the largest table."""
    size, rows = SIZES[-1], []
    for task, peer, most in TARGETS:
        lvsd, theirs = (found[size, task, tool] for tool in ("lvsd", peer))
        reached = bool(theirs) and median(lvsd) <= most * median(theirs)
        work = f"{size:,} reals: {NAMES[task].split(';')[0]}"
        target, shown = f"≤ {most:g} × {peer}", figures.ratio(lvsd, theirs)
        rows.append(figures.aim(work, target, shown, reached))
    for task, limit in WRITES.items():
        written = found[size, COUNTED.format(task), "lvsd"]
        work = f"{size:,} reals: {COUNTED.format(NAMES[task].split(';')[0])}"
        rows.append(figures.aim(work, f"≤ {limit}", f"{max(written):g}", max(written) <= limit))
    return figures.aims("The IPVS table", rows)
