"""Directors on one link in virtual time: deterministic, from one seed, with a readable story.

The `Cluster` owns time (a heap of moments), carries datagrams through the `Network`, and does
the shell's duties for every `Node`: it makes the kernel follow `desired`, reports what it did,
performs the effects, and drains what was heard before it honours a deadline. What goes wrong is
in `faults`; what must hold is in `checkers`, which are told of every advert, bind and announcement.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from lvsd.core.model import Family, IPAddress, RouterConfig
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
    Startup,
    State,
    VipsBound,
    VipsFailed,
    VipsLost,
    VipsReleased,
    VirtualRouters,
    advertisement,
    destinations,
)

from .network import Network
from .node import INFINITE, LEASE_LATENESS, ROUNDING, Datagram, Node, What
from .story import Checker, Line

#: Seconds until the applier asks a refusing kernel again.
RETRY = 0.5
#: The guard serves this long after the new master's advert.
RELIEF_DELAY = 0.1


class Cluster:
    """Nodes on one link and the clock they share."""

    def __init__(
        self,
        seed: int,
        configs: dict[str, tuple[RouterConfig, ...]],
        *,
        drift_ppm: float = 0.0,
        jitter: bool = True,
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.random = random.Random(seed)
        self.network = Network(self.random)
        self.jitter = jitter
        if not jitter:
            self.network.delay = (0.001, 0.001)
        self.story: list[Line] = []
        self.checkers: list[Checker] = []
        self.transitions: list[float] = []
        #: When each router became MASTER last.
        self.promoted_at: dict[tuple[str, Key], float] = {}
        #: How often the world changed, and when it did so last.
        self.disturbances = 0
        self.disturbed_at = 0.0
        self.adverts = dict.fromkeys(configs, 0)
        self._queue: list[tuple[float, int, int, Node | None, Callable[[], None] | None]] = []
        self._serial = itertools.count()
        self._last_priority: dict[tuple[str, Key], int] = {}
        self.nodes: dict[str, Node] = {}
        for index, (name, routers) in enumerate(configs.items(), 1):
            link_local = any(r.family is Family.INET6 for r in routers)
            source = ip_address(f"fe80::{index}" if link_local else f"192.0.2.{index}")
            drift = self.random.uniform(-drift_ppm, drift_ppm) * 1e-6
            node = Node(name, source, routers, rate=1.0 + drift)
            node.set_clock(0.0, self.random.uniform(1.0, 1e6) if drift_ppm else 0.0)
            self.nodes[name] = node

    # --- time -------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, 0, next(self._serial), None, action))

    def run(self, until: float) -> None:
        """Let time pass. Arrivals come before deadlines of the same moment."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            when, version, _, node, action = heapq.heappop(queue)
            if action is not None:
                self.now = max(self.now, when)
                action()
            elif node is not None and version == node.version:
                self.now = max(self.now, when)
                self._tick(node)
            else:
                continue
            self.check()
        self.now = until

    def check(self) -> None:
        """Ask every checker."""
        for checker in self.checkers:
            checker.after(self)

    # --- what is asked ----------------------------------------------------------------------

    def holders(self, address: IPAddress) -> list[str]:
        """The nodes that would answer for a VIP, dead ones included."""
        return [node.name for node in self.nodes.values() if node.holds(address)]

    def masters(self, key: Key) -> list[str]:
        found = ((n, n.routers.routers.get(key)) for n in self.nodes.values() if n.up)
        return [n.name for n, vr in found if vr is not None and vr.state is State.MASTER]

    def tell(self, who: str, what: str) -> None:
        glyphs = " ".join(node.glyph() for node in self.nodes.values())
        self.story.append(Line(self.now, who, what, glyphs))

    def disturb(self, who: str, what: str) -> None:
        """Tell of a change of the world, which may cause transitions."""
        self.disturbances += 1
        self.disturbed_at = self.now
        self.tell(who, what)

    # --- life of a node ---------------------------------------------------------------------

    def start(self, name: str) -> None:
        """A new main process: what a former life left bound is taken away first."""
        node = self.nodes[name]
        if node.guard or node.stopping:  # the service manager waits for the old processes
            self.at(self.now + 0.05, lambda: self.start(name))
            return
        if node.up:
            return
        node.routers, node.inbox, node.lost = VirtualRouters(), [], []
        node.up, node.paused, node.stopped, node.retry_at = True, False, False, 0.0
        node.bound.clear()
        self.disturb(name, "starts")
        sources = {config.key: node.source for config in node.configs}
        node.routers, effects = node.routers.configure(node.configs, sources, node.time(self.now))
        self._perform(node, effects)
        for event in (LinkChanged(node.link), ServicesReady(True), Startup()):
            self.step(node, None, event)
        self.schedule(node)

    def event(self, name: str, event: Event) -> None:
        """Tell a running node something."""
        node = self.nodes[name]
        if node.awake:
            self.disturb(name, repr(event))
            self.step(node, None, event)
            self.schedule(node)

    def configure(self, name: str, configs: tuple[RouterConfig, ...]) -> None:
        """A reload, as the shell does it: what is due under the old configuration comes first."""
        node = self.nodes[name]
        node.configs = configs
        if not node.awake or node.stopping:
            return
        self.step(node, None, DeadlineReached())
        before, states = node.routers, self._states(node)
        sources = {config.key: node.source for config in configs}
        node.routers, effects = node.routers.configure(configs, sources, node.step_time(self.now))
        self._told(node, states)
        if all(vr.config == c for vr, c in zip(before.routers.values(), configs, strict=True)):
            assert not effects, f"{name}: a reload that changes nothing asks for {effects}"
            assert node.routers == before, f"{name}: a reload that changes nothing changes state"
        self._perform(node, effects)
        self.apply(node)
        self.schedule(node)

    def step(self, node: Node, key: Key | None, event: Event) -> None:
        """One step of a node's core, and all that follows from it at once."""
        states = self._states(node)
        node.routers, effects = node.routers.step(key, event, node.step_time(self.now))
        self._told(node, states)
        self._perform(node, effects)
        self.apply(node)
        if node.stopping and node.up and node.routers.stopped():
            node.up = node.stopping = False
            node.stopped = True
            self.disturbed_at = self.now
            self.tell(node.name, "has stopped")

    def schedule(self, node: Node) -> None:
        """Have the node ticked when something of it is due next."""
        node.version += 1
        if node.frozen:
            return
        due = min(node.bound.values(), default=INFINITE)
        due = min(due, *node.guard.values(), INFINITE)
        if node.awake:
            deadline = node.routers.next_deadline()
            if deadline is not None:
                due = min(due, node.moment(deadline))
            if node.retry_at > self.now and node.wished() != set(node.bound):
                due = min(due, node.retry_at)
        if due != INFINITE:
            entry = (max(due, self.now), node.version, next(self._serial), node, None)
            heapq.heappush(self._queue, entry)

    def _tick(self, node: Node) -> None:
        self._expire(node)
        self._guard_ends(node)
        if node.awake:
            if node.retry_at <= self.now:
                self.apply(node)
            deadline = node.routers.next_deadline()
            if deadline is not None and deadline <= node.time(self.now) + ROUNDING:
                self.step(node, None, DeadlineReached())
        self.schedule(node)

    def _states(self, node: Node) -> dict[Key, State]:
        return {key: vr.state for key, vr in node.routers.routers.items()}

    def _told(self, node: Node, before: dict[Key, State]) -> None:
        for key, vr in node.routers.routers.items():
            old = before.get(key)
            if old is not vr.state and old is not None:
                self.transitions.append(self.now)
                if old is State.INITIALIZE:  # a fault has ended by itself
                    self.disturbed_at = self.now
                if vr.state is State.MASTER:
                    self.promoted_at[node.name, key] = self.now
                if old is State.MASTER:  # the first advert of the next mastership is news
                    self._last_priority.pop((node.name, key), None)
                name = vr.config.name
                self.tell(node.name, f"{name} {old.name} → {vr.state.name}: {vr.reason}")

    # --- effects and the wire ---------------------------------------------------------------

    def _perform(self, node: Node, effects: Sequence[tuple[Key, Effect]]) -> None:
        for key, effect in effects:
            match effect:
                case SendAdvert(priority=priority):
                    self.advertise(node, key, priority)
                case Announce(addresses=addresses):
                    for checker in self.checkers:
                        checker.announced(self, node, key, addresses)
                    for address in addresses:
                        self._send(node, None, (key, NeighbourAnnounced(address)))
                case RefreshLease():
                    self._refresh(node, key)
                case _:
                    pass

    def advertise(self, node: Node, key: Key, priority: int) -> None:
        """One advert of a node's main process or guard. Told unless it repeats the last one."""
        for checker in self.checkers:
            checker.sent(self, node, key, priority)
        vr = node.routers.routers[key]
        self.adverts[node.name] += 1
        if self._last_priority.get((node.name, key)) != priority or not priority:
            self._last_priority[node.name, key] = priority
            self.tell(node.name, f"{vr.config.name} advertises {priority}")
        advert = advertisement(vr, priority)
        for destination in destinations(vr):
            message = encode(advert, node.source, destination)
            to = None if destination.is_multicast else destination
            self._send(node, to, Datagram(message, node.source, destination))

    def _send(self, node: Node, to: IPAddress | None, what: What) -> None:
        if not node.link:
            return
        for other in self.nodes.values():
            if other is node or (to is not None and other.source != to):
                continue
            advert = isinstance(what, Datagram)
            for delay in self.network.arrivals(node.name, other.name, advert=advert):
                self.at(self.now + delay, lambda other=other: self._arrive(other, what))

    def _arrive(self, node: Node, what: What) -> None:
        if not node.link or node.frozen:
            return
        if node.guard:
            self._guard_hears(node, what)
        elif node.paused:
            node.inbox.append(what)
        elif node.up:
            self.take(node, what)
            self.schedule(node)

    def take(self, node: Node, what: What) -> None:
        """A node's main process reads what its sockets hold."""
        if isinstance(what, tuple):
            self.step(node, *what)
            return
        found = node.routers.receive(
            "eth0", what.message, source=what.source, destination=what.destination, ttl=255
        )
        if found is not None:
            self.step(node, *found)

    # --- a kernel, its applier, and the guard -----------------------------------------------

    def apply(self, node: Node) -> None:
        """Make the kernel follow `desired` and report, until there is nothing to report."""
        wished = node.wished()
        for gone in [held for held in node.bound if held not in wished]:
            del node.bound[gone]
            self.tell(node.name, f"releases {gone[1]}")
        seen = {*node.bound, *node.lost}  # the applier's view, until the kernel's news is read
        missing = sorted((wish for wish in wished if wish not in seen), key=str)
        if missing and node.refusing:
            if node.retry_at <= self.now:
                node.retry_at = self.now + RETRY
                for key in dict.fromkeys(key for key, _ in missing):
                    self._report(node, key, VipsFailed("Operation not permitted"))
                self.apply(node)
                return
        else:
            self._bind(node, missing)
        for key, vr in list(node.routers.routers.items()):
            mine = any(k == key for k, _ in missing)
            if vr.state is State.MASTER and not (mine and node.refusing):
                if mine or not vr.bound:
                    self._report(node, key, VipsBound())
            elif vr.state is not State.MASTER and vr.holding:
                self._report(node, key, VipsReleased())

    def _bind(self, node: Node, missing: Sequence[tuple[Key, IPAddress]]) -> None:
        for key, address in missing:
            node.bound[key, address] = node.lease_end(key, self.now, self._late())
            self.tell(node.name, f"binds {address}")
            for checker in self.checkers:
                checker.bound(self, node, key, address)

    def _late(self) -> float:
        return self.random.uniform(0.0, LEASE_LATENESS) if self.jitter else 0.2

    def _report(self, node: Node, key: Key, event: Event) -> None:
        states = self._states(node)
        node.routers, effects = node.routers.step(key, event, node.step_time(self.now))
        self._told(node, states)
        self._perform(node, effects)

    def _refresh(self, node: Node, key: Key) -> None:
        if node.refusing:
            return
        for held in node.bound:
            if held[0] == key:
                node.bound[held] = node.lease_end(key, self.now, self._late())
        self._report(node, key, LeaseRefreshed())

    def _expire(self, node: Node) -> None:
        gone = [held for held, end in node.bound.items() if end <= self.now]
        for held in gone:
            del node.bound[held]
            self.tell(node.name, f"{held[1]}: its lease has run out")
        node.lost += gone
        if node.awake:
            self.tell_losses(node)

    def tell_losses(self, node: Node) -> None:
        """The kernel's news of VIPs that it, or somebody, took away."""
        lost, node.lost = node.lost, []
        for key, address in lost:
            if key in node.routers.routers:
                self._report(node, key, VipsLost((address,)))
        self.apply(node)

    def _guard_hears(self, node: Node, what: What) -> None:
        if isinstance(what, tuple):
            key, _ = what
            if key in node.guard:
                node.guard[key] = self.now
        elif what.message[2]:
            for key in node.guard:
                if key[1] == what.message[1]:
                    node.guard[key] = min(node.guard[key], self.now + RELIEF_DELAY)
        self.schedule(node)

    def _guard_ends(self, node: Node) -> None:
        for key in [key for key, end in node.guard.items() if end <= self.now]:
            del node.guard[key]
            for held in [held for held in node.bound if held[0] == key]:
                del node.bound[held]
                self.tell(node.name, f"the guard releases {held[1]}")
