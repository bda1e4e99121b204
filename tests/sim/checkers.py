"""What must hold whatever goes wrong, each as a checker of its own, apart from the faults.

A checker knows the wire, the kernels and the clock; of a core it asks the state and no more. It
raises AssertionError with words that name nodes and times; the seed's story does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lvsd.core.model import IPAddress
from lvsd.core.vrrp import Key, State, lease_seconds, master_down_interval, relief_timeout
from lvsd.core.vrrp.timers import RELIEF_DELAY

from .cluster import Cluster
from .node import INFINITE, LEASE_LATENESS, Node
from .story import Checker

#: Rounding, clock drift over a few seconds, and delays of a healthy link.
SLACK = 0.05


def patience(cluster: Cluster) -> float:
    """The longest time until the survivors of a disturbance have settled.

    Someone takes over after a master-down interval; a better one may wait out its preempt delay
    and then runs down its own.
    """
    worst = 0.0
    for node in cluster.nodes.values():
        for c in node.configs:
            down = master_down_interval(c.version, 1, c.advertint)
            worst = max(worst, 2 * down + c.preemptdelay + c.advertint)
    return worst * 1.001 + SLACK


def intervals(cluster: Cluster) -> float:
    """The longest advert interval of all."""
    return max(c.advertint for node in cluster.nodes.values() for c in node.configs)


def takes_part(node: Node) -> bool:
    """Awake, connected, and in no fault."""
    routers = node.routers.routers.values()
    able = node.awake and node.link and not node.stopping
    return able and all(vr.state is not State.INITIALIZE for vr in routers)


def keys(cluster: Cluster) -> Iterable[Key]:
    """Every instance."""
    return (c.key for c in next(iter(cluster.nodes.values())).configs)


def holding(cluster: Cluster, key: Key) -> list[Node]:
    """The nodes whose kernel holds a VIP of an instance."""
    return [n for n in cluster.nodes.values() if any(held[0] == key for held in n.bound)]


class VipFollowsRole(Checker):
    """A running process that isn't MASTER holds nothing; one that is holds all its VIPs.

    One that yields serves on until it hears the better one announce, a tenth of a second at most.
    """

    def after(self, cluster: Cluster) -> None:
        for node in cluster.nodes.values():
            if not node.awake:
                continue
            for key, vr in node.routers.routers.items():
                if vr.release_at is not None:
                    over = node.time(cluster.now) - vr.since
                    assert over <= RELIEF_DELAY + SLACK, f"{node.name} yielded and holds on"
                elif vr.state is not State.MASTER:
                    held = [str(address) for k, address in node.bound if k == key]
                    assert not held, f"{node.name} is {vr.state} and holds {held}"
                elif not node.refusing and node.retry_at <= cluster.now:
                    missing = [a for k, a in node.wished() if k == key and (k, a) not in node.bound]
                    assert not missing, f"{node.name} is master without {missing}"


class DeadHoldNothingForLong(Checker):
    """The VIP of a dead or paused node is gone with its lease; with a guard, in its time."""

    def __init__(self) -> None:
        self._silent_since: dict[tuple[str, bool], float] = {}

    def after(self, cluster: Cluster) -> None:
        for name, node in cluster.nodes.items():
            if node.awake or node.frozen or not node.bound:
                for guarded in (False, True):
                    self._silent_since.pop((name, guarded), None)
                continue
            since = self._silent_since.setdefault((name, bool(node.guard)), cluster.now)
            for c in node.configs:
                lease = lease_seconds(c)
                limit = INFINITE if lease is None else lease + LEASE_LATENESS
                if node.guard:
                    limit = min(limit, relief_timeout(c))
                held = any(k == c.key for k, _ in node.bound)
                over = cluster.now - since > limit + SLACK
                assert not (held and over), (
                    f"{name} is silent since {since:.3f} and still holds {c.name}'s VIPs"
                )


class StoppedHoldNothing(Checker):
    """After an orderly stop nothing is left in the kernel."""

    def after(self, cluster: Cluster) -> None:
        for node in cluster.nodes.values():
            if not node.up and node.stopped:
                assert not node.bound, f"{node.name} has stopped and holds {list(node.bound)}"


class NeighboursAgree(Checker):
    """Of two holders that hear each other, one yields within an interval."""

    def __init__(self) -> None:
        self._since: dict[tuple[Key, str, str], float] = {}

    def after(self, cluster: Cluster) -> None:
        found: dict[tuple[Key, str, str], float] = {}
        if cluster.network.quiet:
            for key in keys(cluster):
                holders = [n for n in holding(cluster, key) if n.awake and n.link]
                if len(holders) > 1:
                    self._pairs(cluster, key, holders, found)
        self._since = found

    def _pairs(self, cluster: Cluster, key: Key, holders: list[Node], found: dict) -> None:
        limit = max(1.0, intervals(cluster)) + 2 * cluster.network.delay[1] + SLACK
        hears = cluster.network.hears
        for i, a in enumerate(holders):
            for b in holders[i + 1 :]:
                if hears(a.name, b.name) and hears(b.name, a.name):
                    before = self._since.get((key, a.name, b.name), cluster.now)
                    since = found[key, a.name, b.name] = max(before, cluster.disturbed_at)
                    assert cluster.now - since <= limit, (
                        f"{a.name} and {b.name} hear each other and both hold since {since:.3f}"
                    )


class OneHolder(Checker):
    """Once a component has been left alone for long enough, exactly one of it holds the VIPs."""

    def after(self, cluster: Cluster) -> None:
        if not cluster.network.quiet or cluster.now - cluster.disturbed_at <= patience(cluster):
            return
        if any(node.awake and node.refusing for node in cluster.nodes.values()):
            return  # who is refused may try again for ever; the pair's rule still holds
        for members in self._components(cluster):
            for key in keys(cluster):
                holders = [n.name for n in holding(cluster, key) if n in members]
                assert len(holders) == 1, (
                    f"undisturbed since {cluster.disturbed_at:.3f}, "
                    f"of {[n.name for n in members]} hold {key[1]}: {holders or 'none'}"
                )

    def _components(self, cluster: Cluster) -> list[list[Node]]:
        """Nodes that all hear each other and nobody else of those who take part."""
        hears = cluster.network.hears
        nodes = [n for n in cluster.nodes.values() if takes_part(n)]
        found: dict[frozenset[str], list[Node]] = {}
        for node in nodes:
            near = [
                other
                for other in nodes
                if other is node or hears(node.name, other.name) or hears(other.name, node.name)
            ]
            found[frozenset(n.name for n in near)] = near
        return [
            members
            for members in found.values()
            if all(hears(a.name, b.name) for a in members for b in members if a is not b)
            and sum(members[0] in others for others in found.values()) == 1
        ]


class ListensAfterSleep(Checker):
    """A master that slept longer than its peers' patience doesn't speak before it has listened."""

    def __init__(self) -> None:
        self._sent_at: dict[tuple[str, Key], float] = {}
        #: The same on the node's own clock, which stands still with the machine.
        self._sent_reading: dict[tuple[str, Key], float] = {}
        self._quiet_until: dict[tuple[str, Key], float] = {}
        self._farewell_at = -1.0

    def sent(self, cluster: Cluster, node: Node, key: Key, priority: int) -> None:
        if not priority:
            self._farewell_at = cluster.now
            return
        until = self._quiet_until.pop((node.name, key), 0.0)
        # Who hears a farewell while it listens need not wait for the end.
        heard = self._farewell_at >= self._sent_at.get((node.name, key), 0.0)
        assert cluster.now >= until or heard, (
            f"{node.name} slept and speaks before it has listened until {until:.3f}"
        )
        self._sent_at[node.name, key] = cluster.now
        self._sent_reading[node.name, key] = node.time(cluster.now)

    def woken(self, cluster: Cluster, node: Node) -> None:
        for key, vr in node.routers.routers.items():
            c = vr.config
            keenest = master_down_interval(c.version, 255, c.advertint)
            silent = node.time(cluster.now) - self._sent_reading.get((node.name, key), 1e9)
            if vr.state is State.MASTER and vr.relieve_at is None and silent > keenest + SLACK:
                self._quiet_until[node.name, key] = cluster.now + c.advertint * 0.999


class AdvertThenVipThenAnnouncement(Checker):
    """An advert of this mastership precedes the VIP; what is bound is announced, and only that.

    What the kernel took away and has not told of yet (a process that wakes) is no lie.
    """

    def __init__(self) -> None:
        self._sent_at: dict[tuple[str, Key], float] = {}
        #: Bound and not announced yet.
        self._news: set[tuple[str, Key, IPAddress]] = set()

    def after(self, cluster: Cluster) -> None:
        for name, key, address in self._news:
            node = cluster.nodes[name]
            vr = node.routers.routers[key]
            serving = node.awake and vr.state is State.MASTER and vr.relieve_at is None
            assert not serving, f"{name} has bound {address} and does not announce it"
        self._news.clear()

    def sent(self, cluster: Cluster, node: Node, key: Key, priority: int) -> None:
        if priority:
            self._sent_at[node.name, key] = cluster.now

    def bound(self, cluster: Cluster, node: Node, key: Key, address: IPAddress) -> None:
        began = cluster.promoted_at[node.name, key]
        sent_at = self._sent_at.get((node.name, key), -1.0)
        assert sent_at >= began, f"{node.name} binds {address} without an advert"
        if node.routers.routers[key].relieve_at is None:  # who is leaving announces nothing new
            self._news.add((node.name, key, address))

    def announced(self, cluster: Cluster, node: Node, key: Key, addresses: Sequence) -> None:
        for address in addresses:
            self._news.discard((node.name, key, address))
            known = address == node.source or (key, address) in node.bound
            assert known or (key, address) in node.lost, (
                f"{node.name} announces {address} and does not hold it"
            )


class SpeaksOnlyAsMaster(Checker):
    """No claim of mastership is heard from anybody but a MASTER, and none for long without VIPs.

    A last advert to a better master goes out in the step that yields.
    """

    def __init__(self) -> None:
        #: Since when, on its own clock, a node advertises what it does not hold.
        self._bare_since: dict[tuple[str, Key], float] = {}

    def sent(self, cluster: Cluster, node: Node, key: Key, priority: int) -> None:
        now = node.time(cluster.now)
        began = cluster.promoted_at.get((node.name, key)) == cluster.now
        if not priority or began or any(held[0] == key for held in node.bound):
            self._bare_since.pop((node.name, key), None)
        if not priority:
            return
        vr = node.routers.routers[key]
        yields = vr.state is State.BACKUP and vr.since == node.step_time(cluster.now)
        master = vr.state is State.MASTER or yields
        assert master, f"{node.name} claims mastership and is {vr.state}"
        silent = now - self._bare_since.setdefault((node.name, key), now)
        assert silent <= 2.0 + intervals(cluster) + SLACK, (
            f"{node.name} has advertised for {silent:.3f} s what it does not hold"
        )

    def woken(self, cluster: Cluster, node: Node) -> None:
        for key in keys(cluster):
            self._bare_since.pop((node.name, key), None)


class ClientsFollow(Checker):
    """A client that hears every director sends to the one holder, once things have settled.

    Its cache has who announced an address last. What an entry is worth is not told from here, and
    it has to age: while datagrams get lost by chance, when the announcer leaves by itself or
    sleeps (it must listen, not speak), and when it yields behind a cut. A director that dies,
    stops or can't make itself heard cannot have another one announce.
    """

    def __init__(self) -> None:
        #: Who announced last, and in which of its masterships.
        self._last: dict[tuple[Key, IPAddress], tuple[str, int]] = {}

    def announced(self, cluster: Cluster, node: Node, key: Key, addresses: Sequence) -> None:
        if node.link and not node.frozen:
            count = _masterships(node, key)
            self._last.update({(key, address): (node.name, count) for address in addresses})

    def after(self, cluster: Cluster) -> None:
        for (key, address), (name, count) in [*self._last.items()]:
            if not self._tells(cluster, cluster.nodes[name], key, count):
                del self._last[key, address]
        if cluster.now - cluster.disturbed_at <= patience(cluster):
            return
        for (key, address), (known, _) in self._last.items():
            nodes = [n for n in cluster.nodes.values() if (key, address) in n.bound]
            holders = [n.name for n in nodes]
            again = any(n.routers.routers[key].announce_at for n in nodes if n.up)
            assert len(holders) != 1 or holders == [known] or again, (
                f"undisturbed since {cluster.disturbed_at:.3f}, {holders[0]} holds {address} "
                f"and the clients send to {known}"
            )

    def _tells(self, cluster: Cluster, node: Node, key: Key, count: int) -> bool:
        """Whether the announcer is still there, and has yielded to nobody who can't hear it."""
        vr = node.routers.routers.get(key)
        able = node.up and node.link and not node.paused
        if vr is None or not able or _masterships(node, key) < count:
            return False
        whole = cluster.network.quiet and not any(cluster.network.cuts.values())
        return vr.relieve_at is None and (whole or vr.state is State.MASTER)


def _masterships(node: Node, key: Key) -> int:
    """How often a router became MASTER since its node started."""
    return node.routers.routers[key].counters.get("became_master", 0)


class NoStorm(Checker):
    """Whatever is heard is answered so that two nodes never drive each other."""

    PER_SECOND = 60

    def __init__(self) -> None:
        self._sent: Counter[tuple[str, Key, int]] = Counter()

    def sent(self, cluster: Cluster, node: Node, key: Key, priority: int) -> None:
        second = (node.name, key, int(cluster.now))
        self._sent[second] += 1
        assert self._sent[second] <= self.PER_SECOND, f"{node.name} sends a storm of adverts"


class GroupMovesTogether(Checker):
    """The members of a sync group are MASTER all or none, but for an orderly departure."""

    def after(self, cluster: Cluster) -> None:
        for node in cluster.nodes.values():
            routers = [vr for vr in node.routers.routers.values() if vr.config.syncgroup]
            if not routers or not node.awake or node.stopping:
                continue
            masters = [vr for vr in routers if vr.state is State.MASTER]
            leaving = any(vr.relieve_at is not None for vr in masters)
            assert leaving or len(masters) in (0, len(routers)), (
                f"{node.name} is master of {[vr.config.name for vr in masters]} only"
            )


class NoGapAtDeparture(Checker):
    """An orderly stop or step-down in calm, with a peer in BACKUP, leaves no moment unserved."""

    def __init__(self) -> None:
        self._watch: tuple[int, float, set[tuple[Key, IPAddress]]] | None = None

    def leaving(self, cluster: Cluster, node: Node) -> None:
        self._watch = None
        calm = cluster.now - cluster.disturbed_at > patience(cluster) and cluster.network.quiet
        others = [n for n in cluster.nodes.values() if n is not node]
        ready = all(n.able and takes_part(n) for n in others)
        if calm and ready and others and not any(cluster.network.cuts.values()):
            shared = set(node.bound)
            for other in others:
                configs = other.configs
                shared &= {(c.key, vip.address) for c in configs for vip in c.addresses}
            self._watch = (cluster.disturbances + 1, cluster.now + 3.0, shared)

    def after(self, cluster: Cluster) -> None:
        if self._watch is None:
            return
        until_disturbance, until, served = self._watch
        if cluster.disturbances > until_disturbance or cluster.now > until:
            self._watch = None
            return
        for held in served:
            assert any(held in node.bound for node in cluster.nodes.values()), (
                f"nobody holds {held[1]} after an orderly departure"
            )


def all_checkers() -> list[Checker]:
    """One of each, fresh."""
    return [
        VipFollowsRole(),
        DeadHoldNothingForLong(),
        StoppedHoldNothing(),
        NeighboursAgree(),
        OneHolder(),
        ListensAfterSleep(),
        AdvertThenVipThenAnnouncement(),
        SpeaksOnlyAsMaster(),
        ClientsFollow(),
        NoStorm(),
        GroupMovesTogether(),
        NoGapAtDeparture(),
    ]
