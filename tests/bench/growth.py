"""What 10 to 20,000 real servers cost lvsd and its peers: the plot in docs, with its data.

HTTP checks every three seconds, five real servers to a service, all in turn, natively.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import scale
from tests.bench.arrivals import Arrivals, arrivals
from tests.bench.chart import Panel, draw
from tests.bench.crowd import Crowd, CrowdDaemon, CrowdKeepalived, CrowdLvsd, Ldirectord
from tests.bench.daemons import compiler, stub_note
from tests.bench.figures import Table, machine, number, today

SIZES = (10, 100, 1000, 10_000, 20_000)
#: Larger ones take ldirectord minutes before it has asked everybody.
MOST_OF_LDIRECTORD = 1000
DOCS = Path(__file__).parents[2] / "docs"
#: What is measured: its name in the data, the panel's title with the unit.
PANELS = {
    "cores": "CPU, cores used",
    "memory": "Memory, MB",
    "late": "Start lateness, p99, ms",
    "reload": "Reload, one weight changed, s",
}


def growth(reps: int, seconds: float) -> dict[str, Any]:
    """Plain data: {"daemons": {name: {what: [one list of samples for each size]}}, ...}."""
    kinds = [CrowdLvsd, *([CrowdKeepalived] if compiler() else []), Ldirectord]
    found: dict[str, dict[str, list[list[float]]]] = {
        kind.name: defaultdict(lambda: [[] for _ in SIZES]) for kind in kinds
    }
    with arrivals() as here:
        for rep in range(reps):
            for place, reals in enumerate(SIZES):
                for kind in kinds[:: 1 if rep % 2 == 0 else -1]:
                    if kind is Ldirectord and reals > MOST_OF_LDIRECTORD:
                        continue
                    values = life(here, kind, scale.crowd(reals, http=True), seconds)
                    for what, value in values.items():
                        found[kind.name][what][place].append(round(value, 5))
                    said = ", ".join(f"{what} {number(v)}" for what, v in values.items())
                    print(f"{kind.name}, {reals} reals: {said}", file=sys.stderr, flush=True)
    return {
        "date": today(),
        "machine": machine(virtual=False),
        "reals": [*SIZES],
        "panels": PANELS,
        "daemons": {name: dict(each) for name, each in found.items()},
    }


def life(
    here: Arrivals,
    kind: type[CrowdLvsd] | type[CrowdKeepalived] | type[Ldirectord],
    asked: Crowd,
    seconds: float,
) -> dict[str, float]:
    """What one daemon costs. ldirectord asks in no steady rhythm, so it is never late."""
    daemon: CrowdDaemon | Ldirectord
    daemon = Ldirectord(here.lab, asked, stub=True) if kind is Ldirectord else kind(here.lab, asked)
    with scale.running(here, daemon, asked):
        steady = scale.steady(here, daemon, asked, seconds)
        took = scale.reload(daemon, asked)
    values = {"cores": steady.cores, "memory": steady.memory / 1e6, "reload": took}
    return values if kind is Ldirectord else {**values, "late": steady.late * 1e3}


def svg(data: dict[str, Any]) -> str:
    """The plot of such data."""
    panels = []
    for what, title in data["panels"].items():
        lines = {
            name: [median(samples or [0.0]) for samples in each[what]]
            for name, each in data["daemons"].items()
            if what in each
        }
        panels.append(Panel(title, lines))
    said = f"HTTP checks every 3 s, native; {data['machine']}; {data['date']}"
    return draw(panels, data["reals"], "real servers", said)


def run(reps: int, seconds: float, folder: Path = DOCS) -> list[Table]:
    """The data as tables; written to `folder` as growth.json and growth.svg as well."""
    data = growth(reps, seconds)
    (folder / "growth.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / "growth.svg").write_text(svg(data))
    return tables(data, seconds)


def tables(data: dict[str, Any], seconds: float) -> list[Table]:
    """A table of the medians."""
    rows = [
        (title, name, *(number(median(samples)) if samples else "–" for samples in each[what]))
        for what, title in data["panels"].items()
        for name, each in data["daemons"].items()
        if what in each
    ]
    head = ("medians", "daemon", *(f"{reals:,} reals" for reals in data["reals"]))
    notes = (
        f"HTTP checks every 3 s, five real servers to a service, windows of {seconds:g} s. "
        "Lateness as in `scale`. Reload: from the command (keepalived: SIGHUP) until the table was "
        "told of the one changed weight.",
        "The same as a plot: [growth.svg](growth.svg), with its data in "
        "[growth.json](growth.json).",
        f"ldirectord, with an ipvsadm that only notes what it is told, up to "
        f"{MOST_OF_LDIRECTORD:,} real servers: it starts three programs for each before everything "
        "is in service, and asks one after the other, then pauses for the interval. So it asks "
        "less often the more there are, and has no rhythm to be late against.",
        stub_note(),
    )
    return [Table("Growth with the number of real servers, native", head, rows, notes)]
