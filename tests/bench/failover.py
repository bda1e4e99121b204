"""Failover of a pair of directors: an lvsd pair and a keepalived pair in turn, VRRP only.

In each repetition a pair starts afresh, the better node becomes master, and then it is lost and
comes back in each of the ways of `pair.ROUND`. Several lanes measure at a time, in step, half of
them lvsd and half keepalived. The tables say what a client missed and what was on the wire; the
last one holds the figures against what lvsd promises.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import lanes
from tests.bench.daemons import DAEMONS, PRIORITIES, REAL_TIME_NOTE, Daemon, Job
from tests.bench.figures import Table, aim, aims, number, ratio, sample
from tests.bench.lanes import Lane
from tests.bench.observer import Observer
from tests.bench.pair import (
    ALL_KILLED,
    CUT,
    KILLED,
    LINK_DOWN,
    LOSSES,
    RETURNS,
    ROUND,
    STEPPED_DOWN,
    STOPPED,
    WATCH_LEASE,
    Measured,
    Pair,
    skew,
)
from tests.lab.layout import Layout
from tests.lab.topology import Topology

TITLE = "Failover, VRRP only, native"
START = "start"
#: lvsd's lease in seconds at the intervals measured.
LEASE = 2.0
#: Seconds between two requests of the client.
ASKED = 0.005
#: Seconds by which the lanes begin a step after one another.
STAGGER = 0.15
Results = dict[tuple[str, str], list[Measured]]


@dataclass(frozen=True, slots=True)
class Told:
    """What a lane says: the figures of an event, or in `error` why a repetition ended early."""

    daemon: str
    event: str
    measured: Measured | None
    error: str = ""


Kind = Callable[[Topology, str, Job], Daemon]


def trial(lane: Lane, kind: Kind, job: Job) -> None:
    """One life of a pair, all events. A failure ends it; the lane goes on keeping step."""
    with Topology(Layout.dr(reals=0)) as lab:
        # A director that forwarded would hide an outage by passing requests on.
        for node in PRIORITIES:
            lab.sysctl(node, {"ipv4/ip_forward": 0})
        observer = Observer(lab, ASKED).start()
        pair = Pair(lab, observer, job, kind(lab, "dirA", job), kind(lab, "dirB", job))
        todo = [START, *(event for way in ROUND for event in way)]
        try:
            while todo:
                event = todo.pop(0)
                lane.step(lambda event=event: lane.say(live(pair, event)))
        except AssertionError as error:
            logs = [f"--- {d.node}\n{d.log()[-3000:]}" for d in (pair.first, pair.second)]
            lane.say(Told(pair.first.name, event, None, "\n".join([f"{error}", *logs])))
            for _ in todo:
                lane.idle()
        finally:
            pair.close()
            observer.stop()


def live(pair: Pair, event: str) -> Told:
    """One event of a pair's life."""
    measured = None
    if event == START:
        pair.start()
    else:
        measured = pair.lose(event) if event in LOSSES else pair.regain(event)
    return Told(pair.first.name, event, measured)


def measure(advertint: float, reps: int, count: int) -> tuple[Results, int]:
    """At least `reps` repetitions of either daemon, and how many of all ended early."""
    results: Results = defaultdict(list)
    job = Job(advertint=advertint)
    failed = 0

    def work(lane: Lane) -> None:
        for turn in range(2 * -(-reps // count)):
            trial(lane, DAEMONS[(lane.number + turn) % 2], job)

    for told in lanes.run(count, STAGGER, work):
        assert isinstance(told, Told)
        said = told.error or told.measured
        print(f"{advertint:g} s, {told.daemon}, {told.event}: {said}", file=sys.stderr, flush=True)
        failed += bool(told.error)
        if told.measured:
            results[told.event, told.daemon].append(told.measured)
    return results, failed


def both(results: Results, event: str) -> tuple[list[Measured], list[Measured]]:
    """lvsd's figures and keepalived's."""
    return results[event, "lvsd"], results[event, "keepalived"]


def client_table(results: Results, advertint: float) -> Table:
    """What the client saw, and two owners."""
    rows = []
    for event in (*LOSSES, *RETURNS):
        sides = both(results, event)
        outages = [[m.outage for m in side] for side in sides]
        # While the cable is cut two owners are on two networks.
        owners = [[m.owners for m in side] if event != CUT else [] for side in sides]
        missed = (sample(side, 1e3) for side in outages)
        rows.append((event, *missed, ratio(*outages), *(sample(side, 1e3) for side in owners)))
    head = ("event", "client misses ms: lvsd", "keepalived", "ratio", "two owners ms: lvsd")
    title = f"Adverts every {advertint:g} s: what a client misses, and two owners"
    return Table(title, (*head, "keepalived"), rows)


def wire_table(results: Results, advertint: float) -> Table:
    """What was on the wire."""
    rows = []
    for event in (*LOSSES, *RETURNS):
        sides = both(results, event)
        adverts = [[m.advert for m in side] for side in sides]
        announced = [[m.announced for m in side if m.announced is not None] for side in sides]
        late = [[m.late for m in side if m.late is not None] for side in sides]
        cells = (sample(side, 1e3) for side in (*adverts, *announced))
        rows.append((event, *cells, ratio(*announced), *(sample(side, 1e3) for side in late)))
    head = ("event", "first advert ms: lvsd", "keepalived", "first announcement ms: lvsd")
    title = f"Adverts every {advertint:g} s: from the event to the new master on the wire"
    return Table(title, (*head, "keepalived", "ratio", "late ms: lvsd", "keepalived"), rows)


def targets_table(results: Results, advertint: float) -> Table:
    """What lvsd promises, and what was measured."""
    rows = [*targets(results, advertint)]
    return aims(f"Adverts every {advertint:g} s", rows, work="event")


def targets(results: Results, advertint: float) -> Iterator[tuple[str, str, str, str]]:
    """The rows of the table."""
    patience = skew(Job(advertint=advertint)) + 0.2
    for event in (LINK_DOWN, CUT):
        lates = [[m.late for m in side if m.late is not None] for side in both(results, event)]
        if all(lates):
            allowed = 0.05 * advertint + 0.001
            behind = median(lates[0]) - median(lates[1])
            target = f"median at most {number(allowed * 1e3)} ms later than keepalived"
            yield aim(event, target, f"{number(behind * 1e3)} ms", behind <= allowed)
    for event in (STOPPED, STEPPED_DOWN, *RETURNS):
        yield from at_most(results, event, "misses nothing", "outage", ASKED)
    yield from at_most(results, KILLED, "misses at most 50 ms", "outage", 0.05)
    words = f"two owners at most {number(patience * 1e3)} ms (skew + 200 ms)"
    yield from at_most(results, KILLED, words, "owners", patience)
    words = f"one owner {LEASE + 1:g} s after the event (lease + 1 s)"
    yield from at_most(results, ALL_KILLED, words, "sole", LEASE + 1)


def at_most(
    results: Results, event: str, words: str, what: str, limit: float
) -> Iterator[tuple[str, str, str, str]]:
    """The worst of lvsd's repetitions against a limit."""
    values: Sequence[float] = [getattr(m, what) for m in results[event, "lvsd"]]
    if values:
        worst = max(values)
        over = sum(value > limit for value in values)
        said = f"worst {number(worst * 1e3)} ms" + (f", {over} of {len(values)} over" * bool(over))
        yield aim(event, words, said, not over)


def run(reps: int, count: int, advertint: float) -> list[Table]:
    """The tables for one interval: the client, the wire, the targets."""
    results, failed = measure(advertint, reps, count)
    last = targets_table(results, advertint)
    ended = Table(last.title, last.head, last.rows, (*reasons(last), *notes(count, failed)))
    return [client_table(results, advertint), wire_table(results, advertint), ended]


def reasons(table: Table) -> list[str]:
    """What is known of why a target is missed."""
    if all(reached == "yes" for event, _, _, reached in table.rows if event == CUT):
        return []
    return [
        "Not reached when the cable is cut: what lvsd needs from the deadline to the announcement "
        "is the interpreter's time, not waiting."
    ]


def notes(count: int, failed: int) -> tuple[str, ...]:
    """What one must know to read the tables."""
    return (
        f"{count} lanes at a time, in step, each an lvsd pair and a keepalived pair in turn; "
        f"repetitions that did not come to their end: {failed}.",
        f"A client asks the VIP every {ASKED * 1e3:g} ms, which is the resolution of what it "
        "misses (first lost request to the next one answered); an answer after 0.5 s is lost.",
        "`main killed`: SIGKILL to the main process. lvsd's speaks VRRP; keepalived's is a parent "
        "whose child then stops in order. `all killed`: SIGKILL to every process at once; "
        f"`no end`: both directors still had the VIP {WATCH_LEASE:g} s after the takeover.",
        REAL_TIME_NOTE,
        "keepalived is told to yield with a last advert, as lvsd does by itself "
        "(`vrrp_higher_prio_send_advert`): a master that was cut off without noticing would else "
        "not learn that its clients have gone to the other one, and not announce itself again.",
        "`link down`: the master loses its carrier. `cable cut`: nothing gets through any more and "
        "the carrier stays, which for the network is the same as a loss of power.",
        "`stepdown`: keepalived has no such command; a tracked file takes 100 off its priority.",
        "`late`: the first announcement of the new master (gratuitous ARP, sent once it holds the "
        "VIP) against last advert + 3 intervals + skew, or priority 0 + skew.",
        "A failback counts from the start of the program, the plugging in or the command; all "
        "lanes start their programs at the same time.",
        f"lvsd's lease is {LEASE:g} s: when everything is killed, its address stays for that long. "
        "With adverts every second it is gone before the other director takes over, so that there "
        "are never two owners; with shorter intervals both have it meanwhile.",
    )
