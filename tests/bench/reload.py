"""Reloads and large configurations: lvsd beside keepalived, in turn, native.

The whole reload of a daemon at work: its real servers are checked, it is master and advertises
every 100 ms; then one weight in its file changes, again and again. From the request to the end of
the reload; meanwhile the gaps between adverts, by the kernel's timestamps at the switch.

And reading alone, without a daemon: `lvsd check` beside `keepalived --config-test`.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

from lvsd import config
from lvsd.control.client import request
from tests.bench.daemons import (
    REAL_TIME_NOTE,
    SOURCES,
    Daemon,
    Job,
    Keepalived,
    Lvsd,
    checkers,
    keepalived_conf,
    lvsd_conf,
    stub_note,
)
from tests.bench.farm import Farm, farm
from tests.bench.figures import Table, aim, aims, percentile, ratio, sample
from tests.bench.observer import Observer
from tests.lab import peer
from tests.lab.topology import wait_until

REALS = 10_000
#: Reloads of one daemon, and seconds between two of them.
RELOADS, PAUSE = 3, 0.5
PATIENCE = 120.0
SIZES = (5_000, 10_000, 20_000, 40_000)
ADVERTINT = 0.1
BEFORE, MEANWHILE = "before", "while it reloads"
#: Milliseconds of a whole reload aimed at, and how much larger a gap may be than keepalived's.
MOST, CLOSE = 1000.0, 1.0

Found = defaultdict[tuple[str, str], list[float]]


def run(reps: int, reals: int = REALS) -> list[Table]:
    """What was measured, and what was aimed at."""
    reloads, gaps = Found(list), Found(list)
    job = Job(ADVERTINT, reals, services=100, interval=max(1, reals // 1000))
    with farm() as inside:
        observer = Observer(inside.lab).start()
        for rep in range(reps):
            for kind in checkers()[:: 1 if rep % 2 == 0 else -1]:
                measure(inside, observer, kind, job, reloads, gaps)
    measured = [whole(reloads, reals), lateness(gaps, reals), reading(reps)]
    return [*measured, aimed(reloads, gaps, reals)]


def measure(
    inside: Farm,
    observer: Observer,
    kind: type[Lvsd] | type[Keepalived],
    job: Job,
    reloads: Found,
    gaps: Found,
) -> None:
    """The reloads of one daemon, from its start to its end."""
    with working(inside, observer, kind, job) as daemon:
        began = time.monotonic()
        time.sleep(5 * PAUSE)
        gaps[BEFORE, daemon.name] += between(observer, began)
        began = time.monotonic()
        for number in range(RELOADS):
            took = reload(daemon, job, number + 2)
            reloads[daemon.name, ""].append(took)
            time.sleep(PAUSE)
        found = between(observer, began)
        gaps[MEANWHILE, daemon.name] += found
    said = ", ".join(f"{took:.3f}" for took in reloads[daemon.name, ""][-RELOADS:])
    print(f"{daemon.name}: {said} s, gap {max(found) * 1e3:.1f} ms", file=sys.stderr, flush=True)


@contextmanager
def working(
    inside: Farm, observer: Observer, kind: type[Lvsd] | type[Keepalived], job: Job
) -> Iterator[Daemon]:
    """A daemon that has asked every real server and holds the VIP."""
    daemon: Daemon = kind(inside.lab, "dirA", job)
    _, config_file = place(daemon)
    config_file.write_text(text_of(daemon, job))
    served = inside.served
    daemon.start()
    try:
        wait_until(lambda: inside.served >= served + job.reals, PATIENCE, "everything is asked")
        observer.advert(SOURCES["dirA"], time.monotonic(), PATIENCE)
        wait_until(lambda: observer.holds("dirA"), PATIENCE, "the VIP is there")
        yield daemon
    except AssertionError:
        print(f"--- {daemon.name}\n{daemon.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        daemon.kill_everything()
        inside.lab.exec("dirA", ["ip", "addr", "flush", "dev", "eth0", "to", "10.77.0.100"])


def place(daemon: Daemon) -> tuple[str, Path]:
    """The pattern of a weight in the daemon's configuration, and its file."""
    if isinstance(daemon, Lvsd):
        return r"gate\b( \d+)?", daemon.director.config
    return r"    weight \d+", daemon.config


def text_of(daemon: Daemon, job: Job) -> str:
    """The daemon's configuration."""
    if isinstance(daemon, Lvsd):
        return lvsd_conf(job)
    # Its reading of a large file in real time lasts longer than it would live by default.
    text = keepalived_conf(job, daemon.node, daemon.priority_file)
    return text.replace("global_defs {", "global_defs {\n  vrrp_rlimit_rttime 60000000", 1)


def changed(daemon: Daemon, job: Job, weight: int) -> str:
    """The same with another weight of a real server in the middle."""
    text, (pattern, _) = text_of(daemon, job), place(daemon)
    match = re.compile(pattern).search(text, len(text) // 2)
    assert match is not None
    new = f"gate {weight}" if isinstance(daemon, Lvsd) else f"    weight {weight}"
    return text[: match.start()] + new + text[match.end() :]


def reload(daemon: Daemon, job: Job, weight: int) -> float:
    """Seconds from the request to the end of the reload."""
    place(daemon)[1].write_text(changed(daemon, job, weight))
    if isinstance(daemon, Lvsd):
        began = time.monotonic()
        code, answer = request(str(daemon.director.socket), "POST", "/v1/reload", timeout=PATIENCE)
        took = time.monotonic() - began
        assert (code, len(answer["changes"])) == (200, 1), answer
        return took
    assert daemon.process is not None
    heard = Activated(daemon.process.log)
    began = time.monotonic()
    daemon.process.send(signal.SIGHUP)
    wait_until(lambda: heard.more() >= job.reals, PATIENCE, "all checkers run", interval=0.005)
    return time.monotonic() - began


class Activated:
    """Counts the checkers that keepalived has said to activate; the last thing of a reload."""

    def __init__(self, log: Path) -> None:
        self._log, self._at, self._count = log, log.stat().st_size, 0

    def more(self) -> int:
        """How many since this was made."""
        with self._log.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._at += end
        self._count += data.count(b"Activating healthchecker", 0, end)
        return self._count


def between(observer: Observer, began: float) -> list[float]:
    """The gaps between adverts since then, in seconds."""
    ended = time.monotonic()
    observer.look()
    times = sorted(advert.at for advert in observer.adverts if began <= advert.at <= ended)
    return [later - earlier for earlier, later in pairwise(times)]


def whole(reloads: Found, reals: int) -> Table:
    """How long a reload lasts."""
    ours, theirs = reloads["lvsd", ""], reloads["keepalived", ""]
    times = (sample(ours, 1e3), sample(theirs, 1e3), ratio(ours, theirs))
    rows = [(f"{reals:,} checked reals, one weight changed", *times)]
    return Table(
        "Whole reload, ms, native",
        ("", "lvsd", "keepalived", "ratio"),
        rows,
        (
            "lvsd: from the request on its socket to the answer, reading included. keepalived: "
            "from SIGHUP until its log has told of the last checker.",
            stub_note(),
        ),
    )


def aimed(reloads: Found, gaps: Found, reals: int) -> Table:
    """How long a reload may last, and how much later adverts may be meanwhile."""
    took = reloads["lvsd", ""]
    work = f"{reals:,} checked reals, one weight changed: reload with --table=none"
    rows = [aim(work, f"≤ {MOST:g} ms", f"{sample(took, 1e3)} ms", median(took) * 1e3 <= MOST)]
    late, theirs = (gaps[MEANWHILE, name] for name in ("lvsd", "keepalived"))
    if theirs:
        shown = " beside ".join(f"{max(each) * 1e3:.1f}" for each in (late, theirs))
        target = f"≤ keepalived's + {CLOSE:g} ms"
        reached = max(late) <= max(theirs) + CLOSE / 1e3
        work = f"largest gap meanwhile between adverts every {ADVERTINT * 1e3:g} ms"
        rows.append(aim(work, target, f"{shown} ms", reached))
    return aims("Reload", rows)


def lateness(gaps: Found, reals: int) -> Table:
    """The gaps between adverts."""
    rows = []
    for when in (BEFORE, MEANWHILE):
        for kind in checkers():
            values = [value * 1e3 for value in gaps[when, kind.name]]
            points = (percentile(values, p) for p in (50, 99))
            shown = (f"{value:.2f}" for value in (*points, max(values)))
            rows.append((when, kind.name, *shown, str(len(values))))
    return Table(
        f"Gap between adverts every {ADVERTINT * 1e3:g} ms, {reals:,} checked reals, ms, native",
        ("", "daemon", "p50", "p99", "max", "n"),
        rows,
        (REAL_TIME_NOTE, "keepalived: with `vrrp_rlimit_rttime`, or each reload kills it."),
    )


def reading(reps: int) -> Table:
    """CPU of reading at all sizes."""
    spent = Found(list)
    with tempfile.TemporaryDirectory(prefix="lvsd-bench-") as folder:
        for size in SIZES:
            todo = tasks(Path(folder), Job(reals=size, services=size // 20))
            for _ in range(reps):
                for name, task in todo.items():
                    spent[name, f"{size}"].append(task())
            said = ", ".join(f"{name} {spent[name, f'{size}'][-1]:.2f} s" for name in todo)
            print(f"{size} reals: {said}", file=sys.stderr, flush=True)
    rows = []
    for name in todo:
        values = [spent[name, f"{size}"] for size in SIZES]
        growth = ratio(values[-1], values[0])
        rows.append((name, *(sample(each) for each in values), growth))
    return Table(
        "Reading a configuration, 20 reals a service, CPU seconds, native",
        ("", *(f"{size:,} reals" for size in SIZES), "8 times the reals"),
        rows,
        (
            "lvsd check, keepalived --config-test: whole programs. The others: parts of the "
            "daemon, in the bench's process; reading again is with what the last reading left.",
        ),
    )


def tasks(folder: Path, job: Job) -> Mapping[str, Callable[[], float]]:
    """What is measured at one size."""
    ours, theirs, edited = folder / "lvsd.conf", folder / "keepalived.conf", folder / "edited.conf"
    text = "quiescent=yes\n" + lvsd_conf(job)
    ours.write_text(text)
    middle = text.index(" gate", len(text) // 2)
    edited.write_text(f"{text[:middle]} gate 7{text[middle + 5 :]}")
    theirs.write_text(keepalived_conf(job, "dirA", folder / "priority"))
    lvsd = [sys.executable, "-m", "lvsd", "--config", str(ours), "check"]
    recall = config.Recall()
    read = config.load(ours, recall=recall)
    gc.collect()
    gc.freeze()  # as the daemon does with what is in force
    return {
        "lvsd check": lambda: program(lvsd),
        "keepalived --config-test": lambda: program(
            peer.words(["keepalived", "-t", "-f", str(theirs)], folder)
        ),
        "lvsd check --print": lambda: program([*lvsd, "--print"]),
        "lvsd: read": lambda: processor(lambda: config.load(ours)),
        "lvsd: read again, one weight changed": lambda: again(recall, ours, edited),
        "lvsd: render": lambda: processor(lambda: config.render(read)),
    }


def again(recall: config.Recall, ours: Path, edited: Path) -> float:
    """CPU seconds of reading the edited file after the other."""
    config.load(ours, recall=recall)
    return processor(lambda: config.load(edited, recall=recall))


def program(words: list[str]) -> float:
    """CPU seconds of a program and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processor(work: Callable[[], object]) -> float:
    """CPU seconds of some work in this process, the garbage collector off as in the daemon."""
    gc.disable()
    began = time.process_time()
    work()
    spent = time.process_time() - began
    gc.enable()
    return spent
