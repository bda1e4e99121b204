"""What 10 to 20,000 real servers cost lvsd and keepalived: the plot in docs, with its data.

HTTP checks every three seconds, five real servers to a service, both daemons in turn, natively.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import scale
from tests.bench.arrivals import arrivals
from tests.bench.chart import Panel, draw
from tests.bench.crowd import CrowdKeepalived, CrowdLvsd
from tests.bench.daemons import compiler, stub_note
from tests.bench.figures import Table, machine, number, today

SIZES = (10, 100, 1000, 10_000, 20_000)
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
    kinds = (CrowdLvsd, CrowdKeepalived) if compiler() else (CrowdLvsd,)
    found: dict[str, dict[str, list[list[float]]]] = {
        kind.name: defaultdict(lambda: [[] for _ in SIZES]) for kind in kinds
    }
    with arrivals() as here:
        for rep in range(reps):
            for place, reals in enumerate(SIZES):
                for kind in kinds[:: 1 if rep % 2 == 0 else -1]:
                    asked = scale.crowd(reals, http=True)
                    daemon = kind(here.lab, asked)
                    with scale.running(here, daemon, asked):
                        steady = scale.steady(here, daemon, asked, seconds)
                        took = scale.reload(daemon, asked)
                    values = {
                        "cores": steady.cores,
                        "memory": steady.memory / 1e6,
                        "late": steady.late * 1e3,
                        "reload": took,
                    }
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


def svg(data: dict[str, Any]) -> str:
    """The plot of such data."""
    panels = []
    for what, title in data["panels"].items():
        lines = {
            name: [median(samples) for samples in each[what]]
            for name, each in data["daemons"].items()
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
        (title, name, *(number(median(samples)) for samples in each[what]))
        for what, title in data["panels"].items()
        for name, each in data["daemons"].items()
    ]
    head = ("medians", "daemon", *(f"{reals:,} reals" for reals in data["reals"]))
    notes = (
        f"HTTP checks every 3 s, five real servers to a service, windows of {seconds:g} s. "
        "Lateness as in `scale`. Reload: from the command (keepalived: SIGHUP) until the table was "
        "told of the one changed weight.",
        "The same as a plot: [growth.svg](growth.svg), with its data in "
        "[growth.json](growth.json).",
        "ldirectord is missing: without IPVS it does not run, and in the virtual machine its start "
        "alone takes more than half a second for each real server.",
        stub_note(),
    )
    return [Table("Growth with the number of real servers, native", head, rows, notes)]
