"""Runs benches: `python -m tests.bench [NAME...] [--reps N] [--write]`; without names, all.

Each says where it runs: natively, or (`table`, `detection`) on a kernel with IPVS, which is this
one or the lab's virtual machine. Tables go to standard output, progress to standard error. A bench
that is measured at several intervals between adverts gives a section for each, so that one can be
measured alone.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench import checks, detection, failover, fuzz, lateness, memory, table
from tests.bench.figures import PAGE, Section, Table, load, machine, text, today, write
from tests.lab.run import LAB_FAILED, native, run_here
from tests.lab.tree import LabError, ensure
from tests.lab.vm import Follower, Vm, check_possible

NAMES = ("table", "detection", "checks", "failover", "lateness", "memory", "fuzz")
#: The benches that need a kernel with IPVS.
IPVS = ("table", "detection")
#: The intervals between adverts at which a bench is measured.
INTERVALS = {"failover": (1.0, 0.1, 0.01), "lateness": (0.1, 0.01)}
#: The options that a bench heeds.
HEEDED = {
    **dict.fromkeys(("table", "detection", "memory"), ("reps",)),
    **dict.fromkeys(("checks", "lateness"), ("reps", "seconds")),
    "failover": ("reps", "lanes"),
    "fuzz": ("inputs",),
}
RESULTS = "bench.json"


def keys() -> Iterator[str]:
    """The names of all sections of the page, in order."""
    for name in NAMES:
        yield from (key(name, at) for at in INTERVALS.get(name, (None,)))


def key(name: str, advertint: float | None) -> str:
    """The name of a bench's section."""
    return name if advertint is None else f"{name}-{advertint:g}"


def sections(name: str, options: argparse.Namespace) -> Iterator[Section]:
    """Run one bench in this process, once for each interval."""
    at = INTERVALS.get(name, (None,))
    for advertint in (options.advertint or at) if name in INTERVALS else at:
        yield section(name, advertint, options)


def section(name: str, advertint: float | None, options: argparse.Namespace) -> Section:
    """Run one bench at one interval."""
    called = key(name, advertint)
    print(f"bench: {called}", file=sys.stderr, flush=True)
    date, busy, at = today(), load(), advertint or 0.0
    match name:
        case "table":
            tables = table.run(options.reps)
        case "detection":
            tables = detection.run(options.reps)
        case "checks":
            tables = checks.run(options.reps, options.seconds)
        case "failover":
            tables = failover.run(options.reps, at, options.lanes)
        case "lateness":
            tables = lateness.run(options.reps, options.seconds, at)
        case "memory":
            tables = memory.run(options.reps)
        case _:
            tables = fuzz.run(options.inputs)
    last = tables[-1]
    ended = Table(last.title, last.head, last.rows, [*last.notes, busy])
    words = [name, *(f"--{option} {getattr(options, option):.9g}" for option in HEEDED[name])]
    words += [f"--advertint {at:g}"] * bool(advertint)
    where = machine("LVSD_IN_VM" in os.environ)
    return Section(called, " ".join([*words, "--write"]), where, date, [*tables[:-1], ended])


def apart(name: str, options: argparse.Namespace, folder: Path) -> Section:
    """Run one bench in a network namespace of its own on a kernel with IPVS."""
    words = ["python3", "-m", "tests.bench", name, "--reps", str(options.reps)]
    if native():
        words[0] = sys.executable
        result = folder / RESULTS
        os.environ["LVSD_RESULTS"] = str(folder)
        status = run_here(["unshare", "-n", *words, "--here"], 2400.0)
        return read(result, status)
    check_possible()
    print("lab: booting a kernel with IPVS ...", file=sys.stderr, flush=True)
    with Vm(ensure(), ["unshare", "-n", *words, "--here"]) as vm:
        status = vm.follow(Follower(vm.folder / "stderr", sys.stderr.buffer))
        return read(vm.results / RESULTS, status)


def read(path: Path, status: int) -> Section:
    """The section a bench elsewhere has left."""
    if status:
        raise LabError(f"the bench ended with status {status}")
    data = json.loads(path.read_text())
    tables = [Table(**table) for table in data.pop("tables")]
    return Section(**data, tables=tables)


def intervals(words: str) -> tuple[float, ...]:
    return tuple(float(word) for word in words.split(","))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        *("--reps", "--repetitions"), type=int, default=3, help="repetitions (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=10, help="of a window (%(default)s)")
    parser.add_argument(
        "--lanes", type=int, default=2, help="pairs measured at a time by failover (%(default)s)"
    )
    parser.add_argument(
        "--inputs", type=int, default=1_000_000, help="of fuzz, to read (%(default)s)"
    )
    parser.add_argument(
        "--advertint", type=intervals, help="failover's and lateness' intervals, comma-separated"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    options = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.here:
        (name,) = options.names
        (done,) = sections(name, options)
        Path(os.environ["LVSD_RESULTS"], RESULTS).write_text(json.dumps(asdict(done)))
        return 0
    if os.geteuid():
        print("bench: network namespaces need root", file=sys.stderr)
        return 1
    return benches(options)


def benches(options: argparse.Namespace) -> int:
    """One after the other, printed as they end."""
    try:
        with tempfile.TemporaryDirectory(prefix="lvsd-bench-") as folder:
            for name in options.names or NAMES:
                if name in IPVS:
                    found = iter([apart(name, options, Path(folder))])
                else:
                    found = sections(name, options)
                for done in found:
                    print("\n".join([f"\n# {done.name}: {done.machine}", *map(text, done.tables)]))
                    sys.stdout.flush()
                    if options.write:
                        write(done, [*keys()])
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return LAB_FAILED
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
