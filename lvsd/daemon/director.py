"""The child process: checks, the Director, the IPVS table and the control socket.

Everything that happens becomes an event for the pure Director; its effects are told, its wish is
handed to the applier (`table`) and to `settings`. Nothing else writes the kernel.

Main decides about life and death: the child ignores SIGTERM, SIGINT and SIGHUP. It puts its things
away when main says Stop, and exits at once, leaving table and threads as they are, when main is
gone. How the process begins, and why the configuration is read before this module is even loaded,
is told in `prelude`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lvsd import log
from lvsd.control.history import History
from lvsd.control.server import ControlServer, serve
from lvsd.core.director import Director, desired, next_deadline, step
from lvsd.core.fanout import quiet
from lvsd.core.happenings import (
    ConfigLoaded,
    DeadlineReached,
    Drain,
    DrainEnded,
    DrainExpired,
    DrainStarted,
    Effect,
    Event,
    Maintenance,
    RealKey,
    Undrain,
)
from lvsd.core.happenings import RouterStates as RolesTold
from lvsd.core.model import Config, Moment
from lvsd.core.pool import in_service
from lvsd.daemon.aftermath import Aftermath
from lvsd.daemon.configuration import Configuration
from lvsd.daemon.desk import Desk
from lvsd.daemon.keeping import Keeper
from lvsd.daemon.lookout import Lookout
from lvsd.daemon.maintenance import MaintenanceFolder
from lvsd.daemon.messages import (
    CommandDone,
    Message,
    Ping,
    Pong,
    Refused,
    Reload,
    RouterEvent,
    RouterStates,
    RouterStatus,
    Stop,
    Stopped,
)
from lvsd.daemon.reading import needs_table
from lvsd.daemon.report import HEADLINE_INTERVAL, Report
from lvsd.daemon.scripts import Notifier, Tracker
from lvsd.daemon.settings import Settings
from lvsd.daemon.store import Store
from lvsd.daemon.table import Applier, Kernel
from lvsd.daemon.verdicts import Verdicts
from lvsd.events import EVENTS
from lvsd.linux import KernelError
from lvsd.linux.ipvs import Ipvs
from lvsd.linux.memory import MemoryTable

if TYPE_CHECKING:
    from lvsd.daemon.prelude import Prelude

#: Seconds between two looks at threads and sysctls.
_SETTINGS_INTERVAL = 5.0
#: Effects told before the loop gets its turn.
_TOLD_AT_ONCE = 100
#: Seconds for which events are gathered, and between two wishes for each service they go through.
_WISH_DELAY, _WISH_PACE = 0.005, 25e-6
#: Seconds that notify programs, commands and mails have at the stop; main waits 5 for all of it.
_FAREWELL = 3.0


class Child:
    """The director process. `run` returns its exit status."""

    def __init__(self, prelude: Prelude) -> None:
        options, parent = prelude.options, prelude.parent
        self.options, self.parent, self.prelude = options, parent, prelude
        self.director = Director()
        self.applier: Applier | None = None
        self.settings: Settings | None = None
        self.routers: list[RouterStatus] = []
        self._loop = asyncio.get_running_loop()
        self.history = History(f"{os.getpid()}-{time.time():.3f}")
        log.observe(self.history.record)
        self.routers_told: asyncio.Future[None] = self._loop.create_future()
        self.store = Store(options.state_dir, options.runtime_dir, options.since)
        self._notifier, self.aftermath = Notifier(), Aftermath(self._moment)
        self.verdicts = Verdicts(self.feed, lambda check, why: quiet(self.director, check, why))
        self.maintenance = MaintenanceFolder(lambda files: self.feed(Maintenance(files)))
        self.keeper, self.report = Keeper(self), Report(parent)
        self.tracker, self.lookout = Tracker(self.tell_main), Lookout(self.tell_main)
        self.configuration = Configuration(self)
        self._server: ControlServer | None = None
        self._settings_wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[int] = self._loop.create_future()
        self._wish_timer: asyncio.TimerHandle | None = None
        self.info, self._stopping, self._wished_at = ("", 0), False, 0.0
        #: What main said of its routers before there was a configuration to understand it by.
        self._held: list[RouterEvent | RouterStates] | None = []

    async def run(self) -> int:
        """Serve until main says Stop (0), is gone, or the configuration is refused (1)."""
        self._spawn(self._listen())
        self._spawn(self._start())
        status = await self._done
        for task in self._tasks:
            task.cancel()
        return status

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """A part that failed takes the whole child down: main restarts it, the table stays."""
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        log.get().critical("director_failed", error=repr(error), exc_info=error)
        self._exit(1)

    def _exit(self, status: int) -> None:
        if not self._done.done():
            self._done.set_result(status)

    async def _start(self) -> None:
        config, errors = await self.configuration.first(self.prelude.read)
        if config is None:
            await self._refuse(errors)
            return
        self.keeper.restore_drains()
        await self.configuration.follow(config)
        self._understand()
        self.configuration.watch.accept(self.configuration.seen)
        self._server = await serve(socket.socket(fileno=self.options.listen), Desk(self))
        self._spawn(self._keep_settings())
        self._spawn(self.configuration.watch.run())
        log.get().info("director_started")

    async def _refuse(self, errors: list[str]) -> None:
        for error in errors:
            log.say("error", error)
        self.parent.send(Refused(errors))
        await self.parent.drain()
        self._exit(1)

    async def _listen(self) -> None:
        while (message := await self.parent.receive()) is not None:
            self._take(message)
        self._exit(1)  # main is gone: the guard minds the VIPs, the table stays

    def _take(self, message: Message) -> None:
        if self._held is not None and isinstance(message, RouterEvent | RouterStates):
            self._held.append(message)
        match message:
            case Ping(serial):
                self.parent.send(Pong(serial))
            case RouterStates(routers):
                self._routers_changed(routers)
            case CommandDone():
                self.parent.done(message)
            case RouterEvent() if self._held is not None:
                pass
            case RouterEvent(event, at, fields, level) if event in EVENTS:
                self.history.record(level, event, fields, at)
                if event == "lower_priority_heard":
                    self._lower_heard(fields)
                else:
                    self.aftermath.relay(level, event, fields, at)
            case Reload():
                self._spawn(self.configuration.hangup())
            case Stop() if not self._stopping:
                self._stopping = True
                self._spawn(self._stop())

    def _understand(self) -> None:
        """There is a configuration, and with it a log file and whom to notify."""
        held, self._held = self._held or [], None
        for message in held:
            if isinstance(message, RouterStates):
                self._notify(message.routers)
            else:
                self._take(message)

    async def _stop(self) -> None:
        """Main holds no VIP any more: put threads, sysctls and table away."""
        log.get().info("director_stopping")
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        self.verdicts.close()
        for router in self.director.config.routers:
            self._notifier.changed(router, "stop", router.priority)
        await self.tracker.close()
        self.lookout.close()
        self.maintenance.close()
        if self.settings is not None:
            await self.settings.follow((), {})
        if self.applier is not None:
            keys = [v.key for v in self.director.config.virtuals if v.cleanstop]
            for error in await self.applier.clear(keys):
                log.get().error("table_failed", error=error)
            log.get().info("table_cleared", services=len(keys))
            self.applier.owned -= set(keys)
            await self.keeper.save_manifest()
        told = self.aftermath.stop(self.director, _FAREWELL)
        await asyncio.gather(told, self._notifier.finish(_FAREWELL))
        log.get().info("director_stopped")
        if self._server is not None:
            await self._server.close()
        self.parent.send(Stopped())
        with contextlib.suppress(ConnectionError):
            await self.parent.drain()
        self._exit(0)

    async def open_kernel(self, config: Config) -> None:
        """Open IPVS when something needs it for the first time. Raises KernelError."""
        needed = needs_table(config)
        if self.applier is not None or not (needed or self.keeper.owned):
            return
        try:
            kernel = await self._kernel()
            self.info = await kernel.info()
            applier = Applier(
                kernel, zeroed=self._zeroed, raised=self._raised, changed=self._applied
            )
            applier.owned = self.keeper.owned
            await applier.read({v.key: in_service(v) for v in config.virtuals})
        except KernelError:
            if needed:
                raise
            return  # only a manifest speaks of services, and there cannot be any
        log.get().info("table_adopted", services=len(applier.picture))
        self.applier = applier
        self.settings = Settings(kernel, self.keeper.sysctls, real=self.options.table == "kernel")
        self._spawn(applier.run())

    async def _kernel(self) -> Kernel:
        if self.options.table == "none":
            return await MemoryTable.open()
        return self.prelude.kernel or await Ipvs.open()

    def feed(self, event: Event) -> None:
        """One event for the director; tells its effects and passes its wish on."""
        before = self.director
        self.aftermath.checked(event, before)
        self.director, effects = step(before, event, self._loop.time())
        for effect in effects:
            self.aftermath.tell(effect, self.director)
        self._stepped(before, effects)

    async def load(self, config: Config) -> None:
        """A configuration for the director; a huge one is thought about in a thread."""
        files = await self.maintenance.look(config.maintenancedir, config.virtuals)
        before, event = self.director, ConfigLoaded(config, files)
        thought = await asyncio.to_thread(step, before, event, self._loop.time())
        if self.director is not before:  # something happened meanwhile: think again
            before = self.director
            thought = step(before, event, self._loop.time())
        self.configuration.in_force = True
        self.director, effects = thought
        self._stepped(before, effects)
        for number, news in enumerate(self.aftermath.news(before, self.director, effects), 1):
            self.aftermath.tell(news, self.director)
            if number % _TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _stepped(self, before: Director, effects: Sequence[Effect]) -> None:
        if self.director is before:
            return
        if any(isinstance(e, DrainStarted | DrainEnded | DrainExpired) for e in effects):
            self._spawn(self.keeper.save_drains())
        if self._wish_timer is None:
            soonest = self._wished_at + _WISH_PACE * len(self.director.pools)
            when = max(self._loop.time() + _WISH_DELAY, soonest)
            self._wish_timer = self._loop.call_at(when, self._wish)
        self.tell_main()

    def _wish(self) -> None:
        """Pass the newest wish on; events that come together are answered together."""
        if self._wish_timer is not None:
            self._wish_timer.cancel()
            self._wish_timer = None
        self._wished_at = self._loop.time()
        if self.applier is not None and self.configuration.in_force:
            self.applier.wish(desired(self.director).table)
        self._settings_wake.set()
        self.tell_main()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := next_deadline(self.director)) is not None:
            self._timer = self._loop.call_at(due, self.feed, DeadlineReached())

    def _zeroed(self, key: RealKey) -> bool:
        known = self.director.pools.get(key.virtual)
        if known is None or key.real not in known.health:
            return False
        self.feed(Drain(key, by_hand=True))
        self._wish()
        return True

    def _raised(self, key: RealKey) -> bool:
        if not ((drain := self.director.drains.get(key)) and drain.by_hand):
            return False
        self.feed(Undrain(key, by_hand=True))
        self._wish()
        return True

    def _routers_changed(self, routers: list[RouterStatus]) -> None:
        self.routers = routers
        self.routers_told.set_result(None)
        self.routers_told = self._loop.create_future()
        self.feed(RolesTold({router.name: router.state for router in routers}))
        self._notify(routers)

    def _notify(self, routers: list[RouterStatus]) -> None:
        told = {router.name: router for router in routers}
        for block in self.director.config.routers:
            if router := told.get(block.name):
                self._notifier.changed(block, router.state, router.effective_priority)

    def _lower_heard(self, fields: Mapping[str, Any]) -> None:
        """keepalived's MASTER_RX_LOWER_PRI."""
        priorities = {router.name: router.effective_priority for router in self.routers}
        for block in self.director.config.routers:
            if block.name == fields.get("router"):
                self._notifier.lower_heard(block, priorities.get(block.name, block.priority))

    def _applied(self) -> None:
        """The applier has done a round."""
        if self.applier is not None:
            kept = self.applier.owned & self.applier.picture.keys()
            self.applier.owned = kept.union(self.director.pools)
        self.tell_main()

    def tell_main(self) -> None:
        """Tell main what it has not heard yet of readiness and tracked objects."""
        if self.configuration.loaded is None:
            return
        self.report.ready(self.director.judged and (self.report.is_ready or self._settled()))
        self.report.tracks(self.director, self.tracker.values, self.lookout)

    def _settled(self) -> bool:
        return self._wish_timer is None and (self.applier is None or self.applier.settled)

    async def _keep_settings(self) -> None:
        """Threads and sysctls follow the wish; main gets the headline, once a second at most."""
        pause = _SETTINGS_INTERVAL
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._settings_wake.wait()
            self._settings_wake.clear()
            wish = desired(self.director)
            if self.settings is not None:
                await self.settings.follow(wish.sync_daemons, wish.sysctls)
            await self.keeper.save_manifest()
            pause = _SETTINGS_INTERVAL if self.report.headline(self.director) else HEADLINE_INTERVAL
            self.verdicts.look()
            await asyncio.sleep(0.2)

    def _moment(self) -> Moment:
        """What the daemon is doing, as mails tell it."""
        if self._stopping:
            return Moment.STOPPING
        if self.configuration.reloading:
            return Moment.RELOADING
        return Moment.RUNNING if self.aftermath.judged else Moment.STARTING

    def unix(self, at: float) -> float:
        """A time of the loop's clock as a Unix time."""
        return at - self._loop.time() + time.time()
