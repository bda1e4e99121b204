"""A pair under a storm of reloads: nothing moves, and no advert is late."""

import itertools
import os
import select
import signal
import time

import pytest

from tests.interop.capture import Capture

pytestmark = pytest.mark.netns

ADVERTINT = 0.5


def paced(wire):
    """Read the wire for 40 ms, so that frames are stamped when they come."""
    until = time.monotonic() + 0.04
    while time.monotonic() < until:
        wire.read()
        select.select([wire.socket], [], [], 0.01)


def test_fifty_reloads_of_master_and_backup_move_nothing_and_delay_no_advert(network):
    first, second = network.pair()
    changes = {"version": 3, "advertint": ADVERTINT}
    first.start(network.router(priority=150, **changes))
    second.start(network.router(priority=100, **changes))
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    network.eventually(first.holds)
    wire, probe, before = Capture(network.client), network.ping(), len(second.states())

    for _ in range(50):
        os.kill(first.pid, signal.SIGHUP)
        os.kill(second.pid, signal.SIGHUP)
        paced(wire)
    wire.wait_adverts(first.address, 4)

    times = [float(frame.time) for frame in wire.adverts(first.address)]
    assert max(b - a for a, b in itertools.pairwise(times)) < 2 * ADVERTINT
    assert not wire.adverts(second.address)
    assert probe.longest_gap() < 0.2
    assert (first.state(), second.state()) == ("master", "backup")
    assert len(second.states()) == before
    wire.close()
