"""All routers of one daemon, keyed by `RouterConfig.key`; sync groups move together.

The shell's only door: it feeds events to one router (or to all) and performs the effects, each
of which comes with its router's key. A sync group has one rule per direction, applied after each
step: a fault of one member is a fault of all; when one yields, all yield; a member whose timer ran
out becomes MASTER only when every member wants it (keepalived's vrrp_sync_group).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from lvsd.core import packet
from lvsd.core.model import Family, IPAddress, RouterConfig, Vip
from lvsd.core.record import dataclass
from lvsd.core.vrrp.departure import last_word, to_backup, to_backup_serving
from lvsd.core.vrrp.events import (
    ChildLost,
    Effect,
    Event,
    Reconfigured,
    Resume,
    SendAdvert,
    ServicesReady,
    Shutdown,
    Startup,
    State,
    StepDown,
    StepDownFailed,
)
from lvsd.core.vrrp.machine import reconsider, step
from lvsd.core.vrrp.mastership import promote
from lvsd.core.vrrp.reception import receive
from lvsd.core.vrrp.router import VirtualRouter, desired, next_deadline, own_faults, stopped

Key = tuple[str, int, Family]
Effects = tuple[tuple[Key, Effect], ...]
_NONE: Effects = ()
_Plan = tuple[RouterConfig, IPAddress | None]


@dataclass(frozen=True, slots=True)
class VirtualRouters:
    """Immutable: each verb returns the new collection. Iterate over `routers` for status."""

    routers: Mapping[Key, VirtualRouter] = field(default_factory=dict)
    #: Routers that stop because the configuration has them no more, or what to make of their key
    #: once they are gone, because a later one has them again.
    leaving: Mapping[Key, _Plan | None] = field(default_factory=dict)
    ready: bool = False
    child_lost: bool = False

    def configure(
        self,
        configs: Sequence[RouterConfig],
        sources: Mapping[Key, IPAddress | None],
        now: float,
    ) -> tuple[VirtualRouters, Effects]:
        """The routers of a new configuration, in its order.

        New ones are created with their source but not started: tell them link and tracks, then
        `Startup`. Known ones get `Reconfigured`. The others stop in order as by `Shutdown` and
        leave the collection when they are stopped; one that is wanted back meanwhile starts again
        by itself after that.
        """
        configured = {config.key: config for config in configs}
        routers: dict[Key, VirtualRouter] = {}
        leaving = dict(self.leaving)
        for key, config in configured.items():
            if key in leaving:
                leaving[key] = (config, sources.get(key))
            elif key not in self.routers:
                routers[key] = self._create(config, sources.get(key))
                continue
            routers[key] = self.routers[key]
        for key, vr in self.routers.items():
            if key not in configured:
                routers[key], leaving[key] = vr, None
        draft = replace(self, routers=routers, leaving=leaving)
        effects: Effects = ()
        for key in self.routers:
            event = Shutdown() if key in leaving else Reconfigured(configured[key])
            draft, more = draft._one(key, event, now)
            effects += more
        settled, more = draft._settle(self, effects, now)
        return settled, effects + more

    def _create(self, config: RouterConfig, source: IPAddress | None) -> VirtualRouter:
        fresh = VirtualRouter.initial(config, source)
        return replace(fresh, ready=self.ready, child_lost=self.child_lost)

    def receive(
        self,
        interface: str,
        message: bytes,
        *,
        source: IPAddress,
        destination: IPAddress,
        ttl: int,
    ) -> tuple[Key, Event] | None:
        """Check a VRRP message; the event to step with, or None when no router has its VRID."""
        vrid = packet.vrid(message)
        if vrid is None:
            return None
        key = (interface, vrid, Family.of(source))
        vr = self.routers.get(key)
        if vr is None:
            return None
        return key, receive(vr, message, source=source, destination=destination, ttl=ttl)

    def step(self, key: Key | None, event: Event, now: float) -> tuple[VirtualRouters, Effects]:
        """Feed an event to one router, or to every router with key None.

        `StepDown`, `Resume` and `Shutdown` to a member of a sync group go to the whole group.
        A key that is not (or no longer) there is ignored.
        """
        draft = self
        if key is None and isinstance(event, ServicesReady):
            draft = replace(self, ready=event.ready)
        elif key is None and isinstance(event, ChildLost):
            draft = replace(self, child_lost=event.lost)
        effects: Effects = ()
        for target in self._targets(key, event):
            draft, more = draft._one(target, event, now)
            effects += more
        settled, more = draft._settle(self, effects, now)
        return settled, effects + more

    def next_deadline(self) -> float | None:
        """The earliest deadline of all; then `step(None, DeadlineReached(), now)`."""
        deadlines = (next_deadline(vr) for vr in self.routers.values())
        return min((at for at in deadlines if at is not None), default=None)

    def desired(self) -> Mapping[Key, tuple[Vip, ...]]:
        """The VIPs to hold now, per router; stopping routers included until they are gone."""
        return {key: desired(vr) for key, vr in self.routers.items()}

    def stopped(self) -> bool:
        """Whether every router is stopped."""
        return all(stopped(vr) for vr in self.routers.values())

    # --- how the routers of a group hang together -------------------------------------------

    def _targets(self, key: Key | None, event: Event) -> tuple[Key, ...]:
        if key is None:
            return tuple(self.routers)
        vr = self.routers.get(key)
        if vr is None:
            return ()
        if vr.config.syncgroup and isinstance(event, StepDown | Resume | Shutdown):
            return self._groups()[vr.config.syncgroup]
        return (key,)

    def _groups(self) -> dict[str, tuple[Key, ...]]:
        """Members of each sync group; a router that stops is no member any more."""
        groups: dict[str, tuple[Key, ...]] = {}
        for key, vr in self.routers.items():
            if vr.config.syncgroup and not vr.stopping:
                name = vr.config.syncgroup
                groups[name] = (*groups.get(name, ()), key)
        return groups

    def _one(self, key: Key, event: Event, now: float) -> tuple[VirtualRouters, Effects]:
        vr, effects = step(self.routers[key], event, now)
        return self._with(key, vr), tuple((key, effect) for effect in effects)

    def _with(self, key: Key, vr: VirtualRouter) -> VirtualRouters:
        return replace(self, routers={**self.routers, key: vr})

    def _settle(
        self, before: VirtualRouters, effects: Effects, now: float
    ) -> tuple[VirtualRouters, Effects]:
        """Apply the group rules, then let go of the routers that have stopped."""
        draft, said = self._faults(now)
        for name, members in draft._groups().items():
            draft, more = draft._demotions(name, members, before, effects, now)
            said += more
            draft, more = draft._promotions(members, now)
            said += more
        for key, plan in self.leaving.items():
            if stopped(draft.routers[key]):
                draft, more = draft._let_go(key, plan, now)
                said += more
        return draft, said

    def _faults(self, now: float) -> tuple[VirtualRouters, Effects]:
        """Tell each router what is wrong with another member of its group."""
        draft, said = self, _NONE
        groups = self._groups()
        for key, vr in self.routers.items():
            members = groups.get(vr.config.syncgroup, ())
            fault = self._fault_of_others(key, members) if not vr.stopping else ""
            if fault != vr.group_fault:
                told = replace(vr, group_fault=fault)
                told, more = reconsider(vr, told, now)
                draft = draft._with(key, told)
                said += tuple((key, effect) for effect in more)
        return draft, said

    def _fault_of_others(self, key: Key, members: Sequence[Key]) -> str:
        for other in members:
            found = own_faults(self.routers[other])
            if other != key and found:
                config = self.routers[other].config
                return f"sync group {config.syncgroup}: {config.name}: {found[0]}"
        return ""

    def _demotions(
        self,
        name: str,
        members: Sequence[Key],
        before: VirtualRouters,
        effects: Effects,
        now: float,
    ) -> tuple[VirtualRouters, Effects]:
        """When one member yielded, or a step-down failed for a part only, all the rest yields."""
        was = {key for key in members if _masters(before.routers.get(key))}
        is_ = {key for key in members if _masters(self.routers[key])}
        failed = any(isinstance(effect, StepDownFailed) for _, effect in effects)
        if not (was - is_ or failed) or len(is_) == len(members):
            return self, ()
        # Who yields to a better master has said a last word; a fault and a pause have none.
        spoken = any(
            key in was - is_ and isinstance(effect, SendAdvert) and effect.priority
            for key, effect in effects
        )
        draft, said = self, _NONE
        for key in members:
            vr = self.routers[key]
            if key in is_ and vr.relieve_at is None:
                vr, farewell = last_word(vr, now) if spoken else (vr, ())
                leave = to_backup_serving if spoken else to_backup
                vr, more = leave(vr, f"sync group {name}: not master everywhere", now)
                draft = draft._with(key, vr)
                said += tuple((key, effect) for effect in farewell + more)
        return draft, said

    def _promotions(self, members: Sequence[Key], now: float) -> tuple[VirtualRouters, Effects]:
        """When every member is MASTER or wants to be, those that wait become it."""
        routers = [self.routers[key] for key in members]
        if not all(vr.wants_master or _masters(vr) for vr in routers):
            return self, ()
        draft, said = self, _NONE
        for key, vr in zip(members, routers, strict=True):
            if vr.wants_master:
                vr, more = promote(vr, now)
                draft = draft._with(key, vr)
                said += tuple((key, effect) for effect in more)
        return draft, said

    def _let_go(self, key: Key, plan: _Plan | None, now: float) -> tuple[VirtualRouters, Effects]:
        """Forget a removed router, or start it again when it was configured anew meanwhile."""
        old = self.routers[key]
        rest = {k: vr for k, vr in self.routers.items() if k != key}
        leaving = {k: v for k, v in self.leaving.items() if k != key}
        draft = replace(self, routers=rest, leaving=leaving)
        if plan is None:
            return draft, ()
        config, source = plan
        fresh = replace(
            draft._create(config, source or old.source), link_up=old.link_up, tracked=old.tracked
        )
        return draft._with(key, fresh)._one(key, Startup(), now)


def _masters(vr: VirtualRouter | None) -> bool:
    return vr is not None and vr.state is State.MASTER
