"""Failover of a pair of directors: an lvsd pair and a keepalived pair in turn, VRRP only.

In each repetition a pair starts afresh, the better node becomes master, and then it is stopped,
killed, unplugged, each time followed by its return. A quarter of an interval after one of its
adverts the event happens; the observer tells when the backup's first advert was on the wire,
which requests of a client nobody answered, and for how long both directors had the VIP.
`late` is the backup's advert against the formula: priority 0 + skew after a word of farewell,
last advert + 3 intervals + skew after silence, whichever is first. `killed` is SIGKILL to lvsd's
main process and to all of keepalived's; `all killed` is everything of either.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench.daemons import DAEMONS, PRIORITIES, SOURCES, VIP, Daemon, Job
from tests.bench.figures import Table, number, ratio, sample
from tests.bench.observer import PATIENCE, Observer
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

TITLE = "Failover, VRRP only, native"
STOPPED, KILLED, ALL_KILLED, CUT = "orderly stop", "killed", "all killed", "cable cut"
RETURNED, JOINED = "failback after a start", "failback, cable back"
EVENTS = (STOPPED, KILLED, ALL_KILLED, CUT, RETURNED, JOINED)
#: How long two owners are watched: longer than any lease of these intervals.
WATCH = 4.0
SIOCSIFFLAGS = 0x8914


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds: the client's outage, event to first advert, the same by the formula, two owners."""

    outage: float
    advert: float
    formula: float | None
    owners: float


@dataclass(slots=True)
class Pair:
    """Two directors with one daemon, and who watches them."""

    lab: Topology
    observer: Observer
    job: Job
    first: Daemon
    second: Daemon

    @property
    def skew(self) -> float:
        unit = 1.0 if self.job.version == 2 else self.job.advertint
        return (256 - PRIORITIES["dirB"]) / 256 * unit

    @property
    def silence(self) -> float:
        """The backup's master_down_interval."""
        return 3 * self.job.advertint + self.skew

    def start(self) -> None:
        """Both, until the better one alone has the VIP."""
        now = time.monotonic()
        self.second.start()
        self.first.start()
        self.observer.advert(SOURCES["dirA"], now, 30 + self.silence)
        self.settled()

    def settled(self) -> None:
        """Wait until only the better node has the VIP."""

        def alone() -> bool:
            return self.observer.holds("dirA") and not self.observer.holds("dirB")

        wait_until(alone, 10 + self.silence, "only the better node has the VIP")
        time.sleep(max(0.3, 2 * self.job.advertint))

    def lose(self, event: str) -> Measured:
        """Take the master away and see the backup take over."""
        last = self.observer.advert(SOURCES["dirA"], time.monotonic(), 10)
        time.sleep(max(0.0, last.at + self.job.advertint / 4 - time.monotonic()))
        began = time.monotonic()
        calls: dict[str, Callable[[], None]] = {
            STOPPED: self.first.stop,
            KILLED: self.first.kill,
            ALL_KILLED: self.first.kill_everything,
            CUT: lambda: self.lab.inside("sw", unplug, self.lab.port("dirA")),
        }
        calls[event]()
        heard = self.observer.advert(SOURCES["dirB"], began, 10 + self.silence)
        time.sleep(WATCH if event in (KILLED, ALL_KILLED) else 0.4)
        return self.measured(began, heard.at, event)

    def regain(self, event: str) -> Measured:
        """Bring the better node back and see it take the VIP."""
        began = time.monotonic()
        if event == JOINED:
            self.lab.join("dirA")
        else:
            self.first.start()
        heard = self.observer.advert(SOURCES["dirA"], began, 30 + self.silence)
        self.settled()
        return self.measured(began, heard.at, event)

    def measured(self, began: float, heard: float, event: str) -> Measured:
        """Everything about the event, once late answers can be told from lost ones."""
        until = time.monotonic()
        time.sleep(PATIENCE + 0.1)
        observer = self.observer
        formula = self.formula(began, heard) if event in (STOPPED, KILLED, ALL_KILLED, CUT) else 0
        return Measured(
            observer.outage(began - 0.02, until),
            heard - began,
            formula - began if formula else None,
            observer.both(("dirA", "dirB"), began, until),
        )

    def formula(self, began: float, heard: float) -> float:
        """When the backup's first advert is due."""
        mine = [a for a in self.observer.adverts if a.source == SOURCES["dirA"] and a.at < heard]
        usual = max(a.at for a in mine if a.priority) + self.silence
        farewells = [a.at for a in mine if a.priority == 0 and a.at > began]
        return min(usual, min(farewells) + self.skew) if farewells else usual

    def close(self) -> None:
        """End both and leave the machines as they were."""
        for daemon in (self.first, self.second):
            daemon.kill_everything()
        self.lab.join("dirA")
        for node in PRIORITIES:
            if VIP in self.lab.addresses(node):
                self.lab.ip(node, [f"addr del {VIP}/32 dev eth0"])


def unplug(port: str) -> None:
    """Take a port of the switch down at once; starting `ip` would take longer than 10 ms."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", port.encode(), 0)
        fcntl.ioctl(sock, SIOCSIFFLAGS, request)


def trial(pair: Pair) -> Iterator[tuple[str, Measured]]:
    """One life of a pair, all events."""
    try:
        pair.start()
        for event in (STOPPED, KILLED, ALL_KILLED):
            if event == KILLED and pair.first.name == "keepalived":
                continue  # the same as all killed
            yield event, pair.lose(event)
            yield RETURNED, pair.regain(RETURNED)
        yield CUT, pair.lose(CUT)
        yield JOINED, pair.regain(JOINED)
    except AssertionError:
        for daemon in (pair.first, pair.second):
            print(f"--- {daemon.name} on {daemon.node}\n{daemon.log()[-3000:]}", file=sys.stderr)
        raise
    finally:
        pair.close()


Results = dict[tuple[str, str], list[Measured]]


def measure(advertint: float, reps: int) -> Results:
    """All repetitions at one interval."""
    results: Results = defaultdict(list)
    job = Job(advertint=advertint)
    for rep in range(reps):
        for kind in DAEMONS if rep % 2 == 0 else reversed(DAEMONS):
            with Topology(Layout.dr(reals=0)) as lab:
                # A director that forwarded would hide an outage by passing requests on.
                for node in PRIORITIES:
                    lab.sysctl(node, {"ipv4/ip_forward": 0})
                observer = Observer(lab, 0.005 if advertint < 0.1 else 0.01).start()
                pair = Pair(lab, observer, job, kind(lab, "dirA", job), kind(lab, "dirB", job))
                for event, figures in trial(pair):
                    results[event, kind.name].append(figures)
                    said = f"{advertint:g} s, {rep + 1}/{reps}, {kind.name}, {event}: {figures}"
                    print(said, file=sys.stderr, flush=True)
    for event in (KILLED, ALL_KILLED):
        results[event, "keepalived"] = results[ALL_KILLED, "keepalived"]
    return results


def client_table(results: Results, advertint: float) -> Table:
    """What the client saw, and two owners."""
    rows = []
    for event in EVENTS:
        ours, theirs = results[event, "lvsd"], results[event, "keepalived"]
        outages = [[m.outage for m in side] for side in (ours, theirs)]
        owners = [[m.owners for m in side] for side in (ours, theirs)]
        formula = [m.formula for m in theirs if m.formula is not None]
        rows.append(
            (
                event,
                *(sample(side, 1e3) for side in outages),
                ratio(*outages),
                number(sorted(formula)[len(formula) // 2] * 1e3) if formula else "–",
                *(sample(side, 1e3) for side in owners),
            )
        )
    head = ("event", "outage ms: lvsd", "keepalived", "ratio", "takeover by formula")
    return Table(
        f"Adverts every {advertint:g} s: what a client misses, and two owners",
        (*head, "two owners ms: lvsd", "keepalived"),
        rows,
    )


def wire_table(results: Results, advertint: float) -> Table:
    """What was on the wire."""
    rows = []
    for event in EVENTS:
        ours, theirs = results[event, "lvsd"], results[event, "keepalived"]
        adverts = [[m.advert for m in side] for side in (ours, theirs)]
        late = [
            [m.advert - m.formula for m in side if m.formula is not None] for side in (ours, theirs)
        ]
        times = (sample(side, 1e3) for side in adverts)
        rows.append((event, *times, ratio(*adverts), *(sample(side, 1e3) for side in late)))
    head = ("event", "first advert ms: lvsd", "keepalived", "ratio")
    return Table(
        f"Adverts every {advertint:g} s: event to first advert of the new master",
        (*head, "late ms: lvsd", "keepalived"),
        rows,
    )


def run(reps: int, adverts: tuple[float, ...]) -> list[Table]:
    """The tables for each interval."""
    tables = []
    for advertint in adverts:
        results = measure(advertint, reps)
        tables += [client_table(results, advertint), wire_table(results, advertint)]
    notes = (
        "A client asks the VIP every 10 ms (5 ms at 0.01 s), which is the resolution of an outage; "
        "an answer after 0.5 s counts as lost.",
        f"`killed`: lvsd's main process, all of keepalived's; `no end`: both directors still had "
        f"the VIP {WATCH:g} s after the takeover.",
        "`late`: the backup's first advert against last advert + 3 intervals + skew, or "
        "priority 0 + skew.",
        "A failback's first advert counts from the start of the program or the plugging in.",
    )
    last = tables[-1]
    return [*tables[:-1], Table(last.title, last.head, last.rows, notes)]
