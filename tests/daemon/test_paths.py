"""Routes and rules of a MASTER, against a kernel that answers as Linux does."""

import errno
import struct
from ipaddress import ip_address

from lvsd.config.paths import route, rule
from lvsd.core.model import Family, Vip
from lvsd.core.vrrp import VipsBound, VipsFailed, VipsReleased
from lvsd.daemon.applier import VipApplier, Wish
from lvsd.daemon.paths import Paths
from lvsd.linux.interface import Interface
from lvsd.linux.route import (
    DELROUTE,
    DELRULE,
    NEWROUTE,
    NEWRULE,
    delete_route,
    entry,
    new_route,
    new_rule,
    read_route,
)
from lvsd.linux.rtnl import DELADDR, NEWADDR

KEY, OTHER = ("eth0", 51, Family.INET), ("eth0", 52, Family.INET)
VIP = Vip(ip_address("192.0.2.1"), 32)
DEFAULT = route("default via 192.0.2.254 src 192.0.2.1")
SIX = route("fd00::/8 dev eth1 metric 5")
RULE = rule("from 192.0.2.1 table 100")


class View:
    """Interfaces by name, and the table of the VRF they are in."""

    def __init__(self):
        self.indexes = {"eth0": 2, "eth1": 3}
        self.table = 0

    def interface(self, name):
        index = self.indexes.get(name)
        return None if index is None else Interface(name, index, b"", up=True, arp=True)

    def exists(self, index):
        return index in self.indexes.values()

    def find(self, name, address):
        return None

    def vrf_table(self, name):
        return self.table


class Kernel:
    """Holds routes by what the kernel tells them apart by; `log` has every request in order."""

    port = 0

    def __init__(self):
        self.there, self.log, self.refusal = {}, [], {}

    def send(self, requests):
        return [self.answer(request.message) for request in requests]

    def answer(self, message):
        (kind,) = struct.unpack_from("=H", message, 4)
        self.log.append(kind)
        if kind in (NEWADDR, DELADDR):
            return 0
        is_route = kind in (NEWROUTE, DELROUTE)
        name = read_route(message).identity if is_route else message[16:]
        if kind in (NEWROUTE, NEWRULE):
            if code := self.refusal.get(is_route):
                return code
            return errno.EEXIST if name in self.there else self.there.update({name: message}) or 0
        if name not in self.there:
            return errno.ESRCH if is_route else errno.ENOENT
        del self.there[name]
        return 0

    def routes(self):
        found = [read_route(m) for m in self.there.values() if m[4] == NEWROUTE]
        return [route for route in found if route.protocol == 18]

    def rules(self):
        return [RULE] if new_rule(RULE).message[16:] in self.there else []


class World:
    def __init__(self):
        self.view, self.kernel, self.reports, self.told = View(), Kernel(), [], []
        self.paths = Paths(self.view, self.kernel, lambda *t: self.told.append(t[1:]), lambda: None)
        self.applier = VipApplier(
            self.view, self.kernel, lambda key, event: self.reports.append(event), self.paths
        )

    def wish(self, *paths, now=0.0, key=KEY):
        self.reports.clear()
        self.kernel.log.clear()
        self.applier.wish({key: Wish((VIP,), 2, paths)}, now)
        return self.reports

    def leave(self):
        self.reports.clear()
        self.kernel.log.clear()
        self.applier.wish({KEY: Wish()}, 0.0)
        return self.reports

    def route(self, path=DEFAULT):
        """What the kernel has with this destination."""
        return [r for r in self.kernel.routes() if r.prefix == path.prefix]


def test_paths_come_after_the_vips_and_go_before_them_rules_first():
    world = World()

    assert world.wish(DEFAULT, RULE) == [VipsBound()]
    assert world.kernel.log == [NEWADDR, NEWROUTE, NEWRULE]

    assert world.leave() == [VipsReleased()]
    assert world.kernel.log == [DELRULE, DELROUTE, DELADDR]
    assert world.kernel.there == {}


def test_a_reload_touches_nothing_but_the_path_it_changes():
    world = World()
    world.wish(DEFAULT, RULE)

    assert world.wish(SIX, RULE) == []
    assert world.kernel.log == [DELROUTE, NEWROUTE, NEWRULE]  # the last one answers: it is there
    assert len(world.kernel.there) == 2
    assert world.wish(SIX, RULE) == []
    assert world.kernel.log == []


def test_a_refused_path_ends_mastership_and_is_tried_again():
    world = World()
    world.kernel.refusal = {True: errno.ENETUNREACH}

    assert world.wish(DEFAULT) == [
        VipsFailed(f"route {DEFAULT}: Network is unreachable", "routes"),
    ]
    assert world.told == [("route_failed", f"route {DEFAULT}: Network is unreachable")]
    assert world.wish(DEFAULT, now=0.05) == []
    assert len(world.wish(DEFAULT, now=0.1)) == 1
    assert NEWADDR not in world.kernel.log

    world.kernel.refusal = {}
    assert world.wish(DEFAULT, now=1.0) == [VipsBound()]
    assert world.applier.settled(KEY)


def test_an_untracked_path_is_told_and_tried_again_without_ending_mastership():
    world = World()
    world.kernel.refusal = {True: errno.ENETUNREACH}
    loose = route(f"{DEFAULT} notrack")

    assert world.wish(loose) == [VipsBound()]
    assert [event for event, _ in world.told] == ["route_failed"]
    assert [*world.paths.notes(KEY)] == [f"route {loose}: Network is unreachable"]
    assert not world.applier.settled(KEY)

    world.kernel.refusal = {}
    assert world.wish(loose, now=0.1) == []
    assert world.route()
    assert [*world.paths.notes(KEY)] == []


def test_what_the_operator_has_there_is_a_refusal_and_never_removed():
    world = World()
    ours = new_route(entry(DEFAULT, 0, 0)).message
    operators = ours[:21] + b"\3" + ours[22:]  # the protocol of `ip route` (boot)
    world.kernel.there[read_route(operators).identity] = operators

    (failed,) = world.wish(DEFAULT)
    assert failed.error == f"route {DEFAULT}: exists already, and is not ours"
    assert world.paths.deletions(KEY, (DEFAULT,)) == ()
    world.leave()
    assert DELROUTE not in world.kernel.log
    assert len(world.kernel.there) == 1


def test_a_path_taken_away_is_back_and_said():
    world = World()
    world.wish(DEFAULT, RULE)
    world.kernel.there.clear()

    assert world.wish(DEFAULT, RULE) == []
    assert world.kernel.there == {}, "nobody has said that there is a doubt"
    world.applier.doubt()
    assert world.wish(DEFAULT, RULE) == []
    assert len(world.kernel.there) == 2
    assert world.told == [
        ("route_lost", f"route {DEFAULT} was taken away and is back"),
        ("route_lost", f"rule {RULE} was taken away and is back"),
    ]


def test_any_change_of_an_interface_is_a_doubt():
    world = World()
    world.wish(DEFAULT)
    world.kernel.there.clear()
    world.applier.interface_changed("eth7")
    world.wish(DEFAULT)
    assert world.route()


def test_an_interface_made_anew_gets_its_route_again():
    world = World()
    world.wish(SIX)
    world.view.indexes["eth1"] = 9
    world.applier.interface_changed("eth1")
    world.wish(SIX)
    assert [r.index for r in world.route(SIX)] == [9]

    del world.view.indexes["eth1"]
    world.applier.interface_changed("eth1")
    (failed,) = world.wish(SIX)
    assert "interface eth1 does not exist" in failed.error


def test_a_route_without_a_table_follows_the_interface_into_its_vrf():
    world = World()
    world.wish(DEFAULT)
    assert [r.table for r in world.route()] == [254]
    world.view.table = 77
    world.applier.interface_changed("eth0")
    world.wish(DEFAULT)
    assert [r.table for r in world.route()] == [77]


def test_paths_left_by_a_crash_are_kept_where_wished_and_else_removed():
    world = World()
    other = entry(route("default via 192.0.2.253"), 0, 0)
    for placed in (entry(SIX, 3, 0), other):
        world.kernel.answer(new_route(placed).message)
    world.kernel.answer(new_rule(RULE).message)

    world.paths.adopt({KEY: (DEFAULT, SIX, RULE)})
    assert world.wish(DEFAULT, SIX, RULE) == [VipsBound()]
    assert world.kernel.log.count(DELROUTE) == 1, "the one with another gateway"
    assert [str(r.via) for r in world.route()] == ["192.0.2.254"]
    assert world.told == []

    again = World()
    again.kernel.there = world.kernel.there
    again.paths.adopt({KEY: (DEFAULT, SIX, RULE)})
    again.leave()
    assert again.kernel.there == {}


def test_a_path_moves_to_another_router_with_a_reload():
    world = World()
    world.wish(DEFAULT)
    wishes = {KEY: Wish((VIP,), 2), OTHER: Wish((VIP,), 2, (DEFAULT,))}
    world.applier.wish(wishes, 0.0)
    assert len(world.route()) == 1
    assert world.reports[-1] == VipsBound()


def test_the_guard_gets_rules_and_routes_before_addresses():
    world = World()
    before = world.applier.deletions(KEY, (VIP,), (DEFAULT, SIX, RULE))
    world.wish(DEFAULT, SIX, RULE)
    assert world.applier.deletions(KEY, (VIP,), (DEFAULT, SIX, RULE)) == before
    kinds = [struct.unpack_from("=H", message, 4)[0] for message in before]
    assert kinds == [DELRULE, DELROUTE, DELROUTE, DELADDR]
    assert before[2] == delete_route(entry(DEFAULT, 0, 0)).message


def test_what_cannot_be_removed_stays_to_be_removed():
    world = World()
    world.wish(DEFAULT)
    sent, world.kernel.send = world.kernel.send, lambda requests: [errno.EPERM] * len(requests)
    assert world.leave() == []
    world.kernel.send = sent
    world.reports.clear()
    world.applier.wish({KEY: Wish()}, 1.0)
    assert world.reports == [VipsReleased()]
    assert world.kernel.there == {}
