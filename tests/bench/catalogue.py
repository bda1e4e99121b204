"""The benches: what each is called, where it runs, and with what if nothing else is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.bench import (
    checks,
    detection,
    failover,
    fuzz,
    growth,
    lateness,
    memory,
    passes,
    reload,
    scale,
    start,
    table,
    watch,
    watch_kernel,
)
from tests.bench.figures import Table


@dataclass(frozen=True, slots=True)
class Bench:
    """One bench: `run` is called with the values of `options`, in order, then with an interval.

    `options` holds the defaults. `intervals` between adverts, in seconds, give a section each.
    `ipvs`: it needs a kernel with IPVS. `long`: it takes more than some minutes. `summarised`:
    what it aimed at is short enough for the README.
    """

    name: str
    run: Callable[..., list[Table]]
    options: Mapping[str, float] = field(default_factory=dict)
    intervals: tuple[float, ...] = ()
    ipvs: bool = False
    long: bool = False
    summarised: bool = True


BENCHES = (
    Bench("start", start.run, {"reps": 5}),
    Bench("watch", watch.run, {"reps": 3}),
    Bench("watch-kernel", watch_kernel.run, {"reps": 1}, ipvs=True),
    Bench("checks", checks.run, {"reps": 2, "seconds": 5}),
    Bench("passes", passes.run, {"reps": 2, "seconds": 15}),
    Bench("scale", scale.run, {"reps": 1, "seconds": 9}),
    Bench("lateness", lateness.run, {"reps": 1, "seconds": 15}, (0.1,)),
    Bench("table", table.run, {"reps": 3}, ipvs=True),
    Bench("reload", reload.run, {"reps": 2}),
    Bench("memory", memory.run, {"reps": 2}),
    Bench("detection", detection.run, {"reps": 5}, ipvs=True, long=True),
    Bench("failover", failover.run, {"reps": 20, "lanes": 5}, (1.0, 0.1, 0.01), False, True, False),
    Bench("flaps", lateness.run_long, {"minutes": 10}, long=True),
    Bench("growth", growth.run, {"reps": 1, "seconds": 12}, long=True),
    Bench("fuzz", fuzz.run, {"inputs": 1_000_000}, long=True),
)


def chosen(names: Iterable[str], long: bool) -> list[Bench]:
    """The benches of these names, in order; without names all that are (not) long."""
    wanted = set(names)
    return [b for b in BENCHES if (b.name in wanted if wanted else b.long == long)]


def key(bench: Bench, interval: float | None) -> str:
    """The name of a bench's section."""
    return bench.name if interval is None else f"{bench.name}-{interval:g}"


def keys(summarised: bool = False) -> Iterator[str]:
    """The names of the page's sections, or of those that the README sums up, in order."""
    for bench in (b for b in BENCHES if b.summarised or not summarised):
        yield from (key(bench, at) for at in bench.intervals or (None,))
