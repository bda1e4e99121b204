"""Two or three directors in virtual time, with all that can go wrong between and inside them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvsd.core.model import RouterConfig, Vip
from lvsd.core.vrrp import (
    Resume,
    State,
    StepDown,
    counters,
    lease_seconds,
    master_down_interval,
)

from .cluster import LEASE_LATENESS, Cluster

VIP, VIP2 = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")
SEEDS = range(200)
#: Seconds in which faults begin, the longest fault, and what is then given to calm down: a VIP
#: refused long ago is tried again after a pause that doubles.
TROUBLE = 20.0
LONGEST = 8.0
SETTLE = 60.0


def config(priority: int = 100, **changes) -> RouterConfig:
    base = RouterConfig("VI_1", "eth0", 51, priority, (Vip(VIP, 32),), has_services=True)
    return replace(base, **changes)


def pair(seed: int = 0, **changes) -> Cluster:
    configs = {"a": (config(150, **changes),), "b": (config(100, **changes),)}
    cluster = Cluster(seed, configs)
    for name in configs:
        cluster.start(name)
    return cluster


def settled(seed: int = 0, **changes) -> Cluster:
    """A pair in which a has been MASTER for some seconds."""
    cluster = pair(seed, **changes)
    cluster.run(12.0)
    assert cluster.holders(VIP) == ["a"]
    return cluster


class Watch:
    """How long nobody, and how long several, held the VIP since the watch began."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.at = cluster, cluster.now
        self.count = len(cluster.holders(VIP))
        self.unserved = self.contended = self.longest_gap = self._gap = 0.0
        cluster.observers.append(self.look)

    def look(self, cluster: Cluster) -> None:
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

    cluster.kill("a")
    cluster.run(killed_at + 2 + 1)
    assert "a" not in cluster.holders(VIP)
    cluster.run(killed_at + master_down_interval(2, 100, 1.0) + 0.01)

    assert cluster.holders(VIP) == ["b"]
    assert watch.contended == 0


@pytest.mark.parametrize("version", [2, 3])
def test_an_orderly_stop_leaves_no_gap(version: int) -> None:
    cluster = settled(version=version)
    watch = Watch(cluster)

    cluster.stop("a")
    cluster.run(cluster.now + 5)

    assert cluster.holders(VIP) == ["b"]
    assert not cluster.nodes["a"].up
    assert watch.unserved == 0
    assert watch.contended < 0.15


def test_an_orderly_stop_of_a_single_director_ends_within_its_time() -> None:
    cluster = Cluster(1, {"a": (config(),)})
    cluster.start("a")
    cluster.run(10)

    cluster.stop("a")
    cluster.run(11.01)

    assert not cluster.nodes["a"].up
    assert cluster.holders(VIP) == []


def test_a_step_down_moves_the_vip_without_a_gap_and_it_stays_until_resumed() -> None:
    cluster = settled()
    watch = Watch(cluster)

    cluster.event("a", StepDown())
    cluster.run(cluster.now + 60)
    assert cluster.holders(VIP) == ["b"]
    assert watch.unserved == 0

    cluster.event("a", Resume())
    cluster.run(cluster.now + 10)
    assert cluster.holders(VIP) == ["a"]


def test_a_sleeping_master_does_not_speak_before_it_has_listened() -> None:
    cluster = settled(preempt=False)
    sent = counters(cluster.nodes["a"].routers.routers[config().key])["adverts_sent"]

    cluster.pause("a", 6.0)
    cluster.run(cluster.now + 30)

    assert cluster.holders(VIP) == ["b"]
    assert counters(cluster.nodes["a"].routers.routers[config().key])["adverts_sent"] == sent


def test_a_refusing_kernel_hands_over_to_the_peer() -> None:
    cluster = pair()
    cluster.refuse("a", 40.0)

    cluster.run(12.0)
    assert cluster.holders(VIP) == ["b"]
    cluster.run(120.0)

    assert cluster.holders(VIP) == ["a"]


def test_two_adverts_in_a_row_may_be_lost_without_a_transition() -> None:
    cluster = settled()
    became = cluster.nodes["b"].routers.routers[config().key].since

    for start in (12.1, 17.1, 22.1):
        cluster.run(start)
        cluster.cut.add("b")
        cluster.run(start + 2.2)
        cluster.cut.discard("b")
    cluster.run(30.0)

    assert cluster.nodes["b"].routers.routers[config().key].since == became
    assert cluster.nodes["b"].routers.routers[config().key].state is State.BACKUP


def trouble(cluster: Cluster, names: list[str]) -> None:
    """A random schedule of faults between now and now + TROUBLE; all of them end."""
    pick = cluster.random
    end = cluster.now + TROUBLE
    while cluster.now < end:
        cluster.run(cluster.now + pick.expovariate(0.5))
        name, seconds = pick.choice(names), pick.uniform(0.05, LONGEST)
        kind = pick.choice(
            ["kill", "pause", "pause", "stop", "cut", "unplug", "refuse", "lose", "stepdown", "up"]
        )
        match kind:
            case "kill":
                cluster.kill(name)
            case "pause":
                cluster.pause(name, seconds)
            case "stop":
                cluster.stop(name)
            case "cut":
                cluster.partition(name, seconds)
            case "unplug":
                cluster.unplug(name, seconds)
            case "refuse":
                cluster.refuse(name, seconds)
            case "lose":
                cluster.lose(pick.uniform(0.05, 0.9), seconds)
            case "stepdown":
                cluster.event(name, pick.choice([StepDown(), Resume()]))
            case _:
                if not cluster.nodes[name].up:
                    cluster.start(name)


class Invariants:
    """What must hold at every moment, whatever goes wrong."""

    def __init__(self) -> None:
        self.dead_since: dict[str, float] = {}

    def __call__(self, cluster: Cluster) -> None:
        for name, node in cluster.nodes.items():
            if node.up and not node.paused:
                self.dead_since.pop(name, None)
                self._awake(node)
            elif node.bound:
                lease = lease_seconds(node.configs[0])
                since = self.dead_since.setdefault(name, cluster.now)
                assert lease is None or cluster.now - since <= lease + LEASE_LATENESS, (
                    f"{name} is dead since {since:.3f} and still holds {list(node.bound)}"
                )

    def _awake(self, node) -> None:
        for key, vr in node.routers.routers.items():
            held = [address for k, address in node.bound if k == key]
            if vr.state is not State.MASTER:
                assert not held, f"{node.name} is {vr.state} and holds {held}"


@pytest.mark.parametrize("directors", [2, 3])
@pytest.mark.parametrize("chunk", range(0, len(SEEDS), 50))
def test_after_any_trouble_exactly_one_director_holds_the_vip(directors: int, chunk: int) -> None:
    for seed in SEEDS[chunk : chunk + 50]:
        variant = {
            "preempt": seed % 3 != 0,
            "version": 3 if seed % 4 == 0 else 2,
            "preemptdelay": 4.0 if seed % 5 == 0 else 0.0,
        }
        priorities = (150, 100, 50) if seed % 2 else (100, 100, 100)
        names = ["a", "b", "c"][:directors]
        configs = {n: (config(p, **variant),) for n, p in zip(names, priorities, strict=False)}
        cluster = Cluster(seed, configs)
        cluster.observers.append(Invariants())
        try:
            for name in names:
                cluster.start(name)
            trouble(cluster, names)
            cluster.run(cluster.now + LONGEST)
            for name in names:
                if not cluster.nodes[name].up:
                    cluster.start(name)
            cluster.run(cluster.now + SETTLE)
            assert len(cluster.holders(VIP)) == 1, cluster.holders(VIP)
            assert cluster.masters(config().key) == cluster.holders(VIP)
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}\n" + "\n".join(cluster.story), pytrace=False)


@pytest.mark.parametrize("chunk", range(0, 60, 20))
def test_after_any_trouble_one_director_holds_the_whole_sync_group(chunk: int) -> None:
    for seed in SEEDS[chunk : chunk + 20]:
        configs = {}
        for name, priority in (("a", 150), ("b", 100 if seed % 2 else 150)):
            first = config(priority, syncgroup="G1", preempt=seed % 3 != 0)
            second = replace(first, name="VI_2", vrid=52, addresses=(Vip(VIP2, 32),))
            configs[name] = (first, second)
        cluster = Cluster(seed, configs)
        cluster.observers.append(Invariants())
        try:
            for name in configs:
                cluster.start(name)
            trouble(cluster, list(configs))
            cluster.run(cluster.now + LONGEST)
            for name in configs:
                if not cluster.nodes[name].up:
                    cluster.start(name)
            cluster.run(cluster.now + SETTLE)
            assert len(cluster.holders(VIP)) == 1
            assert cluster.holders(VIP) == cluster.holders(VIP2)
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}\n" + "\n".join(cluster.story), pytrace=False)


def test_a_seed_tells_the_same_story_twice() -> None:
    def told() -> list[str]:
        cluster = pair(7)
        trouble(cluster, ["a", "b"])
        cluster.run(cluster.now + 20)
        return cluster.story

    assert told() == told()
