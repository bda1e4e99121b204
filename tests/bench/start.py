"""How soon a daemon is there: from its start to listening on VRRP and to its first advert.

lvsd beside keepalived in turn, VRRP only, in a namespace of the lab. A daemon listens when its
kernel shows a raw socket of protocol 112 and the group 224.0.0.18 (/proc/net/raw, /proc/net/igmp),
which the bench looks at every millisecond. An advert counts when it is at the switch. What
starts is what a service manager starts: the installed program `lvsd`, its bytecode compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.bench.daemons import (
    SOURCES,
    VIP,
    Daemon,
    Job,
    Keepalived,
    Lvsd,
    cpu_seconds,
)
from tests.bench.figures import Table, aim, aims, load, ratio, sample
from tests.bench.observer import Observer
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

LISTENING, LISTENING_OWNER = "listening on VRRP", "listening on VRRP, priority 255"
ADVERT, CPU = "first advert, priority 255", "CPU of the start"
STATUS, PYTHON = "`lvsd status`, start to exit", "bare Python, start to exit"
#: Milliseconds to reach, by row.
TARGETS = {LISTENING: 150, ADVERT: 500, STATUS: 100}
TITLE = "Cold start, ms, native"
JOBS = {LISTENING: Job(advertint=1), LISTENING_OWNER: Job(advertint=1, owner=True)}
#: Seconds after which a daemon of this size has long finished its start.
SETTLED = 2.0
#: 224.0.0.18 as /proc/net/igmp writes it, and protocol 112 as /proc/net/raw does.
GROUP, PROTOCOL = "120000E0", ":0070 "

Found = defaultdict[tuple[str, str], list[float]]


class Installed(Lvsd):
    """lvsd by its installed program."""

    def start(self) -> None:
        director = self.director
        words = ["run", "--config", director.config, "--runtime-dir", director.folder / "run"]
        words += ["--state-dir", director.folder / "state", "--table", "none"]
        words += ["--node", self.node, "--socket", director.socket]
        director.process = director.lab.spawn(self.node, [program(), *words], env=bytecode(self))


def bytecode(daemon: Installed) -> dict[str, str]:
    """Where compiled code is kept, as an installed package has it: not in the sources' folders."""
    folder = daemon.director.lab.folder / "bytecode"
    return {"PYTHONPYCACHEPREFIX": str(folder), "PYTHONDONTWRITEBYTECODE": ""}


def program() -> str:
    """The installed `lvsd`."""
    return str(Path(sys.executable).with_name("lvsd"))


def listening() -> bool:
    """Whether a daemon listens on VRRP in the network the calling thread is in."""
    net = Path("/proc/thread-self/net")
    return PROTOCOL in (net / "raw").read_text() and GROUP in (net / "igmp").read_text()


def started(lab: Topology, daemon: Daemon) -> tuple[float, float]:
    """Start a daemon on dirA: when, and when it listened."""
    began = time.monotonic()
    daemon.start()

    def wait() -> float:
        wait_until(listening, 60, f"{daemon.name} listens", interval=0.001)
        return time.monotonic()

    return began, lab.inside("dirA", wait)


def life(lab: Topology, observer: Observer, kind: type[Daemon], row: str, found: Found) -> None:
    """One start of a daemon, what it cost, and its end."""
    job = JOBS[row]
    daemon = kind(lab, "dirA", job)
    try:
        began, heard = started(lab, daemon)
        found[row, daemon.name].append(heard - began)
        if job.owner:
            advert = observer.advert(SOURCES["dirA"], began, 60)
            found[ADVERT, daemon.name].append(advert.at - began)
        time.sleep(max(0.0, began + SETTLED - time.monotonic()))
        found[CPU, daemon.name].append(cpu_seconds(daemon.pids()))
        if isinstance(daemon, Installed):
            ask = [program(), "status", "--socket", str(daemon.director.socket)]
            env = bytecode(daemon)
            found[STATUS, daemon.name].append(run_time(ask, env))
            found[PYTHON, daemon.name].append(run_time([sys.executable, "-c", ""], env))
    except BaseException:
        print(f"--- {daemon.name}\n{daemon.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        daemon.kill_everything()
        wait_until(lambda: not lab.inside("dirA", listening), 10, "nobody listens any more")
        if VIP in lab.addresses("dirA"):
            lab.ip("dirA", [f"addr del {VIP}/32 dev eth0"])
        shutil.rmtree(lab.folder / "lvsd-dirA", ignore_errors=True)


def run_time(words: list[str], env: dict[str, str]) -> float:
    """Seconds a program takes from its start to its exit."""
    began = time.monotonic()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True, env={**os.environ, **env})
    return time.monotonic() - began


def run(reps: int) -> list[Table]:
    """The figures, and how far they are from what was aimed at."""
    found = Found(list)
    kinds: tuple[type[Daemon], ...] = (Installed, Keepalived)
    with Topology(Layout.dr(reals=0)) as lab:
        observer = Observer(lab).start()
        for rep in range(reps + 1):
            # The first one compiles, and fills the caches of the machine: no start is like it.
            into = found if rep else Found(list)
            for kind in kinds[:: 1 if rep % 2 else -1]:
                for row in JOBS:
                    life(lab, observer, kind, row, into)
            said = ", ".join(f"{who}: {what} {v[-1] * 1e3:.0f}" for (what, who), v in into.items())
            print(f"{rep}: {said}", file=sys.stderr, flush=True)
    rows = [line(name, found) for name in (*JOBS, ADVERT, CPU, STATUS, PYTHON)]
    return [
        Table(TITLE, ("from process start to", "lvsd", "keepalived", "ratio"), rows, notes(reps)),
        aims(TITLE, [*aimed(found)]),
    ]


def line(name: str, found: Found) -> tuple[str, str, str, str]:
    """One line of the first table."""
    ours, theirs = found[name, "lvsd"], found[name, "keepalived"]
    return name, sample(ours, 1e3), sample(theirs, 1e3), ratio(ours, theirs)


def aimed(found: Found) -> Iterator[tuple[str, str, str, str]]:
    """The targets at the median."""
    for name, target in TARGETS.items():
        ours = found[name, "lvsd"]
        reached = sorted(ours)[len(ours) // 2] * 1e3 < target
        yield aim(name, f"< {target} ms", f"{sample(ours, 1e3)} ms", reached)


def notes(reps: int) -> tuple[str, ...]:
    """How it was measured."""
    return (
        f"{reps} rounds, each daemon twice in each, in turn; files in the page cache, bytecode "
        "compiled. VRRP only. Listening: the raw socket of protocol 112 and the group in the "
        "director's namespace, looked at every millisecond; the advert by its timestamp at "
        "the switch.",
        f"CPU is of all processes of the daemon, {SETTLED:g} s after the start. keepalived is "
        "started through chroot into the lab's tree, about 1 ms.",
        load(),
    )
