"""The configuration of the child: read it, follow it, and keep the old one when the new is bad.

A configuration comes into force whole. What it needs of the kernel is opened first, so that it is
refused while nothing has changed yet. `errors` are those of the last attempt.

A child restarted after a crash goes on with what was running (`reading`). With autoreload a file
edited since then is then tried like any other change, unless it was what felled the child.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from lvsd import config as language
from lvsd import log
from lvsd.control.status import ReloadResult
from lvsd.core.changes import changes
from lvsd.core.director import checks, watched
from lvsd.core.fanout import waiting
from lvsd.core.happenings import LocalAddresses, TableAdopted
from lvsd.core.model import Config, IPAddress
from lvsd.daemon import reading
from lvsd.daemon.lastgood import Running
from lvsd.daemon.messages import routers_to_wire
from lvsd.daemon.reading import Read, uncollected
from lvsd.daemon.watch import Signature, Watch, signature
from lvsd.linux import KernelError
from lvsd.linux.local import local_addresses

if TYPE_CHECKING:
    from lvsd.daemon.director import Child


class Configuration:
    """What is in force, since when (`loaded`, Unix time), and what is wrong with the file."""

    def __init__(self, child: Child) -> None:
        self.errors: list[str] = []
        self.loaded: float | None = None
        self.in_force = False  # until then an empty wish would mean: remove everything
        self.reloading = False
        self.seen: Signature = {}  # the files as they were when what is in force was read
        self.watch = Watch(self._sources, self._changed_on_disk, self._vanished)
        self._child = child
        self._lock = asyncio.Lock()
        self._noticed = ""  # what the files held when a change was noticed last

    async def first(self, read: Read) -> tuple[Config | None, list[str]]:
        """The configuration to start with, its needs of the kernel met; or why there is none."""
        if read.refused:
            self._refuse(read.refused)
        self.seen = read.seen
        return await self._provided(read.config, read.errors)

    async def _provided(
        self, config: Config | None, errors: list[str]
    ) -> tuple[Config | None, list[str]]:
        if config is None:
            return None, errors
        try:
            await self._child.open_kernel(config)
        except KernelError as error:
            return None, [str(error)]
        return config, []

    async def reload(self) -> ReloadResult:
        """Read the configuration again and follow it; a bad one changes nothing."""
        async with self._lock:
            self.reloading = True
            seen = signature([self._child.options.config, *self._child.director.config.sources])
            config, errors = await self._provided(*await self._child.prelude.reader.read())
            if config is None:
                self._refuse(errors)
                result = ReloadResult(ok=False, errors=errors)
            else:
                old = self._child.director.config
                lines = await asyncio.to_thread(changes, old, config)
                self.errors, self.seen, self._noticed = [], reading.seen(config, seen), ""
                if lines:
                    await self._child.store.save_tried(self.seen)
                await self.follow(config, lines)
                result = ReloadResult(ok=True, changes=[*lines], warnings=[*config.warnings])
            self.watch.accept(seen)
            self.reloading = False
            return result

    async def hangup(self) -> None:
        """SIGHUP: a new log file and a reload."""
        log.sentence("Reloading Linux Director Daemon config on signal")
        try:
            log.reopen()
        except OSError as error:
            log.get().error("state_lost", error=str(error))
        await self.reload()

    def _refuse(self, errors: list[str]) -> None:
        if errors != self.errors:
            for error in errors:
                log.get().error("config_refused", error=error)
        self.errors = errors

    async def follow(self, config: Config, lines: Collection[str] = ()) -> None:
        """A good configuration comes into force; `lines` say what it changes."""
        with uncollected():
            await self._follow(config, lines)
            gc.collect()
            gc.freeze()  # a farm is thousands of objects that never become garbage

    async def _follow(self, config: Config, lines: Collection[str]) -> None:
        child, old = self._child, self._child.director.config
        self._log_to(config)
        child.aftermath.follow(old, config)
        await self._adopt(config)
        child.feed(LocalAddresses(self._local(config)))
        await child.load(config)
        await child.keeper.save_manifest()
        asked, observed, unjudged = checks(config), watched(config), waiting(child.director)
        child.verdicts.follow(asked, observed, config.checkers, unjudged)
        child.tracker.follow(config.scripts)
        child.lookout.follow(config.processes, config.files)
        child.maintenance.follow()
        told = (old.routers, old.paces) == (config.routers, config.paces)
        if not (child.prelude.told if self.loaded is None else told):
            child.parent.send(routers_to_wire(config))
        for warning in config.warnings if config.warnings != old.warnings else ():
            log.get().warning("config_warning", warning=warning)
        self.loaded = time.time()
        count = len(config.virtuals)
        log.get().info("config_loaded", path=config.path, virtuals=count, changes=list(lines))
        text = await asyncio.to_thread(language.render, config)
        running = Running(config.sha256, config.sources, config.warnings, self.seen)
        await child.store.save_last_good(text, running)
        await child.keeper.save_drains()
        child.tell_main()

    async def _adopt(self, config: Config) -> None:
        applier = self._child.applier
        if applier is None:
            return
        applier.owned |= {virtual.key for virtual in config.virtuals}
        try:
            table = await applier.read()
        except KernelError as error:  # the picture we have will do; the applier tries again
            log.get().error("table_failed", error=str(error))
            table = applier.picture
        self._child.feed(TableAdopted(dict(table)))

    def _log_to(self, config: Config) -> None:
        try:
            classic = config.logstyle == "ldirectord"
            log.set_logfile(config.logfile, os.path.basename(config.path) if classic else "")
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            log.get().error("state_lost", path=config.logfile, error=reason)

    def _local(self, config: Config) -> frozenset[IPAddress]:
        if not config.routers or not config.virtuals:
            return frozenset()
        vips = {vip.address for r in config.routers for vip in (*r.addresses, *r.excluded)}
        try:
            return local_addresses() - vips
        except KernelError as error:
            log.get().error("table_failed", error=str(error))
            return self._child.director.local

    def _sources(self) -> tuple[str, ...]:
        config = self._child.director.config
        if not (config.autoreload or config.callback):
            return ()
        wanted = self._child.options.config
        return (wanted, *(source for source in config.sources if config.path == wanted))

    async def _changed_on_disk(self) -> None:
        config, path = self._child.director.config, self._child.options.config
        content = await asyncio.to_thread(_content, self._sources())
        if content == (self._noticed or config.sha256) and not self.errors:
            return  # touched only: a callback that copies files to and fro would never end
        self._noticed = content
        words = f"Configuration file '{path}' has changed on disk"
        log.get(sentence=words).info("config_changed", path=path)
        log.sentence(f" - {'reread' if config.autoreload else 'ignore'} new configuration")
        if config.autoreload and not (await self.reload()).ok:
            return  # what a callback would hand on is no configuration
        if config.callback:
            self._child.aftermath.callback(config.callback, path)

    def _vanished(self, path: str) -> None:
        self._refuse([f"{path}:1:1: error: the file is gone; the configuration in force stays"])


def _content(paths: Collection[str]) -> str:
    """The digest of some files, as a configuration has that of its sources; "" if one is away."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            with open(path, "rb") as file:
                digest.update(file.read())
    except OSError:
        return ""
    return digest.hexdigest()
