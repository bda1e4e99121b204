"""The IPVS table: lvsd's netlink beside ipvsadm, in turn, on the same kernel.

It runs in a network namespace of its own, so the host's table is never touched. lvsd's times
are from the desired table in memory to the kernel's last acknowledgement, by the daemon's applier;
ipvsadm's are its whole run, since that is the price of asking it. 100 real servers a service.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

from lvsd.core.happenings import RealKey
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
from lvsd.daemon.table import Applier
from lvsd.linux.ipvs import Ipvs
from tests.bench import figures

SIZES = (1000, 10000)
GROUP = 100
NAMES = {
    "apply": "into an empty table; ipvsadm -R",
    "verify": "read an identical one, find nothing to do; ipvsadm -Sn",
    "weight": "change one weight; ipvsadm -e",
}


def desired(reals: int) -> Table:
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


async def ours(ipvs: Ipvs, wish: Table) -> dict[str, float]:
    """The seconds of each task, by lvsd; leaves the table filled."""
    took, writes = {}, []
    for task, wished in (("apply", wish), ("verify", wish), ("weight", with_weight(wish, 7))):
        if task != "weight":
            writer = applier(ipvs, wish)
        before, began = ipvs.writes, time.monotonic()
        if task == "verify":
            await writer.read()
        writer.wish(wished)
        await writer.round(inspect=False)
        took[task] = time.monotonic() - began
        writes.append(ipvs.writes - before)
        if writer.errors or not writer.settled:
            raise RuntimeError(f"{task} failed: {writer.errors[:3]}")
    if writes[1:] != [0, 1]:
        raise RuntimeError(f"{writes} writes")
    return took


def theirs(wish: Table) -> dict[str, float]:
    """The same by ipvsadm; leaves the table filled."""
    text = rules(wish)
    key = next(iter(wish))
    destination = next(iter(wish[key].destinations))
    tasks: dict[str, Callable[[], float]] = {
        "apply": lambda: ipvsadm("-R", text=text),
        "verify": lambda: ipvsadm("-Sn"),
        "weight": lambda: ipvsadm("-e", "-t", f"{key}", "-r", f"{destination}", "-g", "-w", "7"),
    }
    return {name: task() for name, task in tasks.items()}


Found = defaultdict[tuple[int, str, str], list[float]]


def note(found: Found, size: int, tool: str, took: dict[str, float]) -> None:
    """Keep the seconds of each task, and tell them."""
    for task, seconds in took.items():
        found[size, task, tool].append(seconds)
    said = ", ".join(f"{task} {seconds:.3f} s" for task, seconds in took.items())
    print(f"{tool}, {size} reals: {said}", file=sys.stderr, flush=True)


async def measure(reps: int) -> Found:
    """All samples by size, task and tool."""
    found = Found(list)
    ipvs = await Ipvs.open()
    try:
        for size in SIZES:
            wish = desired(size)
            for _ in range(reps):
                ipvsadm("-C")
                note(found, size, "lvsd", await ours(ipvs, wish))
                ipvsadm("-C")
                note(found, size, "ipvsadm", theirs(wish))
    finally:
        ipvs.close()
        ipvsadm("-C")
    return found


def run(reps: int) -> list[figures.Table]:
    """Measure, in a network namespace that nobody else uses."""
    # Without a loopback the kernel takes every address of a destination for broadcast.
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return tables(asyncio.run(measure(reps)))


def tables(found: Found) -> list[figures.Table]:
    """The samples as a table."""
    rows = []
    for size in SIZES:
        for task, name in NAMES.items():
            lvsd, peer = found[size, task, "lvsd"], found[size, task, "ipvsadm"]
            times = (figures.sample(lvsd, 1e3), figures.sample(peer, 1e3))
            rows.append((f"{size:,} reals: {name}", *times, figures.ratio(lvsd, peer)))
    return [
        figures.Table(
            "The IPVS table, ms",
            ("", "lvsd", "ipvsadm", "ratio"),
            rows,
            (
                "lvsd: the daemon's applier, from the wish in memory to the kernel's last "
                "acknowledgement. ipvsadm: its whole run, with the start of the program.",
            ),
        )
    ]
