"""A pair of directors with one daemon: the better node is lost and comes back, in every way.

A quarter of an interval after one of the master's adverts the event happens. The observer tells
when the backup's first advert and its first announcement were on the wire, which requests of a
client nobody answered, and for how long both directors had the VIP. `formula` is when the
protocol has the backup take over: priority 0 + skew after a word of farewell, last advert + 3
intervals + skew after silence, whichever is first.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.daemons import PRIORITIES, SOURCES, VIP, Daemon, Job
from tests.bench.observer import PATIENCE, Observer
from tests.lab.topology import Topology, wait_until

STOPPED, STEPPED_DOWN = "orderly stop", "stepdown"
KILLED, ALL_KILLED = "main killed", "all killed"
LINK_DOWN, CUT = "link down", "cable cut"
RESTARTED, UNDONE = "failback, started", "failback, stepdown undone"
LINK_UP, JOINED = "failback, link up", "failback, cable back"
#: How the better node is lost, and how it comes back from that.
ROUND = (
    (STOPPED, RESTARTED),
    (STEPPED_DOWN, UNDONE),
    (KILLED, RESTARTED),
    (ALL_KILLED, RESTARTED),
    (LINK_DOWN, LINK_UP),
    (CUT, JOINED),
)
LOSSES = tuple(loss for loss, _ in ROUND)
RETURNS = tuple(dict.fromkeys(back for _, back in ROUND))
#: Seconds for which two owners are watched after the takeover; the second is longer than any
#: lease of the intervals measured.
WATCH, WATCH_LEASE = 1.5, 4.0
SIOCSIFFLAGS, SIOCBRDELIF = 0x8914, 0x89A3


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds since the event; `outage` and `owners` (two of them) are lengths of time.

    `announced` is None where no announcement followed, `formula` after a return. `sole` is when
    there was one owner for good.
    """

    outage: float
    advert: float
    announced: float | None
    formula: float | None
    owners: float
    sole: float

    @property
    def late(self) -> float | None:
        """The announcement (else the advert) of the new master against the formula."""
        return None if self.formula is None else (self.announced or self.advert) - self.formula


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
        return skew(self.job)

    @property
    def silence(self) -> float:
        """The backup's master_down_interval."""
        return 3 * self.job.advertint + self.skew

    def start(self) -> None:
        """Both, until the better one alone has the VIP."""
        now = time.monotonic()
        self.second.start()
        self.first.start()
        self.observer.advert(SOURCES["dirA"], now, 60 + self.silence)
        self.settle()

    def settle(self) -> None:
        """Wait until only the better node has the VIP."""

        def alone() -> bool:
            return self.observer.holds("dirA") and not self.observer.holds("dirB")

        wait_until(alone, 10 + self.silence, "only the better node has the VIP")
        time.sleep(max(0.3, 1.2 * self.job.advertint))

    def lose(self, event: str) -> Measured:
        """Take the master away and see the backup take over."""
        calls: dict[str, Callable[[], None]] = {
            STOPPED: self.first.stop,
            STEPPED_DOWN: self.first.step_down,
            KILLED: self.first.kill,
            ALL_KILLED: self.first.kill_everything,
            LINK_DOWN: lambda: self.lab.inside("sw", link_down, self.lab.port("dirA")),
            CUT: lambda: self.lab.inside("sw", cut, self.lab.port("dirA")),
        }
        last = self.observer.advert(SOURCES["dirA"], time.monotonic(), 10)
        time.sleep(max(0.0, last.at + self.job.advertint / 4 - time.monotonic()))
        began = time.monotonic()
        calls[event]()
        heard = self.observer.advert(SOURCES["dirB"], began, 10 + self.silence)
        time.sleep(WATCH_LEASE if event == ALL_KILLED else WATCH)
        return self.measured("dirB", began, heard.at, self.formula(began, heard.at))

    def regain(self, event: str) -> Measured:
        """Bring the better node back and see it take the VIP."""
        began = time.monotonic()
        if event == RESTARTED:
            self.first.start()
        elif event == UNDONE:
            self.first.undo_step_down()
        elif event == LINK_UP:
            self.lab.join("dirA")
        else:
            self.lab.ip("sw", [f"link set {self.lab.port('dirA')} master lan"])
        heard = self.observer.advert(SOURCES["dirA"], began, 60 + self.silence)
        self.settle()
        return self.measured("dirA", began, heard.at, None)

    def measured(self, node: str, began: float, heard: float, formula: float | None) -> Measured:
        """Everything about the event, once late answers can be told from lost ones."""
        until = time.monotonic()
        time.sleep(PATIENCE + 0.1)
        observer = self.observer
        owners, sole = observer.both(("dirA", "dirB"), began, until)
        announced = observer.announced(SOURCES[node], max(began, heard - 0.005))
        return Measured(
            observer.outage(began - 0.02, until),
            heard - began,
            None if announced is None else announced - began,
            None if formula is None else formula - began,
            owners,
            sole - began,
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
        self.lab.ip("sw", [f"link set {self.lab.port('dirA')} master lan up"])
        for node in PRIORITIES:
            if VIP in self.lab.addresses(node):
                self.lab.ip(node, [f"addr del {VIP}/32 dev eth0"])


def skew(job: Job) -> float:
    """Seconds of the backup's skew."""
    unit = 1.0 if job.version == 2 else job.advertint
    return (256 - PRIORITIES["dirB"]) / 256 * unit


def link_down(port: str) -> None:
    """Take a port of the switch down at once; starting `ip` would take longer than 10 ms."""
    _ask(SIOCSIFFLAGS, struct.pack("16sH14x", port.encode(), 0))


def cut(port: str) -> None:
    """Take a port out of the switch: the machine keeps its carrier, and nothing gets through."""
    _ask(SIOCBRDELIF, struct.pack("16si12x", b"lan", socket.if_nametoindex(port)))


def _ask(request: int, what: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, request, what)
