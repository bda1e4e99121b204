"""How long a client misses the VIP, and how long two own it, over several repetitions of each end.

A pair of whole daemons (without IPVS) at advertint 1 s. Neither preempts, so that the roles just
change hands and the director that went comes back as the backup. The bounds are the promises of
the documentation; `-s` shows the figures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until
from tests.netns.network import Probe, owners_overlap

VIP = "10.77.0.100"
REPETITIONS = 5
SKEW = (256 - 100) / 256
MASTER_DOWN = 3 + SKEW
LEASE = 2
CONFIG = f"""\
vrrp=VI_1
\tinterface=eth0
\tvirtualrouterid=51
\tpriority=100
\tadvertint=1
\tnopreempt=yes
\taddress={VIP}
"""


class Pair:
    """Who is master and who is backup, and what an end of the master costs."""

    def __init__(self, lab: Topology) -> None:
        self.lab = lab
        self.master, self.backup = (
            Director(lab, node, CONFIG, table="none") for node in ("dirA", "dirB")
        )
        self.master.start()
        self.master.wait_state("master")
        self.backup.start()
        self.backup.wait_state("backup")

    def lose(self, end: Callable[[Director], object]) -> tuple[float, float, float]:
        """End the master, bring it back as backup. Seconds: without reply, two owners, VIP gone."""
        ping = Probe(self.lab.netns("client"), "ping", VIP)
        owners = [Probe(self.lab.netns(d.node), "own", VIP) for d in (self.master, self.backup)]
        began_at = time.monotonic()
        end(self.master)
        self.backup.wait_state("master", 10)
        wait_until(lambda: not self.master.holds(VIP), 10, "the VIP is gone", interval=0.01)
        self.master, self.backup = self.backup, self.master
        self._return()
        first, second = (owner.stop() for owner in owners)
        gone = next((at for at, held in first if not held and at > began_at), began_at)
        return ping.longest_gap(), owners_overlap(first, second), gone - began_at

    def _return(self) -> None:
        self.lab.join(self.backup.node)
        if self.backup.process is None or not self.backup.process.alive():
            self.backup.start()
        self.backup.wait_state("backup", 20)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Topology(Layout.dr(reals=0)) as lab:
        yield Pair(lab)


def repeat(pair: Pair, end: Callable[[Director], object]) -> list[list[float]]:
    """Gap, overlap and time until the VIP was gone, each as a list over the repetitions."""
    return [
        list(column) for column in zip(*(pair.lose(end) for _ in range(REPETITIONS)), strict=True)
    ]


def worst(what: str, seconds: list[float]) -> float:
    """The largest, with median and number printed."""
    median = statistics.median(seconds)
    print(f"{what}: median {median:.3f} s, max {max(seconds):.3f} s, n {len(seconds)}")
    return max(seconds)


def test_an_orderly_stop(pair: Pair) -> None:
    gaps, owners, _ = repeat(pair, lambda master: master.stop())

    assert worst("orderly stop: without reply", gaps) < 0.1
    worst("orderly stop: two owners", owners)


def test_the_main_process_is_killed(pair: Pair) -> None:
    gaps, owners, _ = repeat(pair, lambda master: master.kill_main())

    longest, together = worst("main killed: without reply", gaps), worst("two owners", owners)
    assert longest < 0.2
    assert together < 1.3


def test_every_process_is_killed(pair: Pair) -> None:
    gaps, owners, gone = repeat(pair, lambda master: master.kill_everything())

    assert worst("all killed: VIP gone after", gone) < LEASE + 1
    assert worst("all killed: without reply", gaps) < MASTER_DOWN + 0.5
    assert worst("all killed: two owners", owners) == 0


def test_the_master_is_cut_off(pair: Pair) -> None:
    gaps, _, _ = repeat(pair, lambda master: pair.lab.cut(master.node))

    assert worst("cut off: without reply", gaps) < MASTER_DOWN + 0.5
