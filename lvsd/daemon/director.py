"""The child process: checks, the Director, the IPVS table and the control socket.

Everything that happens becomes an event for the pure Director; its effects are told, its wish is
handed to the applier (`table`) and to `settings`. Nothing else writes the kernel.

Main decides about life and death: the child ignores SIGTERM, SIGINT and SIGHUP. It puts its things
away when main says Stop, and exits at once, leaving table and threads as they are, when main is
gone. The configuration is read in a thread, so that even a huge one does not keep a Ping waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from lvsd import config as language
from lvsd import log
from lvsd.checks.engine import Engine, Result
from lvsd.control.server import ControlServer, serve
from lvsd.control.status import ReloadResult
from lvsd.core.changes import changes
from lvsd.core.director import (
    Director,
    checks,
    desired,
    next_deadline,
    step,
    tracked,
)
from lvsd.core.happenings import (
    CheckFinished,
    ChecksFinished,
    ConfigLoaded,
    DeadlineReached,
    Drain,
    DrainEnded,
    DrainExpired,
    DrainStarted,
    Event,
    LocalAddresses,
    RealKey,
    TableAdopted,
    Undrain,
)
from lvsd.core.happenings import RouterStates as RolesTold
from lvsd.core.model import Check, Config, TrackKind
from lvsd.daemon.desk import Desk, headline
from lvsd.daemon.messages import (
    VERSION,
    CommandDone,
    Hello,
    Message,
    Notice,
    Ping,
    Pong,
    Ready,
    Refused,
    Reload,
    Routers,
    RouterStates,
    RouterStatus,
    Stop,
    Stopped,
    TrackValues,
    router_to_wire,
)
from lvsd.daemon.parent import Parent
from lvsd.daemon.scripts import Notifier, Tracker
from lvsd.daemon.settings import Settings
from lvsd.daemon.store import Store, stored_drain
from lvsd.daemon.table import Applier, Kernel
from lvsd.daemon.telling import tell
from lvsd.daemon.watch import Watch
from lvsd.linux import KernelError
from lvsd.linux.ipvs import Ipvs
from lvsd.linux.local import local_addresses
from lvsd.linux.memory import MemoryTable

#: Seconds between two looks at threads and sysctls.
_SETTINGS_INTERVAL = 5.0
#: Seconds notify programs may take to hear of the stop.
_STOP_NOTIFY = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """The child's command line."""

    ipc: int
    listen: int
    config: str
    runtime_dir: str
    state_dir: str
    table: str
    node: str


class Child:
    """The director process. `run` returns its exit status."""

    def __init__(self, options: Options, parent: Parent) -> None:
        self.options, self.parent = options, parent
        self.director = Director()
        self.applier: Applier | None = None
        self.settings: Settings | None = None
        self.routers: list[RouterStatus] = []
        self.latency: dict[Check, float] = {}
        self.config_errors: list[str] = []
        self.loaded: float | None = None
        self.since = time.time()
        self.info = ("", 0)
        self.notes: list[str] = []
        self._loop = asyncio.get_running_loop()
        self.routers_told: asyncio.Future[None] = self._loop.create_future()
        self._store = Store(options.state_dir, options.runtime_dir)
        self._owned, self._sysctls = self._store.manifest()
        self._saved = (set(self._owned), dict(self._sysctls))
        self._engine = Engine(self._checked)
        self._results: list[CheckFinished] = []
        self._notifier = Notifier()
        self._tracker = Tracker(self._report)
        self._server: ControlServer | None = None
        self._watch: Watch | None = None
        self._settings_wake = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[int] = self._loop.create_future()
        self._configured = False  # until then an empty wish would mean: remove everything
        self._ready = False
        self._tracks: dict[str, bool] = {}
        self._headline = ""

    # --- life -------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until main says Stop (0), is gone, or the configuration is refused (1)."""
        self.parent.send(Hello(VERSION, os.getpid()))
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
        log.get().critical("stopped", error=repr(task.exception()), exc_info=task.exception())
        self._exit(1)

    def _exit(self, status: int) -> None:
        if not self._done.done():
            self._done.set_result(status)

    async def _start(self) -> None:
        config, errors = await self.read_config()
        if config is None:
            config = await self._fall_back(errors)
        if config is not None:
            try:
                await self._open_kernel(config)
            except KernelError as error:
                config, errors = None, [str(error)]
        if config is None:
            await self._refuse(errors)
            return
        await self._restore_drains()
        await self._follow(config)
        self._server = await serve(_listening(self.options.listen), Desk(self))
        self._spawn(self._keep_settings())
        self._watch = Watch(self._sources, self._changed_on_disk, self._vanished)
        self._spawn(self._watch.run())
        log.get().info("config_loaded", path=config.path, virtuals=len(config.virtuals))
        log.get().info("started")

    async def _fall_back(self, errors: list[str]) -> Config | None:
        """After a crash a configuration that is bad by now must not end the service."""
        last_good = self._store.last_good()
        if last_good is None:
            return None
        config, _ = await self.read_config(last_good)
        if config is not None:
            self._refused(errors)
        return config

    async def _refuse(self, errors: list[str]) -> None:
        for error in errors:
            print(error, file=sys.stderr)
        self.parent.send(Refused(errors))
        await self.parent.drain()
        self._exit(1)

    async def _listen(self) -> None:
        while (message := await self.parent.receive()) is not None:
            self._take(message)
        self._exit(1)  # main is gone: the guard minds the VIPs, the table stays

    def _take(self, message: Message) -> None:
        match message:
            case Ping(serial):
                self.parent.send(Pong(serial))
            case RouterStates(routers):
                self._routers_changed(routers)
            case CommandDone():
                self.parent.done(message)
            case Reload():
                self._spawn(self._hangup())
            case Stop():
                self._spawn(self._stop())

    async def _stop(self) -> None:
        """Main holds no VIP any more: put threads, sysctls and table away."""
        log.get().info("stopping")
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        self._engine.close()
        for router in self.director.config.routers:
            self._notifier.changed(router, "stop", router.priority)
        await self._tracker.close()
        if self.settings is not None:
            await self.settings.follow((), {})
        if self.applier is not None:
            keys = [v.key for v in self.director.config.virtuals if v.cleanstop]
            for error in await self.applier.clear(keys):
                log.get().error("table_failed", error=error)
            log.get().info("table_cleared", services=len(keys))
            self.applier.owned -= set(keys)
            await self._save_manifest()
        await self._notifier.finish(_STOP_NOTIFY)
        if self._server is not None:
            await self._server.close()
        log.get().info("stopped")
        self.parent.send(Stopped())
        with contextlib.suppress(ConnectionError):
            await self.parent.drain()
        self._exit(0)

    # --- configuration ------------------------------------------------------------

    async def read_config(self, path: str = "") -> tuple[Config | None, list[str]]:
        """The configuration on disk, or None and what is wrong with it."""
        node = self.options.node or None
        try:
            loaded = await asyncio.to_thread(language.load, path or self.options.config, node=node)
        except language.ConfigError as error:
            return None, [str(diagnostic) for diagnostic in error.errors]
        return loaded, []

    async def reload(self) -> ReloadResult:
        """Read the configuration again and follow it; a bad one changes nothing."""
        async with self._reloading:
            config, errors = await self.read_config()
            if config is not None:
                try:
                    await self._open_kernel(config)
                except KernelError as error:
                    config, errors = None, [str(error)]
            if config is None:
                self._refused(errors)
                result = ReloadResult(ok=False, errors=errors)
            else:
                lines = changes(self.director.config, config)
                self.config_errors = []
                await self._follow(config)
                log.get().info("config_loaded", path=config.path, changes=lines or "none")
                result = ReloadResult(ok=True, changes=[*lines], warnings=[*config.warnings])
            if self._watch is not None:
                self._watch.accept()
            return result

    async def _hangup(self) -> None:
        try:
            log.reopen()
        except OSError as error:
            log.get().error("state_lost", error=str(error))
        await self.reload()

    def _refused(self, errors: list[str]) -> None:
        if errors != self.config_errors:
            for error in errors:
                log.get().error("config_refused", error=error)
        self.config_errors = errors

    async def _follow(self, config: Config) -> None:
        """A good configuration comes into force."""
        old = self.director.config
        self._log_to(config)
        if self.applier is not None:
            keys = {virtual.key for virtual in config.virtuals}
            self.applier.owned |= keys
            try:
                self.feed(TableAdopted(await self.applier.read()))
            except KernelError as error:  # the picture we have will do; the applier tries again
                log.get().error("table_failed", error=str(error))
        self.feed(LocalAddresses(await self._local(config)))
        self._configured = True
        self.feed(ConfigLoaded(config))
        await self._save_manifest()
        self._engine.set_checks(checks(config))
        self._tracker.follow(config.scripts)
        if old.routers != config.routers or self.loaded is None:
            self.parent.send(Routers([router_to_wire(router) for router in config.routers]))
        for warning in config.warnings if config.warnings != old.warnings else ():
            log.get().warning("config_warning", warning=warning)
        self.loaded = time.time()
        asked = set(checks(config))
        self.latency = {check: took for check, took in self.latency.items() if check in asked}
        await self._store.save_last_good(language.render(config))
        await self.save_drains()
        self._report()
        gc.collect()
        gc.freeze()  # a farm is thousands of objects that never become garbage

    def _log_to(self, config: Config) -> None:
        try:
            log.set_logfile(config.logfile)
        except (OSError, ValueError) as error:
            log.get().error("state_lost", path=config.logfile, error=str(error))

    async def _local(self, config: Config) -> frozenset[Any]:
        if not config.routers or not config.virtuals:
            return frozenset()
        vips = {vip.address for r in config.routers for vip in (*r.addresses, *r.excluded)}
        try:
            return await local_addresses() - vips
        except KernelError as error:
            log.get().error("table_failed", error=str(error))
            return self.director.local

    async def _open_kernel(self, config: Config) -> None:
        """Open IPVS when something needs it for the first time. Raises KernelError."""
        needed = bool(config.virtuals) or any(router.syncdaemon for router in config.routers)
        if self.applier is not None or not (needed or self._owned):
            return
        try:
            kernel = await self._kernel()
            self.info = await kernel.info()
            applier = Applier(
                kernel, zeroed=self._zeroed, raised=self._raised, changed=self._applied
            )
            applier.owned = self._owned
            await applier.read()
        except KernelError:
            if needed:
                raise
            return  # only a manifest speaks of services, and there cannot be any
        log.get().info("table_adopted", services=len(applier.picture))
        self.applier = applier
        self.settings = Settings(kernel, self._sysctls, real=self.options.table == "kernel")
        self._spawn(applier.run())

    async def _kernel(self) -> Kernel:
        if self.options.table == "none":
            return await MemoryTable.open()
        return await Ipvs.open()

    def _sources(self) -> tuple[str, ...]:
        config = self.director.config
        return (config.sources or (self.options.config,)) if config.autoreload else ()

    async def _changed_on_disk(self) -> None:
        log.get().info("config_changed", path=self.options.config)
        await self.reload()

    def _vanished(self, path: str) -> None:
        error = f"{path}: the file is gone; the configuration in force stays"
        log.get().error("config_refused", error=error)
        self.config_errors = [error]

    # --- events -------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """One event for the director; tells its effects and passes its wish on."""
        before = self.director
        self.director, effects = step(before, event, self._loop.time())
        if self.director is before:
            return
        for effect in effects:
            tell(effect, self.director)
        if any(isinstance(e, DrainStarted | DrainEnded | DrainExpired) for e in effects):
            self._spawn(self.save_drains())
        self._wish()
        self._report()

    def _wish(self) -> None:
        wish = desired(self.director)
        if self.applier is not None and self._configured:
            self.applier.wish(wish.table)
            self._settings_wake.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = next_deadline(self.director)
        if due is not None:
            self._timer = self._loop.call_at(due, self.feed, DeadlineReached())

    def _checked(self, result: Result) -> None:
        """A verdict of the engine; those of one turn of the loop are taken together."""
        if not self._results:
            self._loop.call_soon(self._take_results)
        self._results.append(CheckFinished(result.check, result.passed, result.reason))
        self.latency[result.check] = result.latency

    def _take_results(self) -> None:
        results, self._results = self._results, []
        self.feed(ChecksFinished(tuple(results)))

    def _zeroed(self, key: RealKey) -> bool:
        known = self.director.pools.get(key.virtual)
        if known is None or key.real not in known.health:
            return False
        self.feed(Drain(key, by_hand=True))
        return True

    def _raised(self, key: RealKey) -> bool:
        drain = self.director.drains.get(key)
        if drain is None or not drain.by_hand:
            return False
        self.feed(Undrain(key, by_hand=True))
        return True

    def _routers_changed(self, routers: list[RouterStatus]) -> None:
        self.routers = routers
        self.routers_told.set_result(None)
        self.routers_told = self._loop.create_future()
        self.feed(RolesTold({router.name: router.state for router in routers}))
        blocks = {block.name: block for block in self.director.config.routers}
        for router in routers:
            if router.name in blocks:
                priority = router.effective_priority
                self._notifier.changed(blocks[router.name], router.state, priority)

    # --- consequences ---------------------------------------------------------------

    def _applied(self) -> None:
        """The applier has done a round."""
        if self.applier is not None:
            ours = {virtual.key for virtual in self.director.config.virtuals}
            self.applier.owned = ours | (self.applier.owned & self.applier.picture.keys())
        self._report()

    def _report(self) -> None:
        """Tell main what it has not heard yet: readiness, track values, the headline."""
        if self.loaded is None:
            return
        settled = self.applier is None or self.applier.settled
        ready = self.director.judged and (settled or self._ready)
        if ready != self._ready:
            self._ready = ready
            if ready:
                log.get().info("ready")
            self.parent.send(Ready(ready))
        tracks = self._track_values()
        if tracks != self._tracks:
            self._tracks = tracks
            self.parent.send(TrackValues(tracks))

    def _track_values(self) -> dict[str, bool]:
        values = {f"{TrackKind.SCRIPT} {name}": up for name, up in self._tracker.values.items()}
        wanted = {
            track.name
            for router in self.director.config.routers
            for track in router.tracks
            if track.kind is TrackKind.VIRTUAL
        }
        if wanted:
            for name, up in tracked(self.director).items():
                if name in wanted:
                    values[f"{TrackKind.VIRTUAL} {name}"] = up
        return values

    async def _keep_settings(self) -> None:
        """Threads and sysctls follow the wish; main gets the headline, once a second at most."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTINGS_INTERVAL):
                    await self._settings_wake.wait()
            self._settings_wake.clear()
            wish = desired(self.director)
            if self.settings is not None:
                await self.settings.follow(wish.sync_daemons, wish.sysctls)
            await self._save_manifest()
            text = headline(self)
            if text != self._headline:
                self._headline = text
                self.parent.send(Notice(text))
            await asyncio.sleep(0.2)

    def unix(self, at: float) -> float:
        """A time of the loop's clock as a Unix time."""
        return at - self._loop.time() + time.time()

    async def _save_manifest(self) -> None:
        if self.applier is None or self.settings is None:
            return
        current = (set(self.applier.owned), dict(self.settings.original))
        if current != self._saved:
            self._saved = current
            await self._store.save_manifest(*current)

    async def save_drains(self) -> None:
        """Store the drains in force."""
        drains = [
            stored_drain(
                key,
                None if drain.deadline_at is None else self.unix(drain.deadline_at),
                drain.by_hand,
                drain.expired,
            )
            for key, drain in self.director.drains.items()
        ]
        await self._store.save_drains(drains)

    async def _restore_drains(self) -> None:
        now = self._loop.time()
        for stored in self._store.drains():
            deadline = None
            if stored.deadline is not None:
                deadline = stored.deadline - time.time() + now
            event = Drain(stored.key, deadline, stored.by_hand)
            self.director, _ = step(self.director, event, now)


def _listening(fd: int) -> socket.socket:
    return socket.socket(fileno=fd)


def parse(argv: Sequence[str]) -> Options:
    """The command line main gives the child."""
    parser = argparse.ArgumentParser(prog="lvsd-director")
    parser.add_argument("--ipc", type=int, required=True)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--runtime-dir", required=True)
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--table", choices=("kernel", "none"), default="kernel")
    parser.add_argument("--node", default="")
    return Options(**vars(parser.parse_args(argv)))


async def _run(options: Options) -> int:
    return await Child(options, await Parent.connect(options.ipc)).run()


def _ignore(number: int, frame: object) -> None:
    """Main decides. A handler rather than SIG_IGN, which programs we start would inherit."""


def main(argv: Sequence[str] | None = None) -> None:
    """Be the child; ends the process."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)
    options = parse(sys.argv[1:] if argv is None else argv)
    log.configure("director")
    with asyncio.Runner() as runner:
        status = runner.run(_run(options))
        sys.stderr.flush()
        os._exit(status)  # a configuration being read in a thread must not hold us up


if __name__ == "__main__":
    main()
