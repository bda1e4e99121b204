"""When announcements leave: bursts, intervals and groups, on a clock of the test's own."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lvsd.core.model import Pace
from lvsd.daemon.pacing import BURST, BURST_INTERVAL, Frame, Pacer

OWNER = "VI_1"


def frames(count: int, interface: str = "eth0", owner: str = OWNER, net: str = "192.0.2.{}"):
    return [
        Frame(owner, interface, ip_address(net.format(n)), b"%d" % n) for n in range(1, count + 1)
    ]


def left(pacer: Pacer, until: float) -> list[tuple[float, Frame]]:
    """Everything that leaves by `until`, each with its time, when asked at the times told."""
    gone = []
    now = 0.0
    while (due := pacer.next_at()) is not None and max(now, due) <= until:
        now = max(now, due)
        gone += [(now, frame) for frame in pacer.take(now)]
    return gone


def paced(*paces: Pace) -> Pacer:
    pacer = Pacer()
    pacer.follow(paces)
    return pacer


def test_without_an_interval_many_frames_leave_in_bursts() -> None:
    pacer = Pacer()
    pacer.add(frames(100), 1)

    gone = left(pacer, 1.0)

    assert [frame for _, frame in gone] == frames(100)
    times = [at for at, _ in gone]
    assert times[BURST - 1] == 0.0
    assert times[BURST] == BURST_INTERVAL
    assert max(times.count(at) for at in times) == BURST
    assert pacer.next_at() is None


def test_a_late_burst_is_no_larger() -> None:
    pacer = Pacer()
    pacer.add(frames(100), 1)
    pacer.take(0.0)

    assert len(pacer.take(5.0)) == BURST


def test_rounds_follow_each_other() -> None:
    pacer = paced(Pace(garpinterval=1.0))
    pacer.add(frames(2), 2)

    assert left(pacer, 10.0) == [*zip((0.0, 1.0, 2.0, 3.0), frames(2) * 2, strict=True)]


def test_each_interface_keeps_the_interval_by_itself() -> None:
    pacer = paced(Pace(garpinterval=0.5))
    pacer.add(frames(2, "eth0") + frames(2, "eth1"), 1)

    gone = [(at, frame.interface) for at, frame in left(pacer, 10.0)]
    assert sorted(gone) == [(0.0, "eth0"), (0.0, "eth1"), (0.5, "eth0"), (0.5, "eth1")]


def test_the_interfaces_of_a_group_keep_it_together() -> None:
    pacer = paced(Pace(garpinterval=0.5), Pace(("eth0", "eth1"), 2.0))
    pacer.add(frames(1, "eth0") + frames(1, "eth1") + frames(2, "eth2"), 1)

    gone = sorted((at, frame.interface) for at, frame in left(pacer, 10.0))
    assert gone == [(0.0, "eth0"), (0.0, "eth2"), (0.5, "eth2"), (2.0, "eth1")]


def test_the_families_have_intervals_of_their_own() -> None:
    pacer = paced(Pace(garpinterval=1.0, gnainterval=3.0))
    pacer.add(frames(2) + frames(2, net="2001:db8::{}"), 1)

    gone = sorted((at, frame.address.version) for at, frame in left(pacer, 10.0))
    assert gone == [(0.0, 4), (0.0, 6), (1.0, 4), (3.0, 6)]


def test_the_interval_holds_over_two_announcements() -> None:
    pacer = paced(Pace(garpinterval=1.0))
    pacer.add(frames(1), 1)
    assert pacer.take(0.0) == frames(1)

    pacer.add(frames(1, "eth0", "VI_2"), 1)

    assert pacer.take(0.9) == []
    assert pacer.next_at() == 1.0
    assert len(pacer.take(1.0)) == 1


def test_a_slow_lane_does_not_hold_up_the_others() -> None:
    pacer = paced(Pace(("eth0",), 60.0))
    pacer.add(frames(3, "eth0"), 1)
    pacer.take(0.0)

    pacer.add(frames(3, "eth1"), 1)

    assert pacer.next_at() == 0.0
    assert pacer.take(0.0) == frames(3, "eth1")
    assert pacer.next_at() == 60.0


def test_refreshes_faster_than_their_interval_neither_pile_up_nor_starve_anybody() -> None:
    pacer = paced(Pace(garpinterval=1.0))
    announced = []
    for second in range(12):
        pacer.add(frames(4), 2)
        announced += [frame.octets for frame in pacer.take(float(second))]

    assert [announced.count(frame.octets) for frame in frames(4)] == [3, 3, 3, 3]
    assert len(left(pacer, 1000.0)) == 7  # two of each, less the one that has just left


def test_lost_addresses_are_forgotten_and_others_are_not() -> None:
    pacer = paced(Pace(garpinterval=1.0))
    pacer.add(frames(3) + frames(1, "eth0", "VI_2"), 1)

    pacer.forget(OWNER, {ip_address("192.0.2.1"), ip_address("192.0.2.3")})

    assert [(f.owner, f.octets) for _, f in left(pacer, 9.0)] == [(OWNER, b"2"), ("VI_2", b"1")]
    pacer.add(frames(1), 1)
    assert len(left(pacer, 99.0)) == 1


@pytest.mark.parametrize(("interval", "last"), [(0.0, 3 * BURST_INTERVAL), (0.1, 9.8)])
def test_a_new_interval_counts_for_what_waits(interval, last) -> None:
    pacer = paced(Pace(garpinterval=5.0))
    pacer.add(frames(99), 1)
    pacer.take(0.0)

    pacer.follow((Pace(garpinterval=interval),) if interval else ())

    gone = left(pacer, 1000.0)
    assert len(gone) == 98
    assert gone[-1][0] == pytest.approx(last)


def test_the_same_interval_again_changes_nothing() -> None:
    pacer = paced(Pace(garpinterval=5.0))
    pacer.add(frames(2), 1)
    pacer.take(0.0)
    pacer.follow((Pace(garpinterval=5.0),))
    assert pacer.next_at() == 5.0
