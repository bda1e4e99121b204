"""Routes and rules follow the master, with whole daemons and a real kernel, in both families.

At 0.2 s between adverts, without IPVS. A path is ours by its protocol, `keepalived` in iproute2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

VIP = "10.77.0.100"
LINES = (
    "route=10.90.0.0/16 via 10.77.0.2 src 10.77.0.100",
    "route=default via 10.77.0.2 table 100",
    "route=10.91.0.0/16 dev eth1 metric 7",
    "route=fd90::/16 via fd77::2 mtu 1400",
    "route=unreachable fd91::/16 table 100",
    "rule=from 10.77.0.100 priority 100 table 100",
    "rule=inet6 fwmark 0x7 table 100",
)
ROUTES = {"10.90.0.0/16", "10.91.0.0/16", "default", "fd90::/16", "fd91::/16"}
RULES = {100, 16384}
Make = Callable[[str, str], Director]


def block(priority: int, *lines: str) -> str:
    head = ("interface=eth0", "virtualrouterid=51", f"priority={priority}", "version=3")
    words = (*head, "advertint=0.2", f"address={VIP}", *lines)
    return "vrrp=VI_1\n" + "".join(f"\t{word}\n" for word in words)


@pytest.fixture
def make(topology: Callable[[Layout], Topology]) -> Iterator[Make]:
    lab = topology(Layout.dr(reals=0))
    made: list[Director] = []

    def director(node: str, config: str) -> Director:
        made.append(Director(lab, node, config, table="none").start())
        made[-1].wait_state("master" if len(made) == 1 else "backup")
        return made[-1]

    yield director
    for one in made:
        if one.process is not None and one.process.alive():
            one.stop()


def routes(lab: Topology, node: str) -> set[str]:
    """Destinations of our routes, of both families and in all tables."""
    found = []
    for family in ("-4", "-6"):
        words = ["ip", family, "-j", "route", "show", "table", "all", "proto", "keepalived"]
        found += json.loads(lab.exec(node, words).stdout or "[]")
    return {route["dst"] for route in found}


def rules(lab: Topology, node: str) -> set[int]:
    """Priorities of our rules."""
    found = []
    for family in ("-4", "-6"):
        found += json.loads(lab.exec(node, ["ip", family, "-j", "rule"]).stdout or "[]")
    return {rule["priority"] for rule in found if rule.get("protocol") == "keepalived"}


def has_all(director: Director) -> bool:
    lab, node = director.lab, director.node
    return routes(lab, node) == ROUTES and rules(lab, node) == RULES


def has_none(director: Director) -> bool:
    return not routes(director.lab, director.node) and not rules(director.lab, director.node)


def test_paths_follow_the_master_by_stepdown_and_by_the_guard(make: Make) -> None:
    first = make("dirA", block(150, *LINES))
    second = make("dirB", block(100, *LINES))
    wait_until(lambda: has_all(first), 5, "the master has every route and rule")
    assert has_none(second)
    (told,) = first.status()["vrrp"]
    assert (len(told["routes"]), len(told["rules"])) == (5, 2)
    assert "route default via 10.77.0.2 table 100\n" in first.command("status")

    first.command("stepdown")
    wait_until(lambda: has_all(second) and has_none(first), 5, "the peer has them")
    second.kill_main()
    wait_until(lambda: has_none(second) and not second.holds(VIP), 5, "the guard removes them")
    wait_until(lambda: has_all(first), 5, "they are back")
    assert first.stop() == 0
    assert has_none(first)


def test_a_path_that_goes_away_comes_back(make: Make) -> None:
    one = make("dirA", block(150, *LINES))
    wait_until(lambda: has_all(one), 5, "the master has every route and rule")

    one.lab.exec("dirA", ["ip", "route", "del", "10.90.0.0/16"])
    one.lab.exec("dirA", ["ip", "-6", "route", "flush", "table", "100"])
    one.lab.exec("dirA", ["ip", "rule", "del", "priority", "100"])
    wait_until(lambda: has_all(one), 5, "they are back after their removal by hand")
    lost = [e for e in json_events(one) if e["event"] == "route_lost"]
    assert len(lost) == 3

    one.lab.ip("dirA", ["link set eth1 down", "link set eth1 up"])  # a route goes without a word
    wait_until(lambda: has_all(one), 5, "it is back after a flap")
    one.lab.exec("dirA", ["ip", "link", "set", "eth1", "down"])
    one.wait_state("fault")
    assert one.status()["vrrp"][0]["reason"] == "interface eth1 is down"
    one.lab.exec("dirA", ["ip", "link", "set", "eth1", "up"])
    wait_until(lambda: has_all(one), 5, "the route over eth1 is back")

    one.lab.cut("dirA")
    one.wait_state("fault")
    wait_until(lambda: has_none(one), 5, "nothing without mastership")
    one.lab.join("dirA")
    wait_until(lambda: has_all(one), 10, "they are back with the mastership")

    one.kill_everything()
    assert has_all(one), "nobody could remove them"
    one.start().wait_state("master")
    wait_until(lambda: has_all(one), 5, "what the crash has left is no hindrance")
    assert not [e for e in json_events(one) if e["event"] == "route_failed"]


def test_a_reload_changes_the_paths_it_names_and_a_refusal_is_told(make: Make) -> None:
    one = make("dirA", block(150, *LINES))
    wait_until(lambda: has_all(one), 5, "the master has every route and rule")

    kept = [line for line in LINES if "10.90" not in line and "priority 100" not in line]
    one.config.write_text(block(150, *kept, "route=10.92.0.0/16 via 10.77.0.3"))
    one.command("reload")
    wanted = ROUTES - {"10.90.0.0/16"} | {"10.92.0.0/16"}
    wait_until(lambda: routes(one.lab, "dirA") == wanted, 5, "the routes of the new file")
    assert rules(one.lab, "dirA") == {16384}

    bad = "route=10.93.0.0/16 via 192.0.2.1"
    one.config.write_text(block(150, *kept, f"{bad} notrack"))
    one.command("reload")
    reason = "route 10.93.0.0/16 via 192.0.2.1 notrack: Network is unreachable"
    wait_until(lambda: reason in one.status()["vrrp"][0]["notes"], 5, "the refusal is noted")
    assert one.status()["vrrp"][0]["counters"]["released_master"] == 0

    one.config.write_text(block(150, *kept, bad))
    one.command("reload")
    one.wait_state("fault", 10)
    assert "cannot hold the routes: route 10.93.0.0/16" in one.status()["vrrp"][0]["reason"]
    assert [e for e in json_events(one) if e["event"] == "route_failed"]


def json_events(director: Director) -> list[dict[str, object]]:
    return [json.loads(line) for line in director.command("events", "--json").splitlines()]
