"""A master that stands still (SIGSTOP) and goes on: its VIP, its peer, its first words.

What was on the wire is told by a capture at the client, with the kernel's time stamps; who held
the VIP by a probe on each director. All bounds follow from the protocol: lease, patience, skew.
The pairs are shared: each test leaves them as it has found them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from scapy.layers.vrrp import VRRP, VRRPv3

from lvsd.core.vrrp import master_down_interval, skew_time
from tests.interop.capture import Capture
from tests.netns.network import Director, Network, eventually, owners_overlap

pytestmark = pytest.mark.netns

LEASE = 2
#: The kernel removes an address at most this long after the end of its lease.
COARSE = 1.0
#: Scheduling of a busy machine.
SLACK = 0.4

PARTS = {"main": lambda one: [one.pid], "all": lambda one: [one.pid, *one.children().values()]}


class Pair:
    """A settled pair of priority 150 and 100."""

    def __init__(self, network: Network, **changes: object) -> None:
        self.network = network
        config = network.router(**changes)
        self.first, self.second = network.pair()
        self.first.start(replace(config, priority=150))
        eventually(lambda: self.first.state() == "master")
        self.second.start(replace(config, priority=100))
        self.settle()

    def settle(self) -> None:
        """Wait until the first one serves, alone."""
        eventually(lambda: (self.first.state(), self.second.state()) == ("master", "backup"))
        eventually(lambda: self.first.holds() and not self.second.holds())


class Watch:
    """What client and directors see of a pair during one test."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        pair.settle()
        self.wire = Capture(pair.network.client)
        self.ping = pair.network.ping()
        self.owners = pair.network.own(pair.first), pair.network.own(pair.second)
        self.wire.wait_adverts(pair.first.address, 1)

    def stop(self, part: str) -> float:
        """Stop processes of the master, right after an advert; when."""
        at = time.monotonic()
        self.stopped = PARTS[part](self.pair.first)
        for pid in self.stopped:
            os.kill(pid, signal.SIGSTOP)
        return at

    def go_on(self) -> float:
        """Let them run again; when."""
        at = time.monotonic()
        for pid in self.stopped:
            os.kill(pid, signal.SIGCONT)
        return at

    def pause(self, seconds: float, part: str) -> tuple[float, float]:
        """When the processes stopped and when they went on."""
        stopped_at = self.stop(part)
        eventually(lambda: time.monotonic() >= stopped_at + seconds)
        return stopped_at, self.go_on()

    def said(self, one: Director, since: float) -> list[tuple[float, int]]:
        """When a director sent adverts since then, and their priorities."""
        return [
            (float(frame.time), int(frame[VRRP if VRRP in frame else VRRPv3].priority))
            for frame in self.wire.adverts(one.address)
            if frame.time >= since
        ]

    def close(self) -> tuple[float, list[list[float]], list[list[float]]]:
        """The longest time without a reply, and who held the VIP when."""
        first, second = (owner.stop() for owner in self.owners)
        return self.ping.longest_gap(), first, second


def change(spans: list[list[float]], since: float, *, held: bool) -> float:
    """When the VIP came or went first."""
    return next(at for at, now_held in spans if at > since and bool(now_held) is held)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Network(tmp_path_factory.mktemp("slow")) as network:
        yield Pair(network)


@pytest.fixture
def watch(slow: Pair) -> Iterator[Watch]:
    made = Watch(slow)
    yield made
    made.wire.close()


@pytest.mark.parametrize("part", PARTS)
def test_a_pause_of_2_s_moves_nothing(watch: Watch, part: str) -> None:
    first, second = watch.pair.first, watch.pair.second

    stopped_at, woken_at = watch.pause(2.0, part)
    watch.wire.wait_adverts(first.address, 2)

    assert not watch.said(second, stopped_at)
    spoken = watch.said(first, woken_at)
    assert {priority for _, priority in spoken} == {150}
    assert spoken[0][0] - woken_at < SLACK  # an advert was overdue
    gap, _, others = watch.close()
    assert not [at for at, held in others if held]
    assert gap < SLACK  # at most from the end of the lease to the waking


def test_a_vip_that_went_with_its_lease_is_back_with_the_first_advert(watch: Watch) -> None:
    first, second = watch.pair.first, watch.pair.second

    stopped_at = watch.stop("all")
    eventually(lambda: not first.holds())
    woken_at = watch.go_on()
    watch.wire.wait_adverts(first.address, 2)

    assert not watch.said(second, stopped_at)
    assert {priority for _, priority in watch.said(first, woken_at)} == {150}
    gap, spans, others = watch.close()
    gone_at = change(spans, stopped_at, held=False)
    assert LEASE - SLACK < gone_at - stopped_at < LEASE + COARSE
    assert change(spans, gone_at, held=True) - woken_at < SLACK
    assert not [at for at, held in others if held]
    assert gap < woken_at - gone_at + SLACK


@pytest.mark.parametrize("part", PARTS)
def test_a_pause_of_5_s_loses_the_vip_in_time_and_ends_in_listening(
    watch: Watch, part: str
) -> None:
    first, second = watch.pair.first, watch.pair.second
    patience = master_down_interval(2, 100, 1.0)

    stopped_at, woken_at = watch.pause(5.0, part)
    eventually(lambda: watch.said(first, woken_at))
    watch.pair.settle()

    heard = [at for at, _ in watch.said(second, stopped_at)]
    assert patience - SLACK < heard[0] - stopped_at < patience + SLACK
    spoken = watch.said(first, woken_at)
    assert spoken[0][0] > next(at for at in heard if at > woken_at)  # it has heard its peer
    assert spoken[0][0] - woken_at > 1.0  # and listened for an interval at least
    assert spoken[0][1] == 150
    gap, spans, others = watch.close()
    gone_at, taken_at = (
        change(spans, stopped_at, held=False),
        change(others, stopped_at, held=True),
    )
    assert LEASE - SLACK < gone_at - stopped_at < LEASE + COARSE
    assert gone_at < taken_at
    assert gap < patience - LEASE + SLACK
    assert owners_overlap(spans, others) < 0.5  # when it takes the VIP back
    assert "listening first" in first.log


def test_a_pause_at_tenths_of_a_second_has_two_owners_no_longer_than_the_lease(
    network: Network,
) -> None:
    watch = Watch(Pair(network, version=3, advertint=0.1))
    patience = master_down_interval(3, 100, 0.1)

    stopped_at, woken_at = watch.pause(2.0, "all")
    eventually(lambda: watch.said(watch.pair.first, woken_at))
    watch.pair.settle()

    heard = [at for at, _ in watch.said(watch.pair.second, stopped_at)]
    assert heard[0] - stopped_at < patience + SLACK
    spoken = watch.said(watch.pair.first, woken_at)
    assert spoken[0][0] - woken_at > 0.1 + skew_time(3, 150, 0.1) - 0.01
    assert spoken[0][0] > next(at for at in heard if at > woken_at)
    gap, spans, others = watch.close()
    assert owners_overlap(spans, others) < LEASE + COARSE - patience + 0.5
    assert gap < patience + SLACK
    watch.wire.close()


def test_a_master_that_wakes_alone_listens_and_serves_again(network: Network) -> None:
    one = network.director(1)
    one.start(network.router(version=3, advertint=0.5))
    eventually(lambda: one.state() == "master" and one.holds())
    wire = Capture(network.client)

    os.kill(one.pid, signal.SIGSTOP)
    eventually(lambda: not one.holds())  # after 2 s; peers would wait for 1.8 s
    woken_at = time.monotonic()
    os.kill(one.pid, signal.SIGCONT)
    eventually(one.holds)

    spoken = [float(f.time) for f in wire.adverts(one.address) if f.time > woken_at]
    assert spoken[0] - woken_at > 0.5 + skew_time(3, 100, 0.5) - 0.01
    wire.close()
