"""What a pair of directors owes its clients, in virtual time; chance is in `test_seeds`."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvsd.core.model import RouterConfig, Vip
from lvsd.core.vrrp import (
    State,
    counters,
    master_down_interval,
)

from . import faults
from .checkers import all_checkers
from .cluster import Cluster
from .story import Checker

VIP, VIP2 = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")


def config(priority: int = 100, **changes) -> RouterConfig:
    base = RouterConfig("VI_1", "eth0", 51, priority, (Vip(VIP, 32),), has_services=True)
    return replace(base, **changes)


def pair(seed: int = 0, **changes) -> Cluster:
    configs = {"a": (config(150, **changes),), "b": (config(100, **changes),)}
    cluster = Cluster(seed, configs)
    cluster.checkers = all_checkers()
    for name in configs:
        cluster.start(name)
    return cluster


def settled(seed: int = 0, **changes) -> Cluster:
    """A pair in which a has been MASTER for some seconds."""
    cluster = pair(seed, **changes)
    cluster.run(12.0)
    assert cluster.holders(VIP) == ["a"]
    return cluster


class Watch(Checker):
    """How long nobody, and how long several, held the VIP since the watch began."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.at = cluster, cluster.now
        self.count = len(cluster.holders(VIP))
        self.unserved = self.contended = self.longest_gap = self._gap = 0.0
        cluster.checkers.append(self)

    def after(self, cluster: Cluster) -> None:
        passed, self.at = cluster.now - self.at, cluster.now
        if self.count == 0:
            self.unserved += passed
            self._gap += passed
            self.longest_gap = max(self.longest_gap, self._gap)
        else:
            self._gap = 0.0
        if self.count > 1:
            self.contended += passed
        self.count = len(cluster.holders(VIP))


def test_the_higher_priority_becomes_the_only_holder() -> None:
    cluster = settled()

    assert cluster.masters(config().key) == ["a"]


def test_a_killed_master_is_replaced_within_the_master_down_interval_and_its_vip_is_gone() -> None:
    cluster = settled()
    watch = Watch(cluster)
    killed_at = cluster.now

    faults.kill_everything(cluster, "a")
    cluster.run(killed_at + 2 + 1)
    assert "a" not in cluster.holders(VIP)
    cluster.run(killed_at + master_down_interval(2, 100, 1.0) + 0.01)

    assert cluster.holders(VIP) == ["b"]
    assert watch.contended == 0


@pytest.mark.parametrize("version", [2, 3])
def test_an_orderly_stop_leaves_no_gap(version: int) -> None:
    cluster = settled(version=version)
    watch = Watch(cluster)

    faults.stop(cluster, "a")
    cluster.run(cluster.now + 5)

    assert cluster.holders(VIP) == ["b"]
    assert not cluster.nodes["a"].up
    assert watch.unserved == 0
    assert watch.contended < 0.15


def test_an_orderly_stop_of_a_single_director_ends_within_its_time() -> None:
    cluster = Cluster(1, {"a": (config(),)})
    cluster.start("a")
    cluster.run(10)

    faults.stop(cluster, "a")
    cluster.run(11.01)

    assert not cluster.nodes["a"].up
    assert cluster.holders(VIP) == []


def test_a_step_down_moves_the_vip_without_a_gap_and_it_stays_until_resumed() -> None:
    cluster = settled()
    watch = Watch(cluster)

    faults.step_down(cluster, "a")
    cluster.run(cluster.now + 60)
    assert cluster.holders(VIP) == ["b"]
    assert watch.unserved == 0

    faults.resume(cluster, "a")
    cluster.run(cluster.now + 10)
    assert cluster.holders(VIP) == ["a"]


def test_a_sleeping_master_does_not_speak_before_it_has_listened() -> None:
    cluster = settled(preempt=False)
    sent = counters(cluster.nodes["a"].routers.routers[config().key])["adverts_sent"]

    faults.pause(cluster, "a", 6.0)
    cluster.run(cluster.now + 30)

    assert cluster.holders(VIP) == ["b"]
    assert counters(cluster.nodes["a"].routers.routers[config().key])["adverts_sent"] == sent


def test_a_refusing_kernel_hands_over_to_the_peer() -> None:
    cluster = pair()
    faults.refuse(cluster, "a", 40.0)

    cluster.run(12.0)
    assert cluster.holders(VIP) == ["b"]
    cluster.run(120.0)

    assert cluster.holders(VIP) == ["a"]


def test_two_adverts_in_a_row_may_be_lost_without_a_transition() -> None:
    cluster = settled()
    became = cluster.nodes["b"].routers.routers[config().key].since

    for start in (12.1, 17.1, 22.1):
        cluster.run(start)
        cluster.network.cut([("a", "b")])
        cluster.run(start + 2.2)
        cluster.network.mend([("a", "b")])
    cluster.run(30.0)

    assert cluster.nodes["b"].routers.routers[config().key].since == became
    assert cluster.nodes["b"].routers.routers[config().key].state is State.BACKUP


def test_a_killed_main_is_replaced_in_the_skew_time_without_a_gap() -> None:
    cluster = settled()
    watch = Watch(cluster)

    faults.kill_main(cluster, "a")
    cluster.run(cluster.now + 0.7)

    assert cluster.holders(VIP) == ["b"]
    assert watch.unserved == 0
    assert watch.contended < 0.01


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_rolling_change_of_the_address_list_leaves_no_gap_in_either_order(first: str) -> None:
    cluster = settled()
    watch = Watch(cluster)

    for name in (first, "b" if first == "a" else "a"):
        faults.set_vips(cluster, name, (Vip(VIP, 32), Vip(VIP2, 32)))
        cluster.run(cluster.now + 30)

    assert watch.unserved == watch.contended == 0
    assert cluster.holders(VIP) == cluster.holders(VIP2) == ["a"]
