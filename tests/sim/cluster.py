"""Directors on one link in virtual time: deterministic, from one seed, with a readable story.

Each `Node` has a VirtualRouters, a kernel (bound VIPs with their leases) and the applier's duties:
make the kernel follow `desired`, report what it did, perform the effects. The `Cluster` owns time,
the link between the nodes and what goes wrong: loss, partition, pause, death, refusals.
A new kind of trouble is a new method of Cluster and one more line in the scenario's table.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from lvsd.core.model import IPAddress, RouterConfig
from lvsd.core.packet import encode
from lvsd.core.vrrp import (
    Announce,
    DeadlineReached,
    Effect,
    Event,
    Key,
    LeaseRefreshed,
    LinkChanged,
    NeighbourAnnounced,
    RefreshLease,
    SendAdvert,
    ServicesReady,
    Shutdown,
    Startup,
    State,
    VipsBound,
    VipsFailed,
    VipsReleased,
    VirtualRouters,
    advertisement,
    destinations,
    lease_seconds,
)

#: The kernel removes an address this long after its lease at the latest (measured, plus a margin).
LEASE_LATENESS = 0.8
RETRY = 0.5


@dataclass(frozen=True)
class Datagram:
    """A VRRP message in a node's socket buffer."""

    message: bytes
    source: IPAddress
    destination: IPAddress


@dataclass
class Node:
    """One director: its routers, its kernel and its applier."""

    name: str
    source: IPAddress
    configs: tuple[RouterConfig, ...]
    routers: VirtualRouters = field(default_factory=VirtualRouters)
    #: VIP → when the kernel removes it (inf without a lease).
    bound: dict[tuple[Key, IPAddress], float] = field(default_factory=dict)
    inbox: list[tuple[Key, Event] | Datagram] = field(default_factory=list)
    up: bool = False
    paused: bool = False
    stopping: bool = False
    refusing: bool = False
    link: bool = True
    retry_at: float = 0.0


@dataclass
class Cluster:
    """Nodes on one link and the clock they share."""

    seed: int
    configs: dict[str, tuple[RouterConfig, ...]]
    now: float = 0.0
    loss: float = 0.0
    latency: float = 0.001

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.story: list[str] = []
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = itertools.count()
        self.cut: set[str] = set()
        self.observers: list[Callable[[Cluster], None]] = []
        self.nodes = {
            name: Node(name, IPv4Address(f"192.0.2.{i}"), configs)
            for i, (name, configs) in enumerate(self.configs.items(), 1)
        }

    # --- what a scenario does ---------------------------------------------------------------

    def start(self, name: str) -> None:
        node = self.nodes[name]
        node.routers, node.inbox, node.stopping = VirtualRouters(), [], False
        node.up, node.paused = True, False
        self.tell(name, "starts")
        sources = {config.key: node.source for config in node.configs}
        node.routers, effects = node.routers.configure(node.configs, sources, self.now)
        # Stale addresses of a former life are taken away first, as the applier does.
        node.bound.clear()
        self._perform(node, effects)
        for event in (LinkChanged(node.link), ServicesReady(True), Startup()):
            self._step(node, None, event)

    def kill(self, name: str) -> None:
        """All processes at once: only the kernel's leases are left."""
        self.tell(name, "is killed")
        self.nodes[name].up = False

    def pause(self, name: str, seconds: float) -> None:
        node = self.nodes[name]
        if node.up and not node.paused:
            self.tell(name, f"is paused for {seconds:.2f} s")
            node.paused = True
            self.at(self.now + seconds, lambda: self._wake(node))

    def stop(self, name: str) -> None:
        node = self.nodes[name]
        if node.up and not node.paused and not node.stopping:
            self.tell(name, "is told to stop")
            node.stopping = True
            self._step(node, None, Shutdown())

    def partition(self, name: str, seconds: float) -> None:
        self.tell(name, f"is cut off for {seconds:.2f} s")
        self.cut.add(name)
        self.at(self.now + seconds, lambda: self._heal(name))

    def unplug(self, name: str, seconds: float) -> None:
        self.tell(name, f"loses its link for {seconds:.2f} s")
        self._set_link(name, False)
        self.at(self.now + seconds, lambda: self._set_link(name, True))

    def refuse(self, name: str, seconds: float) -> None:
        self.tell(name, f"has a kernel that refuses for {seconds:.2f} s")
        self.nodes[name].refusing = True
        self.at(self.now + seconds, lambda: self._accept(name))

    def lose(self, fraction: float, seconds: float) -> None:
        self.tell("link", f"loses {fraction:.0%} for {seconds:.2f} s")
        self.loss = fraction
        self.at(self.now + seconds, self._no_loss)

    def event(self, name: str, event: Event) -> None:
        node = self.nodes[name]
        if node.up and not node.paused:
            self.tell(name, repr(event))
            self._step(node, None, event)

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (when, next(self.serial), action))

    def run(self, until: float) -> None:
        """Let time pass. Arrivals come before deadlines of the same moment."""
        while True:
            when, node = self._next()
            if when > until:
                self.now = until
                return
            self.now = max(self.now, when)
            self._expire()
            if self.queue and self.queue[0][0] <= self.now:
                heapq.heappop(self.queue)[2]()
            elif node is not None:
                self._tick(node)
            for observe in self.observers:
                observe(self)

    # --- what an observer asks --------------------------------------------------------------

    def holders(self, address: IPAddress) -> list[str]:
        """The nodes whose kernel holds a VIP, dead nodes included."""
        return [n.name for n in self.nodes.values() if any(a == address for _, a in n.bound)]

    def masters(self, key: Key) -> list[str]:
        return [
            node.name
            for node in self.nodes.values()
            if node.up and key in node.routers.routers
            if node.routers.routers[key].state is State.MASTER
        ]

    def tell(self, who: str, what: str) -> None:
        self.story.append(f"{self.now:9.3f}  {who:6} {what}")

    # --- the machinery ----------------------------------------------------------------------

    def _next(self) -> tuple[float, Node | None]:
        times: list[tuple[float, int, Node | None]] = [(float("inf"), -1, None)]
        if self.queue:
            times.append((self.queue[0][0], 0, None))
        for index, node in enumerate(self.nodes.values(), 1):
            times.extend((expiry, -2, None) for expiry in node.bound.values())
            if node.up and not node.paused:
                deadline = node.routers.next_deadline()
                if deadline is not None:
                    times.append((deadline, index, node))
                if self._unapplied(node):
                    times.append((node.retry_at, index, node))
        when, _, who = min(times, key=lambda t: (t[0], t[1]))
        return when, who

    def _tick(self, node: Node) -> None:
        if self._unapplied(node) and node.retry_at <= self.now:
            self._apply(node)
        self._step(node, None, DeadlineReached())

    def _wake(self, node: Node) -> None:
        node.paused = False
        if not node.up:
            return
        self.tell(node.name, "wakes")
        waiting, node.inbox = node.inbox, []
        for datagram in waiting:
            self._take(node, datagram)
        self._step(node, None, DeadlineReached())

    def _heal(self, name: str) -> None:
        self.tell(name, "is connected again")
        self.cut.discard(name)

    def _set_link(self, name: str, up: bool) -> None:
        node = self.nodes[name]
        node.link = up
        self.event(name, LinkChanged(up))

    def _accept(self, name: str) -> None:
        self.tell(name, "has a kernel that works again")
        self.nodes[name].refusing = False

    def _no_loss(self) -> None:
        self.tell("link", "loses nothing any more")
        self.loss = 0.0

    def _step(self, node: Node, key: Key | None, event: Event) -> None:
        before = {k: vr.state for k, vr in node.routers.routers.items()}
        node.routers, effects = node.routers.step(key, event, self.now)
        for k, vr in node.routers.routers.items():
            if before[k] is not vr.state:
                self.tell(node.name, f"{vr.config.name}: {before[k]} → {vr.state}: {vr.reason}")
        self._perform(node, effects)
        self._apply(node)
        if node.stopping and node.up and node.routers.stopped():
            self.tell(node.name, "has stopped")
            node.up = False

    def _perform(self, node: Node, effects: tuple[tuple[Key, Effect], ...]) -> None:
        for key, effect in effects:
            match effect:
                case SendAdvert(priority=priority):
                    self._send(node, key, priority)
                case Announce(addresses=addresses):
                    for address in addresses:
                        self._broadcast(node, (key, NeighbourAnnounced(address)))
                case RefreshLease():
                    self._refresh(node, key)
                case _:
                    pass

    def _send(self, node: Node, key: Key, priority: int) -> None:
        vr = node.routers.routers[key]
        for destination in destinations(vr):
            message = encode(advertisement(vr, priority), node.source, destination)
            self._broadcast(node, Datagram(message, node.source, destination))

    def _broadcast(self, node: Node, what: tuple[Key, Event] | Datagram) -> None:
        for other in self.nodes.values():
            lost = self.random.random() < self.loss
            if other is node or lost or not node.link:
                continue
            if {node.name, other.name} & self.cut:
                continue
            delay = self.latency * self.random.uniform(0.5, 1.5)
            self.at(self.now + delay, lambda other=other: self._arrive(other, what))

    def _arrive(self, node: Node, what: tuple[Key, Event] | Datagram) -> None:
        if not node.up or not node.link:
            return
        if node.paused:
            node.inbox.append(what)
        else:
            self._take(node, what)

    def _take(self, node: Node, what: tuple[Key, Event] | Datagram) -> None:
        if isinstance(what, tuple):
            self._step(node, *what)
            return
        found = node.routers.receive(
            "eth0", what.message, source=what.source, destination=what.destination, ttl=255
        )
        if found is not None:
            self._step(node, *found)

    # --- a kernel and its applier -----------------------------------------------------------

    def _wished(self, node: Node) -> set[tuple[Key, IPAddress]]:
        return {(k, vip.address) for k, vips in node.routers.desired().items() for vip in vips}

    def _unapplied(self, node: Node) -> bool:
        return self._wished(node) != set(node.bound)

    def _apply(self, node: Node) -> None:
        """Make the kernel follow `desired` and report, until there is nothing to report."""
        if node.retry_at > self.now:
            return
        wished = self._wished(node)
        for gone in [held for held in node.bound if held not in wished]:
            del node.bound[gone]
            self.tell(node.name, f"releases {gone[1]}")
        missing = [wish for wish in sorted(wished, key=str) if wish not in node.bound]
        if missing and node.refusing:
            node.retry_at = self.now + RETRY
            for key in dict.fromkeys(key for key, _ in missing):
                self._report(node, key, VipsFailed("Operation not permitted"))
            return
        for key, address in missing:
            node.bound[key, address] = self._lease_end(node, key)
            self.tell(node.name, f"binds {address}")
        for key, vr in list(node.routers.routers.items()):
            if vr.state is State.MASTER and not vr.bound:
                self._report(node, key, VipsBound())
            elif vr.state is not State.MASTER and vr.holding:
                self._report(node, key, VipsReleased())

    def _report(self, node: Node, key: Key, event: Event) -> None:
        node.routers, effects = node.routers.step(key, event, self.now)
        self._perform(node, effects)

    def _refresh(self, node: Node, key: Key) -> None:
        if node.refusing:
            return
        for held in node.bound:
            if held[0] == key:
                node.bound[held] = self._lease_end(node, key)
        self._report(node, key, LeaseRefreshed())

    def _lease_end(self, node: Node, key: Key) -> float:
        lease = lease_seconds(node.routers.routers[key].config)
        late = self.random.uniform(0.0, 0.2)
        return float("inf") if lease is None else self.now + lease + late

    def _expire(self) -> None:
        for node in self.nodes.values():
            for held in [held for held, end in node.bound.items() if end <= self.now]:
                del node.bound[held]
                self.tell(node.name, f"{held[1]}: the kernel's lease has run out")
