"""What can go wrong, and what operators do: verbs over a Cluster. `heal` ends all of it.

Each verb tells the story, counts as a disturbance, and does nothing where it makes no sense (a
dead node is not paused). What lasts is undone by `after` seconds, or by `heal`, whichever is first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lvsd.core.model import RouterConfig, Vip
from lvsd.core.vrrp import (
    DeadlineReached,
    LinkChanged,
    Resume,
    Shutdown,
    StepDown,
    relief_timeout,
)

from .cluster import Cluster

#: The guard says farewell this often.
FAREWELLS = 2


def kill_everything(cluster: Cluster, name: str) -> None:
    """All processes at once: only the kernel's leases are left."""
    node = cluster.nodes[name]
    if node.up or node.guard:
        node.up = node.paused = node.stopping = False
        node.guard.clear()
        cluster.disturb(name, "everything is killed")
        cluster.schedule(node)


def kill_main(cluster: Cluster, name: str) -> None:
    """The guard is left: priority 0, serve until relieved, let go."""
    node = cluster.nodes[name]
    if not node.up or node.frozen:
        return
    node.up = node.paused = node.stopping = False
    cluster.disturb(name, "main is killed")
    wards = [key for key, vips in node.routers.desired().items() if vips]
    for key in wards:
        limit = relief_timeout(node.routers.routers[key].config)
        node.guard[key] = cluster.now + limit
        for _ in range(FAREWELLS):
            cluster.advertise(node, key, 0)
    cluster.schedule(node)


def reboot(cluster: Cluster, name: str, after: float) -> None:
    """The machine is gone at once, and starts anew with another clock."""
    node = cluster.nodes[name]
    if node.frozen:
        return
    node.up = node.paused = node.stopping = False
    node.guard.clear()
    node.bound.clear()
    node.set_clock(cluster.now, cluster.random.uniform(1.0, 100.0))
    cluster.disturb(name, "reboots")
    cluster.schedule(node)
    cluster.at(cluster.now + after, lambda: cluster.start(name))


def pause(cluster: Cluster, name: str, after: float) -> None:
    """The main process does not run (SIGSTOP); its kernel and clock do."""
    node = cluster.nodes[name]
    if node.awake:
        node.paused = True
        cluster.disturb(name, "is paused")
        cluster.schedule(node)
        cluster.at(cluster.now + after, lambda: wake(cluster, name))


def wake(cluster: Cluster, name: str) -> None:
    """What its sockets hold comes before the deadline, and before the kernel's other news."""
    node = cluster.nodes[name]
    if not node.paused or node.frozen:
        return
    node.paused = False
    cluster.disturb(name, "wakes")
    for checker in cluster.checkers:
        checker.woken(cluster, node)
    waiting, node.inbox = node.inbox, []
    for what in waiting:
        cluster.take(node, what)
    cluster.step(node, None, DeadlineReached())
    cluster.tell_losses(node)
    cluster.event(name, LinkChanged(node.link))


def freeze(cluster: Cluster, name: str, after: float) -> None:
    """The whole machine stands still, its clock too (a paused VM); its packets are lost."""
    node = cluster.nodes[name]
    if node.up and not node.frozen:
        node.frozen, node.frozen_at = True, cluster.now
        cluster.disturb(name, "freezes")
        cluster.schedule(node)
        cluster.at(cluster.now + after, lambda: thaw(cluster, name))


def thaw(cluster: Cluster, name: str) -> None:
    """It notices nothing: every timer of the machine has what it had left."""
    node = cluster.nodes[name]
    if not node.frozen:
        return
    node.frozen = False
    node.set_clock(cluster.now, node.time(node.frozen_at))
    slept = cluster.now - node.frozen_at
    node.bound = {held: end + slept for held, end in node.bound.items()}
    node.guard = {key: end + slept for key, end in node.guard.items()}
    node.retry_at += slept
    cluster.disturb(name, "thaws")
    if node.awake:
        cluster.step(node, None, LinkChanged(node.link))
    cluster.schedule(node)


def stop(cluster: Cluster, name: str) -> None:
    """An orderly stop."""
    node = cluster.nodes[name]
    if node.awake and not node.stopping:
        for checker in cluster.checkers:
            checker.leaving(cluster, node)
        node.stopping = True
        cluster.disturb(name, "is told to stop")
        cluster.step(node, None, Shutdown())
        cluster.schedule(node)


def step_down(cluster: Cluster, name: str) -> None:
    """Give mastership away, until `resume`."""
    node = cluster.nodes[name]
    if node.awake and not node.stopping:
        for checker in cluster.checkers:
            checker.leaving(cluster, node)
        cluster.event(name, StepDown())


def resume(cluster: Cluster, name: str) -> None:
    """Take part again."""
    cluster.event(name, Resume())


def partition(cluster: Cluster, pairs: Iterable[tuple[str, str]], after: float) -> None:
    """Nothing gets from each first to its second."""
    pairs = tuple(pairs)
    cluster.network.cut(pairs)
    cluster.disturb("link", "cut: " + " ".join(f"{a}→{b}" for a, b in pairs))
    cluster.at(cluster.now + after, lambda: mend(cluster, pairs))


def mend(cluster: Cluster, pairs: tuple[tuple[str, str], ...]) -> None:
    """End a partition."""
    if all(cluster.network.cuts[pair] > 0 for pair in pairs):
        cluster.network.mend(pairs)
        cluster.disturb("link", "mended: " + " ".join(f"{a}→{b}" for a, b in pairs))


def apart(left: Iterable[str], right: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs that separate two sides in both directions."""
    right = tuple(right)
    return [pair for a in left for b in right for pair in ((a, b), (b, a))]


def unplug(cluster: Cluster, name: str, after: float) -> None:
    """The node's link goes down; its kernel says so."""
    _set_link(cluster, name, False)
    cluster.at(cluster.now + after, lambda: _set_link(cluster, name, True))


def _set_link(cluster: Cluster, name: str, up: bool) -> None:
    node = cluster.nodes[name]
    if node.link is up:
        return
    node.link = up
    cluster.disturb(name, "link up" if up else "link down")
    if node.awake:
        cluster.step(node, None, LinkChanged(up))
        cluster.schedule(node)


def refuse(cluster: Cluster, name: str, after: float) -> None:
    """The kernel neither binds nor refreshes."""
    cluster.nodes[name].refusing = True
    cluster.disturb(name, "kernel refuses")
    cluster.at(cluster.now + after, lambda: accept(cluster, name))


def accept(cluster: Cluster, name: str) -> None:
    """The kernel works again."""
    if cluster.nodes[name].refusing:
        cluster.nodes[name].refusing = False
        cluster.disturb(name, "kernel works again")


def steal(cluster: Cluster, name: str) -> None:
    """Somebody removes the VIPs by hand."""
    node = cluster.nodes[name]
    if node.bound and not node.frozen:
        cluster.disturb(name, "somebody removes its VIPs")
        node.lost += node.bound
        node.bound.clear()
        if node.awake:
            cluster.tell_losses(node)
        cluster.schedule(node)


def spoil(
    cluster: Cluster,
    after: float,
    *,
    loss: float = 0.0,
    duplication: float = 0.0,
    delay: tuple[float, float] | None = None,
) -> None:
    """The link loses, duplicates or delays for a while."""
    network = cluster.network
    network.loss, network.duplication = loss, duplication
    usual = (0.0005, 0.0015)
    network.delay = delay or usual
    cluster.disturb("link", f"loss {loss:.0%}, duplication {duplication:.0%}, {network.delay}")

    def clear() -> None:
        if not network.quiet or network.delay != usual:
            network.loss = network.duplication = 0.0
            network.delay = usual
            cluster.disturb("link", "works well again")

    cluster.at(cluster.now + after, clear)


def set_priority(cluster: Cluster, name: str, priority: int) -> None:
    """A reload with another priority for every instance."""
    configs = tuple(replace(c, priority=priority) for c in cluster.nodes[name].configs)
    reload(cluster, name, configs, f"reload: priority {priority}")


def set_vips(cluster: Cluster, name: str, addresses: tuple[Vip, ...]) -> None:
    """A reload with another address list for the first instance."""
    first, *others = cluster.nodes[name].configs
    listed = ", ".join(str(vip.address) for vip in addresses)
    configs = (replace(first, addresses=addresses), *others)
    reload(cluster, name, configs, f"reload: addresses {listed}")


def reload(cluster: Cluster, name: str, configs: tuple[RouterConfig, ...], words: str) -> None:
    """SIGHUP with a new configuration. The same one must change nothing, so it is no disturbance.

    A node that does not run finds the new configuration when it starts.
    """
    if configs == cluster.nodes[name].configs:
        cluster.tell(name, "reload: nothing changed")
    else:
        cluster.disturb(name, words)
    cluster.configure(name, configs)


def heal(cluster: Cluster, addresses: tuple[Vip, ...]) -> None:
    """End every fault, start every node, and have the same address list everywhere."""
    network = cluster.network
    network.loss = network.duplication = 0.0
    network.delay = (0.0005, 0.0015)
    network.cuts.clear()
    cluster.disturb("link", "all faults end")
    for name, node in cluster.nodes.items():
        if node.frozen:
            thaw(cluster, name)
        accept(cluster, name)
        _set_link(cluster, name, True)
        wake(cluster, name)
        set_vips(cluster, name, addresses)
        if not node.up or node.stopping:
            cluster.start(name)
        if node.awake and not node.stopping:
            resume(cluster, name)
