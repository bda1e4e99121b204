"""Memory of all processes of the daemon, with 10 and 1,000 checked real servers."""

from __future__ import annotations

import sys
from collections import defaultdict
from statistics import median

from tests.bench.daemons import Job, checkers, memory, stub_note
from tests.bench.farm import farm
from tests.bench.figures import Table, aim, aims, ratio, sample

SIZES = {"10 reals": 10, "1,000 reals": 1000}
PSS = ", PSS"
MIB = 2.0**20
#: MiB with the larger size, and kB of each further real server, aimed at.
MOST, FURTHER = 90.0, 10.0


def run(reps: int) -> list[Table]:
    """What was measured, and what was aimed at."""
    found = defaultdict[tuple[str, str], list[float]](list)
    with farm() as inside:
        for _ in range(reps):
            for kind in checkers():
                for name, reals in SIZES.items():
                    job = Job(reals=reals, services=max(1, reals // 100))
                    with inside.running(kind, job) as daemon:
                        pids = daemon.pids()
                        size, pss = memory(pids)
                    found[name, kind.name].append(size)
                    found[name + PSS, kind.name].append(pss)
                    said = f"{kind.name}, {name}: {size / MIB:.1f} MiB, PSS {pss / MIB:.1f}"
                    print(said, file=sys.stderr, flush=True)
    rows = []
    for name in (*SIZES, *(size + PSS for size in SIZES)):
        ours, theirs = found[name, "lvsd"], found[name, "keepalived"]
        rows.append((name, sample(ours, 1 / MIB), sample(theirs, 1 / MIB), ratio(ours, theirs)))
    each = {name: growth(found, name) for name in ("lvsd", "keepalived")}
    further = (sample(each["lvsd"]), sample(each["keepalived"]), ratio(*each.values()))
    rows.append(("each further real, kB", *further))
    return [
        Table(
            "Memory of all processes, MiB, native",
            ("", "lvsd", "keepalived", "ratio"),
            rows,
            (
                "The first rows as if nobody else ran: pages that the daemon's processes share "
                "count once, pages shared with others in full. PSS is what the kernel says; there "
                "lvsd shares its interpreter's pages with the bench.",
                stub_note(),
            ),
        ),
        aimed(found, each["lvsd"]),
    ]


def aimed(found: dict[tuple[str, str], list[float]], each: list[float]) -> Table:
    """The targets at the median."""
    size = [*SIZES][-1]
    held = found[size + PSS, "lvsd"]
    whole = (f"{size}, all processes{PSS}", f"≤ {MOST:g} MiB", f"{sample(held, 1 / MIB)} MiB")
    further = ("each further real", f"≤ {FURTHER:g} kB", f"{sample(each)} kB")
    return aims(
        "Memory",
        [aim(*whole, median(held) / MIB <= MOST), aim(*further, median(each) <= FURTHER)],
    )


def growth(found: dict[tuple[str, str], list[float]], daemon: str) -> list[float]:
    """kB per real server between the two sizes, repetition by repetition."""
    (few, low), (many, high) = SIZES.items()
    pairs = zip(found[few, daemon], found[many, daemon], strict=True)
    return [(more - less) / (high - low) / 1000 for less, more in pairs]
