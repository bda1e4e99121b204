"""Runs benches: `python -m tests.bench [NAME...] [--reps N] [--write]`.

Without names all that are not long, or with --long those that are. Each says where it runs:
natively, or (where the table is part of it) on a kernel with IPVS, which is this one or the lab's
virtual machine. Tables go to standard output, progress to standard error. A bench that is measured
at several intervals between adverts gives a section for each, so that one can be measured alone.
What was aimed at is said once more at the end; --write puts it all into the pages.
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

from tests.bench.catalogue import BENCHES, Bench, chosen, key, keys
from tests.bench.figures import PAGE, README, Section, Table, load, machine, text, today, write
from tests.bench.summary import merged, summarise
from tests.lab.run import LAB_FAILED, native, run_here
from tests.lab.tree import LabError, ensure
from tests.lab.vm import Follower, Vm, check_possible

RESULTS = "bench.json"
#: Seconds for one bench on a kernel with IPVS.
PATIENCE = 3600.0


def sections(bench: Bench, options: argparse.Namespace) -> Iterator[Section]:
    """Run one bench in this process, once for each interval."""
    if not bench.intervals:
        yield section(bench, None, options)
    for interval in options.advertint or bench.intervals if bench.intervals else ():
        yield section(bench, interval, options)


def section(bench: Bench, interval: float | None, options: argparse.Namespace) -> Section:
    """Run one bench at one interval."""
    called = key(bench, interval)
    print(f"bench: {called}", file=sys.stderr, flush=True)
    date, busy = today(), load()
    values = given(bench, options)
    at = () if interval is None else (interval,)
    tables = bench.run(*values.values(), *at)
    last = tables[-1]
    ended = Table(last.title, last.head, last.rows, [*last.notes, busy])
    words = [bench.name, *(f"--{option} {value:.9g}" for option, value in values.items())]
    words += [f"--advertint {value:g}" for value in at]
    where = machine("LVSD_IN_VM" in os.environ)
    return Section(called, " ".join([*words, "--write"]), where, date, [*tables[:-1], ended])


def given(bench: Bench, options: argparse.Namespace) -> dict[str, float]:
    """What a bench is told: the options it heeds, from the command line or its own."""
    said = {name: getattr(options, name) for name in bench.options}
    return {name: said[name] or default for name, default in bench.options.items()}


def apart(bench: Bench, options: argparse.Namespace, folder: Path) -> Section:
    """Run one bench in a network namespace of its own on a kernel with IPVS."""
    words = ["python3", "-m", "tests.bench", bench.name]
    for name, value in given(bench, options).items():
        words += [f"--{name}", f"{value:.9g}"]
    if native():
        words[0] = sys.executable
        result = folder / RESULTS
        os.environ["LVSD_RESULTS"] = str(folder)
        status = run_here(["unshare", "-n", *words, "--here"], PATIENCE)
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
    names = [bench.name for bench in BENCHES]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--long", action="store_true", help="the long ones")
    parser.add_argument(*("--reps", "--repetitions"), type=int, help="repetitions")
    parser.add_argument("--seconds", type=float, help="of a window")
    parser.add_argument("--lanes", type=int, help="pairs measured at a time by failover")
    parser.add_argument("--inputs", type=int, help="of fuzz, to read")
    parser.add_argument("--minutes", type=float, help="of flaps, for each daemon")
    parser.add_argument(
        "--advertint", type=intervals, help="failover's and lateness' intervals, comma-separated"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put the tables into {PAGE.name} and {README.name}"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(names):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    options = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    todo = chosen(options.names, options.long)
    if options.here:
        (bench,) = todo
        (done,) = sections(bench, options)
        Path(os.environ["LVSD_RESULTS"], RESULTS).write_text(json.dumps(asdict(done)))
        return 0
    if os.geteuid():
        print("bench: network namespaces need root", file=sys.stderr)
        return 1
    return benches(todo, options)


def benches(todo: Sequence[Bench], options: argparse.Namespace) -> int:
    """One after the other, printed as they end; then what was aimed at."""
    ended: list[Section] = []
    status = 0
    try:
        for bench in todo:
            try:
                ended += told(bench, options)
            except LabError as error:
                print(f"bench: {bench.name}: {error}", file=sys.stderr)
                status = LAB_FAILED
    except KeyboardInterrupt:
        return 130
    print(text(merged(ended)))
    if options.write:
        summarise(keys(summarised=True))
    return status


def told(bench: Bench, options: argparse.Namespace) -> Iterator[Section]:
    """Run one bench, and print and write its sections as they end."""
    with tempfile.TemporaryDirectory(prefix="lvsd-bench-") as folder:
        if bench.ipvs:
            found = iter([apart(bench, options, Path(folder))])
        else:
            found = sections(bench, options)
        for done in found:
            print("\n".join([f"\n# {done.name}: {done.machine}", *map(text, done.tables)]))
            sys.stdout.flush()
            if options.write:
                write(done, [*keys()])
            yield done


if __name__ == "__main__":
    sys.exit(main())
