"""From a seed to a whole story: a cluster, its weather, and the judgement at the end.

Two kinds of weather. In a *storm* anything goes wrong; then all faults end, and within the bound
exactly one node holds everything, the best one where preemption is on, and nothing moves any
more. In *drizzle* up to two adverts in a row are lost, delays and clocks vary, and nothing moves
at all after the first election.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from lvsd.core.model import Family, RouterConfig, Vip
from lvsd.core.vrrp import State, master_down_interval

from . import faults
from .checkers import all_checkers, intervals, patience
from .cluster import Cluster

NAMES = "abcde"
DRIFT_PPM = 200.0
#: Faults per storm, the time in which they begin, and the longest of them, in seconds.
FAULTS = (3, 9)
STORM = 14.0
LONGEST = 6.0
DRIZZLE = 25.0


class Failed(Exception):
    """A seed whose story breaks a rule; the text is for people."""


def play(seed: int) -> Cluster:
    """The whole story of a seed. Raises Failed with it."""
    cluster = make(seed)
    try:
        for name in cluster.nodes:
            cluster.at(cluster.random.uniform(0.0, 1.5), lambda name=name: cluster.start(name))
        if cluster.random.random() < 0.15:
            drizzle(cluster)
        else:
            storm(cluster)
    except Exception as error:  # a crash of the core is a failure like any other
        why = str(error) if isinstance(error, AssertionError) else repr(error)
        raise Failed(f"seed {seed} at {cluster.now:.3f}: {why}\n{told(cluster)}") from error
    return cluster


def told(cluster: Cluster) -> str:
    """The configurations and the story of a cluster."""
    first = [f"{n.name}: {', '.join(map(describe, n.configs))}" for n in cluster.nodes.values()]
    return "\n".join([*first, *map(str, cluster.story)])


def describe(config: RouterConfig) -> str:
    """A configuration in a few words."""
    words = [f"{config.name} priority {config.priority} v{config.version} {config.advertint:g} s"]
    words += [] if config.preempt else ["nopreempt"]
    words += [f"preemptdelay {config.preemptdelay:g}"] if config.preemptdelay else []
    words += ["unicast"] if config.peers else []
    words += [] if config.lease else ["lease=no"]
    return " ".join([*words, *(str(vip.address) for vip in config.addresses)])


def make(seed: int) -> Cluster:
    """The cluster of a seed: how many nodes, and what they are told."""
    pick = random.Random(seed * 2 + 1)
    count = pick.choices((2, 3, 4, 5), (50, 30, 12, 8))[0]
    names = NAMES[:count]
    inet6 = pick.random() < 0.1
    base = _base(pick, inet6)
    priorities = _priorities(pick, count)
    sources = [ip_address(f"fe80::{i}" if inet6 else f"192.0.2.{i}") for i in range(1, count + 1)]
    peers = tuple(sources) if pick.random() < 0.1 else ()
    grouped = pick.random() < 0.15
    # In version 3 the master's interval is learnt, so the directors may be told different ones.
    mixed = base.version == 3 and pick.random() < 0.3
    configs = {}
    for name, priority in zip(names, priorities, strict=True):
        first = replace(base, priority=priority, peers=peers)
        if mixed:
            first = replace(first, advertint=pick.choice((0.2, 0.5, 1.0)))
        if grouped:
            first = replace(first, syncgroup="G1")
            second = replace(first, name="VI_2", vrid=52, addresses=vips(inet6, 50))
            configs[name] = (first, second)
        else:
            configs[name] = (first,)
    cluster = Cluster(seed, configs, drift_ppm=DRIFT_PPM)
    cluster.checkers = all_checkers()
    return cluster


def vips(inet6: bool, start: int, count: int = 1) -> tuple[Vip, ...]:
    """The addresses of an instance."""
    template, length = ("2001:db8::{}", 128) if inet6 else ("192.0.2.{}", 32)
    hosts = range(start, start + count)
    return tuple(Vip(ip_address(template.format(host)), length) for host in hosts)


def _base(pick: random.Random, inet6: bool) -> RouterConfig:
    version = 3 if inet6 else pick.choice((2, 2, 3))
    whole, fractions = (1.0, 1.0, 1.0, 2.0), (0.3, 0.5, 1.0, 1.0)
    family = Family.INET6 if inet6 else Family.INET
    return RouterConfig(
        "VI_1",
        "eth0",
        51,
        100,
        vips(inet6, 100),
        version=version,
        family=family,
        advertint=pick.choice(whole if version == 2 else fractions),
        preempt=pick.random() < 0.7,
        preemptdelay=pick.choice((0.0, 0.0, 0.0, 3.0)),
        lease=pick.random() < 0.9,
        has_services=pick.random() < 0.5,
    )


def _priorities(pick: random.Random, count: int) -> list[int]:
    kind = pick.random()
    if kind < 0.2:
        return [100] * count
    priorities = pick.sample(range(1, 255), count)
    if kind < 0.3:
        priorities[pick.randrange(count)] = 255
    return priorities


# --- drizzle --------------------------------------------------------------------------------


def drizzle(cluster: Cluster) -> None:
    """At most two adverts in a row are lost, so nobody's patience ends."""
    settle(cluster)
    highest = max(c.priority for node in cluster.nodes.values() for c in node.configs)
    skews = [
        master_down_interval(c.version, highest, c.advertint) - 3 * c.advertint
        for node in cluster.nodes.values()
        for c in node.configs
    ]
    drift = 8 * intervals(cluster) * DRIFT_PPM * 1e-6
    longest = max(0.0, min(0.05, min(skews) / 2 - drift))
    cluster.network.drizzle = True
    cluster.network.loss = 0.7
    cluster.network.duplication = 0.2
    cluster.network.delay = (longest / 10, longest)
    cluster.tell("link", f"drizzle, delay to {longest * 1000:.1f} ms")
    calm(cluster, DRIZZLE)


# --- storm ----------------------------------------------------------------------------------


def storm(cluster: Cluster) -> None:
    """Faults, their end, and what must be true after it."""
    pick = cluster.random
    if pick.random() < 0.5:
        settle(cluster)
    else:
        cluster.run(2.0)
    began = cluster.now
    for offset in sorted(pick.uniform(0.0, STORM) for _ in range(pick.randint(*FAULTS))):
        cluster.run(began + offset)
        name, seconds = pick.choice(list(cluster.nodes)), pick.uniform(0.05, LONGEST)
        kind = pick.choice(KINDS)
        _strike(cluster, kind, name, seconds)
    cluster.run(cluster.now + pick.uniform(0.0, LONGEST))
    addresses = vips(_inet6(cluster), 100)
    faults.heal(cluster, addresses)
    settle(cluster)
    judge(cluster)
    calm(cluster, 3 * intervals(cluster))


KINDS = (
    *("kill_main", "kill_everything", "reboot", "pause", "pause", "freeze", "stop", "stop"),
    *("isolate", "split", "one_way", "unplug", "refuse", "steal", "spoil", "late"),
    *("priority", "addresses", "unchanged", "step_down", "resume", "start"),
)


def _strike(cluster: Cluster, kind: str, name: str, seconds: float) -> None:
    """One fault, or one deed of an operator."""
    pick, others = cluster.random, [n for n in cluster.nodes if n != name]
    match kind:
        case "reboot" | "pause" | "freeze" | "unplug" | "refuse":
            getattr(faults, kind)(cluster, name, seconds)
        case "kill_main" | "kill_everything" | "stop" | "steal" | "step_down" | "resume":
            getattr(faults, kind)(cluster, name)
        case "isolate":
            faults.partition(cluster, faults.apart([name], others), seconds)
        case "split":
            side = pick.sample(sorted(cluster.nodes), pick.randint(1, len(others)))
            rest = [n for n in cluster.nodes if n not in side]
            faults.partition(cluster, faults.apart(side, rest), seconds)
        case "one_way":
            pairs = [(name, n) if pick.random() < 0.5 else (n, name) for n in others[:2]]
            faults.partition(cluster, pairs, seconds)
        case "spoil":
            loss, doubled = pick.uniform(0.05, 0.9), pick.choice((0.0, 0.3))
            faults.spoil(cluster, seconds, loss=loss, duplication=doubled)
        case "late":
            faults.spoil(cluster, seconds, delay=(0.0, pick.uniform(0.01, 0.2)))
        case _:
            _operate(cluster, kind, name)


def _operate(cluster: Cluster, kind: str, name: str) -> None:
    node, pick = cluster.nodes[name], cluster.random
    match kind:
        case "priority":
            faults.set_priority(cluster, name, pick.randint(1, 254))
        case "addresses":
            first = pick.choice((100, 101))
            faults.set_vips(cluster, name, vips(_inet6(cluster), first, pick.randint(1, 3)))
        case "unchanged":
            faults.reload(cluster, name, node.configs, "")
        case "start":
            if not node.frozen:
                cluster.start(name)


def _inet6(cluster: Cluster) -> bool:
    return next(iter(cluster.nodes.values())).configs[0].family is Family.INET6


# --- judgement ------------------------------------------------------------------------------


def settle(cluster: Cluster) -> None:
    """Run for as long as the survivors may need: a refused VIP is tried again after a pause."""
    for _ in range(8):
        until = max(
            [cluster.now, cluster.disturbed_at + patience(cluster) + 0.2, *_retries(cluster)]
        )
        if until <= cluster.now:
            return
        cluster.run(until + 0.01)
    raise AssertionError("it does not come to rest")


def _retries(cluster: Cluster) -> Iterator[float]:
    for node in cluster.nodes.values():
        for vr in node.routers.routers.values():
            if vr.retry_at is not None and node.awake:
                yield node.moment(vr.retry_at)


def judge(cluster: Cluster) -> None:
    """Exactly one node has everything, nobody is left out, and the best one won."""
    for node in cluster.nodes.values():
        for vr in node.routers.routers.values():
            assert vr.state is not State.INITIALIZE, f"{node.name} is left out: {vr.reason}"
    held = {node.name: node for node in cluster.nodes.values() if node.bound}
    assert len(held) == 1, f"after all faults hold: {sorted(held) or 'nobody'}"
    (holder,) = held.values()
    assert set(holder.bound) == holder.wished(), f"{holder.name} holds {list(holder.bound)}"
    best = max(n.configs[0].priority for n in cluster.nodes.values())
    if all(n.configs[0].preempt for n in cluster.nodes.values()):
        ours = holder.configs[0].priority
        assert ours == best, f"{holder.name} with {ours} holds against {best}"
    allowed = budget(cluster)
    seen = len(cluster.transitions)
    assert seen <= allowed, f"{seen} transitions, at most {allowed} are explained by the faults"


def budget(cluster: Cluster) -> int:
    """Transitions that the disturbances explain."""
    instances = sum(len(node.configs) for node in cluster.nodes.values())
    return instances * (2 * cluster.disturbances + 4)


def calm(cluster: Cluster, seconds: float) -> None:
    """Nothing moves for so long."""
    before = len(cluster.transitions)
    cluster.run(cluster.now + seconds)
    assert len(cluster.transitions) == before, "a transition out of nothing"
