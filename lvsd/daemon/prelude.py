"""The child's beginning: it reads the configuration and tells main its routers before all else.

Main cannot listen for adverts before it knows its routers, and what the director is made of (HTTP,
checks, the control socket) takes several times as long to load as what reads a configuration. So
the child is loaded in two stages. This module imports the reader and nothing more. Once the
routers are told it imports `director`, hands over what it has read, and has no further part.

Routers are told early where nothing could still take them back or be missing: IPVS is opened
before, since a configuration with services is refused on a kernel without it; and a router whose
priority depends on what the child looks at is told with the values, by the director.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from lvsd import log
from lvsd.core.model import Config, TrackKind
from lvsd.core.record import dataclass
from lvsd.daemon.arguments import Options, parse
from lvsd.daemon.messages import VERSION, Hello, routers_to_wire
from lvsd.daemon.parent import Parent
from lvsd.daemon.reading import Read, Reader, needs_table
from lvsd.linux import KernelError
from lvsd.linux.name import set_name

if TYPE_CHECKING:
    from lvsd.linux.ipvs import Ipvs

#: What the child looks at by itself; services are waited for in any case.
_LOOKED_AT = (TrackKind.SCRIPT, TrackKind.PROCESS, TrackKind.FILE)


@dataclass(frozen=True, slots=True)
class Prelude:
    """What the director goes on with; `told` says that main knows the routers.

    `kernel` is IPVS where the configuration needs it and there is one.
    """

    options: Options
    parent: Parent
    reader: Reader
    read: Read
    kernel: Ipvs | None
    told: bool


async def play(options: Options) -> Prelude:
    """The first stage."""
    parent = await Parent.connect(options.ipc)
    parent.send(Hello(VERSION, os.getpid()))
    reader = Reader(options)
    read = await reader.first()
    config, kernel = read.config, None
    told = config is not None and not _looked_at(config)
    if config is not None and needs_table(config) and options.table == "kernel":
        kernel = await _table()
        told = told and kernel is not None
    if config is not None and told:
        parent.send(routers_to_wire(config, early=True))
        await parent.drain()
    return Prelude(options, parent, reader, read, kernel, told)


async def _table() -> Ipvs | None:
    """IPVS; None where there is none, as the director will find and say."""
    from lvsd.linux.ipvs import Ipvs

    try:
        return await Ipvs.open()
    except KernelError:
        return None


def _looked_at(config: Config) -> bool:
    """Whether a priority depends on what the child looks at."""
    tracks = (track for router in config.routers for track in router.tracks)
    return any(track.weight and track.kind in _LOOKED_AT for track in tracks)


async def _run(options: Options) -> int:
    prelude = await play(options)
    # Loading the rest holds the loop up for a third of a second, which the child may: it is
    # patient with itself, and main waits for nothing.
    from lvsd.daemon.director import Child

    gc.freeze()  # a first configuration of thousands of objects would be looked through in vain
    gc.enable()
    return await Child(prelude).run()


def _ignore(number: int, frame: object) -> None:
    """Main decides. A handler rather than SIG_IGN, which programs we start would inherit."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Be the child; ends the process."""
    set_name("lvsd-director")
    gc.disable()  # until everything is loaded: next to nothing of it is garbage
    # The last is what the unit's watchdog sends to every process of a hung main.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGVTALRM):
        signal.signal(number, _ignore)
    options = parse(sys.argv[1:] if argv is None else argv)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor per check under way
    log.configure("director", stderr=options.stderr_path)
    with asyncio.Runner() as runner:
        status = runner.run(_run(options))
        sys.stderr.flush()
        os._exit(status)  # a configuration being read in a thread must not hold us up


if __name__ == "__main__":
    main()
