"""The shell around the VRRP core: the one place where it is stepped and its effects performed.

Facts arrive through `post`; whatever woke us, received packets come before a deadline and a
deadline that is due before everything else, so a loop that was held up (or a process that was
stopped) judges by what the wire says and never by what it had planned. After the inbox is empty
the level-like things are brought in line: the guard first, then the kernel's addresses. Once the
adverts and announcements of a batch are out, the timer, the sockets, and whoever wants to know.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from lvsd import log
from lvsd.core.model import IPAddress, Pace, RouterConfig, Track, TrackKind, Vip
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    Announce,
    ChildLost,
    DeadlineReached,
    Effect,
    Event,
    Key,
    LinkChanged,
    RefreshLease,
    SendAdvert,
    ServicesReady,
    SourceChanged,
    Startup,
    TrackChanged,
    VipsReleased,
    VirtualRouter,
    VirtualRouters,
    desired_paths,
    lease_seconds,
)
from lvsd.daemon.applier import VipApplier, Wish
from lvsd.daemon.chronicle import Chronicle, Observer
from lvsd.daemon.ears import DRAIN, Ears
from lvsd.daemon.guard import Guard
from lvsd.daemon.herald import Herald
from lvsd.daemon.paths import Paths
from lvsd.daemon.punctuality import Punctuality
from lvsd.daemon.recorder import Recorder
from lvsd.daemon.screen import Screen
from lvsd.daemon.surroundings import Surroundings, interfaces_of, vips_of
from lvsd.daemon.vmacs import Vmacs
from lvsd.daemon.wards import Wards
from lvsd.linux.interface import BoundAddress
from lvsd.linux.link import Links
from lvsd.linux.route import RouteSocket
from lvsd.linux.timer import DeadlineTimer
from lvsd.linux.wire import BATCH

_log = log.get()


class Routers:
    """All routers of this process, alive. Implements `lvsd.linux.link.Listener`."""

    def __init__(self, guard: Guard, observer: Observer, recorder: Recorder | None = None) -> None:
        self.core = VirtualRouters()
        self._recorder = recorder or Recorder()
        self.links = Links(self)
        self._surroundings = Surroundings(self.links)
        self._observer = observer
        self.punctuality = Punctuality()
        self._kernel = RouteSocket()
        self._loop = asyncio.get_running_loop()
        self._chronicle = Chronicle(observer, self._loop.time)
        self._paths = Paths(self.links, self._kernel, self._chronicle.complain, self._doubt)
        self._applier = VipApplier(self.links, self._kernel, self._report, self._paths)
        self._vmacs = Vmacs(self.links, self._kernel, self._report, self._wake_soon)
        self._screen = Screen()
        self._wards = Wards(guard, self.links, self._applier, self._vmacs, self._screen)
        self._ears = Ears(self.links, self._loop, self._wake)
        self._herald = Herald(self.links, self._ears, self._loop)
        self._inbox: deque[tuple[Key | None, Event]] = deque()
        self._woken_at = 0.0
        self._running = False
        self._abandoned = False
        self._woken = False
        self._touched: set[str] = set()
        self._desired: Mapping[Key, tuple[Vip, ...]] = {}
        self._heeded: Mapping[Key, tuple[Vip, ...]] = {}
        self._timer = DeadlineTimer()
        self._loop.add_reader(self._timer, self._on_timer)
        self._introduced: set[Key] = set()
        self._leaving: set[Key] = set()
        self._ready = False
        self._tracks: dict[tuple[TrackKind, str], TrackChanged] = {}
        self._shown: dict[Key, tuple[Any, ...]] = {}

    # --- facts ------------------------------------------------------------------------------

    def configure(self, configs: Sequence[RouterConfig]) -> None:
        """Take a new configuration, whole."""
        sources = {c.key: self._surroundings.source(c) for c in configs}
        self._wake()  # what is due under the old configuration comes first
        now = self._loop.time()
        self.core, effects = self._recorder.configure(self.core, configs, sources, now)
        self._perform(effects)
        self.punctuality.keep(self.core.routers)
        self._ears.fit(vr.config for vr in self.core.routers.values())
        self._paths.watch(vr.config for vr in self.core.routers.values())
        for name in interfaces_of(configs):
            self._tell_interface(name)
        self._run()

    def pace(self, paces: Sequence[Pace]) -> None:
        """How far apart announcements leave."""
        self._herald.pace(paces)

    def post(self, key: Key | None, event: Event) -> None:
        """Feed one event; `key` None means every router."""
        self._inbox.append((key, event))
        self._wake()

    def services_ready(self, ready: bool) -> None:
        """The child's word on the services; remembered for routers still to come."""
        self._ready = ready
        self.post(None, ServicesReady(ready))

    def child_lost(self, lost: bool) -> None:
        """Whether the director is beyond recovery."""
        self.post(None, ChildLost(lost))

    def track(self, kind: TrackKind, name: str, up: bool, number: int = 0) -> None:
        """What the child tracks is up or down; the last word holds."""
        self._tracks[kind, name] = TrackChanged(Track(kind, name), up, number)
        self.post(None, self._tracks[kind, name])

    def interface_changed(self, name: str) -> None:
        """Follow an interface: link, source, sockets, tracks and addresses."""
        self._touched.add(name)
        self._wake_soon()

    def address_changed(self, name: str, entry: BoundAddress) -> None:
        """Pass on to the applier."""
        self._applier.address_changed(name, entry)

    def address_removed(self, name: str, address: IPAddress) -> None:
        """Pass on to the applier, which knows whether it was ours."""
        self._applier.address_removed(name, address)
        self._wake_soon()

    def links_dumped(self) -> None:
        """Everything may be different."""
        self._applier.links_dumped()
        self._touched |= interfaces_of(vr.config for vr in self.core.routers.values())
        self._wake_soon()

    def monitor_lost(self, error: str) -> None:
        """The view is read again by itself."""
        _log.warning("monitor_lost", error=error)

    def abandon(self) -> bool:
        """Remove our addresses without waiting for anybody; whether all of them are gone.

        The core, which would rather go on serving, is not asked any more.
        """
        self._abandoned = True
        self._timer.arm(None)
        self._applier.wish({}, self._loop.time())
        return self._applier.deadline() is None

    def put_away(self) -> None:
        """Remove what served the addresses, which are gone."""
        self._vmacs.put_away()
        self._screen.put_away()

    def close(self) -> None:
        """Give everything back. Addresses stay as they are."""
        self._abandoned = True
        self._recorder.close()
        self._loop.remove_reader(self._timer)
        self._timer.close()
        self._ears.close()
        self._herald.close()
        self._paths.close()
        self._kernel.close()
        self.links.close()

    def notes(self, key: Key) -> list[str]:
        """What a router lacks in the kernel, in words."""
        lacks = [*self._paths.notes(key)]
        if self._screen.problem and not self.core.routers[key].config.accepts:
            lacks.append(f"noaccept is not kept: {self._screen.problem}")
        return lacks

    def counters(self, vr: VirtualRouter) -> Mapping[str, int]:
        """What the socket of a router counted, shared by the routers of interface and family."""
        return self._ears.counters(vr.config.interface, vr.config.family)

    # --- the loop ---------------------------------------------------------------------------

    def _report(self, key: Key, event: Event) -> None:
        """The applier's outcomes are queued: it works inside a step."""
        self._inbox.append((key, event))

    def _doubt(self) -> None:
        """Somebody may have changed a route or a rule of ours."""
        self._applier.doubt()
        self._wake_soon()

    def _wake(self) -> None:
        """Packets first, then a deadline that is due, then what else happened."""
        if self._running or self._abandoned:
            return
        self._woken_at = self._loop.time()
        deadline = self.core.next_deadline()
        overdue = deadline is not None and deadline <= self._woken_at
        heard = self._ears.drain(self.core, DRAIN if overdue else BATCH)
        due: list[tuple[Key | None, Event]] = [(None, DeadlineReached())] if overdue else []
        self._inbox.extendleft(reversed([*heard, *due]))
        self._run()

    def _wake_soon(self) -> None:
        """Once per turn of the loop, however many events of the kernel come at a time."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._on_soon)

    def _on_soon(self) -> None:
        self._woken = False
        names, self._touched = self._touched, set()
        for name in names:
            self._applier.interface_changed(name)
            self._tell_interface(name)
        self._heeded = {}  # a listener may have lost its interface, or waited for it
        self._wake()

    def _run(self) -> None:
        if self._running or self._abandoned:
            return
        self._running = True
        try:
            while True:
                while self._inbox:
                    self._step(*self._inbox.popleft())
                self._settle()
                if not self._inbox:
                    break
        finally:
            self._running = False
        self._rearm()
        self._listen()
        self._chronicle.tell()
        self._show()

    def _step(self, key: Key | None, event: Event) -> None:
        # A peer's patience counts from the wire, so ours must not count from the end of parsing.
        heard = isinstance(event, AdvertReceived | AdvertRejected)
        now = self._woken_at if heard else self._loop.time()
        before = self.core
        self.core, effects = self._recorder.step(before, key, event, now)
        if key is not None:
            self._chronicle.event(key, event, self.core.routers.get(key))
        self._perform(effects)
        self.punctuality.sent(before, effects, self._loop.time())

    def _settle(self) -> None:
        """Bring what must be true in line with the wish: guard, addresses, sockets, newcomers."""
        desired, now = self.core.desired(), self._loop.time()
        configs = [vr.config for vr in self.core.routers.values()]
        self._vmacs.fit(configs, now)
        self._screen.fit(configs, now)
        self._wards.tell(self.core.routers, desired)
        for key in [key for key, vips in desired.items() if vips]:
            self._vmacs.rise(key, now)
        hidden = {v.address for c in configs if not c.accepts for v in desired[c.key]}
        self._screen.cover(hidden, now)
        if desired != self._desired:
            for key, vips in self._desired.items():
                gone = {v.address for v in vips} - {v.address for v in desired.get(key, ())}
                self._herald.forget(key, gone)
            self._desired = desired
        self._introduce()
        self._applier.wish(
            {
                key: Wish(
                    desired[key],
                    lease_seconds(vr.config),
                    desired_paths(vr),
                    vr.counters.get("became_master", 0),
                )
                for key, vr in self.core.routers.items()
            },
            now,
        )
        self._screen.uncover(self._applier.departing, now)
        settled = self._applier.settled
        self._vmacs.lower(key for key, vips in desired.items() if not vips and settled(key))
        for key, vr in self.core.routers.items():
            # MASTER came and went within one batch: the applier saw no wish and has no news.
            if vr.holding and not desired[key] and self._applier.settled(key):
                self._inbox.append((key, VipsReleased()))

    def _listen(self) -> None:
        """Hear others claim what we hold."""
        if self._heeded == self._desired:
            return
        self._heeded = self._desired
        claims: dict[str, set[IPAddress]] = {}
        for key, vips in self._desired.items():
            for vip in vips:
                claims.setdefault(vip.dev or key[0], set()).add(vip.address)
        self._ears.watch(claims)

    def _introduce(self) -> None:
        """Tell new routers what is known, and let them begin."""
        newcomers = [k for k, vr in self.core.routers.items() if vr.since is None]
        self._introduced &= set(newcomers)
        newcomers = [key for key in newcomers if key not in self._introduced]
        self._paths.adopt({key: self.core.routers[key].config.paths for key in newcomers})
        for key in newcomers:
            self._introduced.add(key)
            config = self.core.routers[key].config
            lease = lease_seconds(config)
            self._applier.adopt(key, vips_of(config), lease=lease)
            self._acquaint(key, config)
            self._inbox.append((key, Startup(time.clock_gettime(time.CLOCK_BOOTTIME))))
        # One that was wanted back while it stopped has begun by itself, with what its
        # predecessor knew; tracks and VIPs may be others now.
        for key in self._leaving - self.core.leaving.keys():
            if key in self.core.routers:
                self._acquaint(key, self.core.routers[key].config)
        self._leaving = set(self.core.leaving)

    def _acquaint(self, key: Key, config: RouterConfig) -> None:
        """Queue everything that is known about the world of one router."""
        self._ears.fit(vr.config for vr in self.core.routers.values())
        self._inbox.extend((key, told) for told in self._tracks.values())
        for track in config.tracks:
            if track.kind is TrackKind.INTERFACE:
                up, exists = self._surroundings.link(track.name)
                self._inbox.append((key, TrackChanged(track, up, exists=exists)))
        self._inbox.append((key, LinkChanged(*self._surroundings.link(config.interface))))
        self._inbox.append((key, SourceChanged(self._surroundings.source(config))))
        self._inbox.append((key, ServicesReady(self._ready)))
        self._vmacs.acquaint(key)

    def _rearm(self) -> None:
        appliers = (self._applier, self._vmacs, self._screen)
        dues = (self.core.next_deadline(), *(applier.deadline() for applier in appliers))
        self._timer.arm(min((d for d in dues if d is not None), default=None))

    def _on_timer(self) -> None:
        self._timer.expired()
        self._wake()

    # --- effects ----------------------------------------------------------------------------

    def _perform(self, effects: Sequence[tuple[Key, Effect]]) -> None:
        for key, effect in effects:
            vr = self.core.routers.get(key)
            match effect:
                case SendAdvert(priority):
                    self._vmacs.rise(key, self._loop.time())
                    if vr is not None and (error := self._herald.advertise(vr, priority)):
                        self._chronicle.complain(key, "advert_failed", error)
                case RefreshLease():
                    self._applier.refresh(key, self._loop.time())
                case Announce(addresses, count):
                    if vr is not None:
                        self._herald.announce(vr, addresses, count)
                case _:
                    self._chronicle.effect(key, vr, effect)

    # --- levels -----------------------------------------------------------------------------

    def _show(self) -> None:
        shown = {
            key: (vr.config, vr.state, vr.reported, vr.reason, vr.master, vr.source, vr.since)
            for key, vr in self.core.routers.items()
        }
        if shown != self._shown:
            self._shown = shown
            self._observer.routers_changed()

    def _tell_interface(self, name: str) -> None:
        """Link, source and interface tracks of the routers concerned."""
        self._ears.fit(vr.config for vr in self.core.routers.values())
        up, exists = self._surroundings.link(name)
        for key, vr in self.core.routers.items():
            if vr.config.interface == name:
                self._inbox.append((key, LinkChanged(up, exists)))
                self._inbox.append((key, SourceChanged(self._surroundings.source(vr.config))))
            for track in vr.config.tracks:
                if track.kind is TrackKind.INTERFACE and track.name == name:
                    self._inbox.append((key, TrackChanged(track, up, exists=exists)))
