"""The applier of VIPs against a kernel that refuses on demand."""

import errno
from ipaddress import ip_address

from lvsd.core.model import Family, Vip
from lvsd.core.vrrp import LeaseRefreshed, VipsBound, VipsFailed, VipsReleased
from lvsd.daemon.applier import VipApplier, Wish
from lvsd.daemon.paths import Paths
from lvsd.linux.interface import Interface

KEY = ("eth0", 51, Family.INET)
ONE, TWO = (Vip(ip_address(f"192.0.2.{n}"), 32) for n in (1, 2))
_DELETE = 21


class View:
    """An interface without addresses: nothing here is anybody else's."""

    def interface(self, name):
        return Interface(name, 2, b"\2\0\0\0\0\1", up=True, arp=True)

    def find(self, name, address):
        return None


class Kernel:
    """Answers with `additions` and `removals`, error numbers; remembers how much was asked."""

    def __init__(self):
        self.additions = self.removals = 0
        self.asked = 0

    def send(self, requests):
        self.asked += len(requests)
        return [
            self.removals if request.message[4] == _DELETE else self.additions
            for request in requests
        ]


class World:
    def __init__(self):
        self.kernel, self.reports = Kernel(), []
        view = View()
        self.told = []
        self.paths = Paths(view, self.kernel, lambda *words: self.told.append(words), lambda: None)
        self.applier = VipApplier(
            view, self.kernel, lambda key, event: self.reports.append(event), self.paths
        )

    def wish(self, *vips, now=0.0):
        self.reports.clear()
        self.applier.wish({KEY: Wish(vips, 2)}, now)
        return self.reports


def test_a_wish_fulfilled_is_reported_once_and_then_costs_nothing():
    world = World()

    assert world.wish(ONE) == [VipsBound()]
    asked = world.kernel.asked

    assert world.wish(ONE) == []
    assert world.kernel.asked == asked
    assert world.applier.settled(KEY)
    assert world.wish() == [VipsReleased()]


def test_a_refusal_is_told_each_time_it_is_tried_again():
    world = World()
    world.kernel.additions = errno.ENOBUFS

    assert isinstance(world.wish(ONE)[0], VipsFailed)
    assert world.wish(ONE, now=0.05) == []
    assert isinstance(world.wish(ONE, now=0.1)[0], VipsFailed)
    assert not world.applier.settled(KEY)

    world.kernel.additions = 0
    assert world.wish(ONE, now=1.0) == [VipsBound()]


def test_what_cannot_be_removed_neither_hides_nor_ends_what_is_bound():
    world = World()
    world.wish(ONE, TWO)
    world.kernel.removals = errno.EPERM

    assert world.wish(ONE) == [VipsBound()]
    assert not world.applier.settled(KEY)
    assert world.applier.deadline() == 0.1
    world.reports.clear()
    world.applier.refresh(KEY, 0.05)
    assert world.reports == [LeaseRefreshed()]

    world.kernel.removals = 0
    world.wish(ONE, now=0.1)
    assert world.applier.settled(KEY)


def test_nothing_is_refreshed_that_is_not_bound():
    world = World()
    world.wish(ONE)
    world.kernel.additions = errno.ENODEV
    world.applier.refresh(KEY, 1.0)
    asked = world.kernel.asked
    world.reports.clear()

    world.applier.refresh(KEY, 1.05)

    assert world.kernel.asked == asked
    assert world.reports == []


def test_an_address_taken_away_by_hand_stays_reported_until_it_is_back():
    world = World()
    world.wish(ONE)
    world.reports.clear()

    world.applier.address_removed("eth0", ONE.address)
    lost = [*world.reports]

    assert [type(event).__name__ for event in lost] == ["VipsLost"]
    assert world.wish(ONE) == [VipsBound()]


def test_another_mastership_binds_anew_what_the_last_one_left():
    world = World()
    world.applier.wish({KEY: Wish((ONE,), 2, mastership=1)}, 0.0)
    asked = world.kernel.asked
    world.reports.clear()

    world.applier.wish({KEY: Wish((ONE,), 2, mastership=2)}, 1.0)

    assert world.reports == [VipsBound()]
    assert world.kernel.asked == asked + 1
