"""Two directors that do not hear each other, with a client that reaches both; and the reunion."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lvsd.core.vrrp import master_down_interval
from tests.interop.capture import Capture
from tests.lab.director import Director
from tests.lab.topology import wait_until
from tests.netns.daemons import (
    FIRST,
    SECOND,
    VIP,
    drop_multicast,
    events,
    isolate,
    mac,
    neighbour,
    router,
    settled,
)
from tests.netns.network import Probe, owners_overlap

ADVERTINT = 0.5
SLACK = 0.4
Pair = tuple[Director, Director]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with settled(VIP, advertint=ADVERTINT) as both:
        yield both


def apart(pair: Pair) -> None:
    """Wait until both are master and the client talks to the second."""
    first, second = pair
    second.wait_state("master", 10)
    wait_until(lambda: second.holds(VIP), 5, "both hold it")
    assert first.state == "master"
    assert first.holds(VIP)
    theirs = mac(second.lab, second.node)
    wait_until(lambda: neighbour(first.lab, VIP) == theirs, 5, "the client follows the newcomer")


def test_both_serve_while_they_are_apart_and_the_better_one_gets_the_clients_back(
    pair: Pair,
) -> None:
    first, second = pair
    lab = first.lab
    isolate(lab, "dirA", "dirB", isolated=True)
    cut_at = time.monotonic()
    second.wait_state("master", 10)
    assert time.monotonic() - cut_at < master_down_interval(3, 100, ADVERTINT) + SLACK
    ping = Probe(lab.netns("client"), "ping", VIP)
    apart(pair)
    owners = [Probe(lab.netns(d.node), "own", VIP) for d in pair]
    wire = Capture(lab.netns("client"))

    isolate(lab, "dirA", "dirB", isolated=False)
    healed_at = time.monotonic()
    second.wait_state("backup", 5)
    ours = mac(lab, first.node)
    wait_until(lambda: neighbour(lab, VIP) == ours, 5, "the client is back")
    wire.wait_adverts(FIRST, 2)

    spans = [owner.stop() for owner in owners]
    (released_at,) = [at for at, held in spans[1] if not held]
    assert released_at - healed_at < ADVERTINT + SLACK
    assert owners_overlap(*spans) < released_at - spans[0][0][0] + SLACK
    assert not [at for at, held in spans[0] if not held]
    last_word = max(float(frame.time) for frame in wire.adverts(SECOND))
    assert last_word < released_at + 0.1  # it speaks as master no longer than it holds
    wire.close()
    assert ping.longest_gap() < 0.2
    assert router(second)["reason"] == f"higher priority 150 from {FIRST}"
    assert router(second)["master"] == FIRST
    assert "lower_priority_heard" in events(first)
    assert f"source={SECOND}" in events(first)


def test_where_arp_still_crosses_both_name_the_second_owner(pair: Pair) -> None:
    first, second = pair
    lab = first.lab
    drop_multicast(lab, "dirA", "dirB", dropped=True)
    second.wait_state("master", 10)
    for one, other in ((first, second), (second, first)):
        said = f"second owner: {VIP} was announced by {mac(lab, other.node)}"
        wait_until(
            lambda one=one, said=said: any(said in note for note in router(one)["notes"]), 10, said
        )
        assert "duplicate_owner_heard" in events(one)

    drop_multicast(lab, "dirA", "dirB", dropped=False)
    second.wait_state("backup", 5)
    wait_until(lambda: not second.holds(VIP), 5, "one holder")
    wait_until(lambda: neighbour(lab, VIP) == mac(lab, first.node), 5, "the client is back")
    assert first.state == "master"
    assert not [note for note in router(second)["notes"] if "second owner" in note]
