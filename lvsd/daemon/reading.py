"""Reading the configuration: the one on disk, or after a crash the one that was running.

It is read in a thread, so that even a huge one does not keep a Ping waiting.

A child restarted after a crash goes on with the configuration that was running, as the runtime
directory has it: a file edited since then neither comes into force by a crash nor keeps the child
from coming back.

An error of the reader itself is a refusal like others, told with its traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lvsd import config as language
from lvsd import log
from lvsd.core.model import Config
from lvsd.daemon.arguments import Options
from lvsd.daemon.lastgood import LastGood
from lvsd.daemon.watch import Signature, signature


@dataclass(slots=True)
class Read:
    """A configuration, or None and what is wrong with it; `seen` are the files as they were.

    `refused` is what kept a restarted child from going on with what was running.
    """

    config: Config | None
    errors: list[str]
    seen: Signature
    refused: list[str] = field(default_factory=list)


class Reader:
    """Reads one daemon's configuration, time after time; what has not changed is known again."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._recall, self._turn = language.Recall(), asyncio.Lock()

    async def read(self, path: str = "") -> tuple[Config | None, list[str]]:
        """The configuration on disk, or None and what is wrong with it."""
        path, node = path or self._options.config, self._options.node or None
        try:
            async with self._turn:  # what is remembered is for one reader at a time
                with uncollected():
                    load = language.load
                    return await asyncio.to_thread(load, path, node=node, recall=self._recall), []
        except language.ConfigError as error:
            return None, [str(diagnostic) for diagnostic in error.errors]
        except Exception as error:  # whatever it is, the configuration in force must stay
            text = f"internal error while reading {path}: {type(error).__name__}: {error}"
            log.get().error("config_failed", path=path, error=repr(error), exc_info=error)
            return None, [f"{text}, please report"]

    async def first(self) -> Read:
        """The configuration to start with."""
        kept = LastGood(self._options.runtime_dir, self._options.since)
        refused: list[str] = []
        if (running := kept.about()) is not None:
            config, refused = await self.read(str(kept.path))
            if config is not None:
                config = replace(
                    config,
                    path=self._options.config,
                    sha256=running.sha256,
                    sources=running.sources,
                    warnings=running.warnings,
                )
                return Read(config, [], running.seen)
        before = signature([self._options.config])
        config, errors = await self.read()
        return Read(config, errors, seen(config, before), refused)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """The garbage collector waits.

    It would look through a growing farm again and again, a third of the time a large one takes, to
    find nothing: what is left over from reading goes by its reference counts.
    """
    working = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if working:
            gc.enable()


def needs_table(config: Config) -> bool:
    """Whether a configuration asks anything of IPVS."""
    return bool(config.virtuals) or any(router.syncdaemon for router in config.routers)


def seen(config: Config | None, before: Signature) -> Signature:
    """The files of a configuration as they were before it was read, as far as they were known."""
    return {**signature(config.sources if config else ()), **before}
