"""A reload of a running pair of whole daemons: priority, addresses, whole vrrp blocks.

At 0.2 s between adverts, without IPVS; the client must not notice anything it need not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until
from tests.netns.daemons import OTHER, VIP, block, reload
from tests.netns.network import Probe

THIRD = "10.77.0.102"


Make = Callable[[str, str], Director]


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


def routers(director: Director) -> dict[str, str]:
    return {str(r["name"]): str(r["state"]) for r in director.status().get("vrrp", [])}


def pinging(director: Director, vip: str = VIP) -> Probe:
    return Probe(director.lab.netns("client"), "ping", vip)


def gap(probe: Probe) -> float:
    """The longest time without a reply, seen until half a second after the last change."""
    until = time.monotonic() + 0.5
    wait_until(lambda: time.monotonic() > until, 2, "half a second")
    return probe.longest_gap()


def test_a_lowered_priority_hands_over_and_a_raised_one_takes_back(make: Make) -> None:
    first = make("dirA", block("VI_1", 51, 150, VIP))
    second = make("dirB", block("VI_1", 51, 100, VIP))
    probe = pinging(first)

    reload(first, block("VI_1", 51, 50, VIP))
    second.wait_state("master", 5)
    first.wait_state("backup", 5)
    reload(first, block("VI_1", 51, 150, VIP))
    first.wait_state("master", 5)
    second.wait_state("backup", 5)

    assert gap(probe) < 0.2
    assert first.holds(VIP)
    assert not second.holds(VIP)


def test_addresses_come_and_go_on_a_master_without_an_outage_of_the_others(make: Make) -> None:
    one = make("dirA", block("VI_1", 51, 150, VIP))
    probe = pinging(one)

    reload(one, block("VI_1", 51, 150, VIP, OTHER))
    wait_until(lambda: one.holds(OTHER), 5, "the new address")
    other = pinging(one, OTHER)
    reload(one, block("VI_1", 51, 150, OTHER, THIRD))
    wait_until(lambda: one.holds(THIRD), 5, "another one")
    wait_until(lambda: not one.holds(VIP), 5, "the first is gone")

    assert gap(other) < 0.1
    assert probe.replies() > 5
    assert one.state == "master"
    assert one.log().count("state=master") == 1


def test_a_block_that_is_taken_out_serves_until_relieved_and_leaves_the_others(make: Make) -> None:
    both = block("VI_1", 51, 150, VIP) + block("VI_2", 52, 150, OTHER)
    first = make("dirA", both)
    second = make("dirB", block("VI_1", 51, 100, VIP) + block("VI_2", 52, 100, OTHER))
    wait_until(lambda: routers(first) == {"VI_1": "master", "VI_2": "master"}, 5, "master of both")
    wait_until(lambda: first.holds(OTHER), 5, "both addresses")
    left, kept = pinging(first), pinging(first, OTHER)

    reload(first, block("VI_2", 52, 150, OTHER))

    wait_until(lambda: routers(second).get("VI_1") == "master", 5, "relieved")
    wait_until(lambda: routers(first) == {"VI_2": "master"}, 5, "one router is left")
    wait_until(lambda: not first.holds(VIP), 5, "its VIP is gone")
    assert gap(left) < 0.1
    assert gap(kept) < 0.1
    assert second.holds(VIP)
    assert not second.holds(OTHER)


def test_a_block_that_comes_back_while_it_leaves_is_master_again(make: Make) -> None:
    text = block("VI_1", 51, 150, VIP).replace("0.2", "1")
    one = make("dirA", text + block("VI_2", 52, 150, OTHER))

    reload(one, block("VI_2", 52, 150, OTHER))
    reload(one, text + block("VI_2", 52, 150, OTHER))

    wait_until(lambda: routers(one).get("VI_1") != "master", 5, "it has left")
    wait_until(lambda: routers(one).get("VI_1") == "master", 10, "it is back")
    assert one.holds(VIP)


def test_a_renamed_interface_loses_the_vip_until_it_has_its_name_again(make: Make) -> None:
    one = make("dirA", block("VI_1", 51, 150, VIP) + "\tlease=no\n")

    for _ in range(2):
        one.lab.ip("dirA", ["link set eth0 name eth7"])
        one.wait_state("fault", 5)
        wait_until(lambda: VIP not in one.lab.addresses("dirA", "eth7"), 5, "the VIP is gone")
        one.lab.ip("dirA", ["link set eth7 name eth0"])
        one.wait_state("master", 10)
        wait_until(lambda: one.holds(VIP), 5, "the VIP is back")
