"""Keeps the routes and rules of MASTERs in the kernel; the applier says when.

They come after the VIPs, which may be their source addresses, and go before them. Only ours are
ever removed: what somebody else has put there is a refusal like any other, told and tried again.

An addition is also the question whether a path is still there: the kernel says EEXIST, or has it
again. So whatever may have taken a path away (a notification about it, any change of an interface
or address, as IPv4 routes vanish with those silently) ends in one batch of additions. Only a
route that was replaced looks as if it were still ours; that is seen from the notification.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from lvsd import log
from lvsd.core.model import Path, RouteKind, RouterConfig, VirtualRoute, VirtualRule
from lvsd.core.vrrp import Key
from lvsd.linux import route as rtnl
from lvsd.linux.link import Links
from lvsd.linux.pathmonitor import PathMonitor
from lvsd.linux.route import RouteEntry
from lvsd.linux.rtnl import AddressRequest

#: A path with everything filled in that the kernel is told.
Placed = RouteEntry | VirtualRule
#: Answers to a removal that mean that nothing is left to remove.
_GONE = (0, errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EAFNOSUPPORT)
_FOREIGN = "exists already, and is not ours"

_log = log.get()


class Kernel(Protocol):
    """What is asked of `lvsd.linux.route.RouteSocket`."""

    port: int

    def send(self, requests: Sequence[AddressRequest]) -> list[int]:
        """One errno per request, 0 for success, in order."""

    def routes(self) -> list[RouteEntry]:
        """Our routes. Raises OSError."""

    def rules(self) -> list[VirtualRule]:
        """Our rules. Raises OSError."""


@dataclass(slots=True)
class _Kept:
    """What the kernel confirmed of one router's paths, and why it refused the others."""

    held: dict[Path, Placed] = field(default_factory=dict)
    refused: dict[Path, str] = field(default_factory=dict)


class Paths:
    """The only writer of our routes and rules while main lives.

    `complain` tells of a fault that may repeat: event and reason. `doubted` is called when
    somebody may have changed a path; `install` then puts it right.
    """

    def __init__(
        self,
        links: Links,
        kernel: Kernel,
        complain: Callable[[Key, str, str], None],
        doubted: Callable[[], None],
    ) -> None:
        self._links = links
        self._kernel = kernel
        self._complain = complain
        self._doubted = doubted
        self._kept: dict[Key, _Kept] = {}
        self._monitor: PathMonitor | None = None

    def watch(self, configs: Iterable[RouterConfig]) -> None:
        """Listen for changes by others, if any of these routers has a path."""
        paths = [path for config in configs for path in config.paths]
        if not paths:
            self.close()
            return
        try:
            if self._monitor is None:
                self._monitor = PathMonitor(self._kernel.port)
                asyncio.get_running_loop().add_reader(self._monitor, self._on_change)
            self._monitor.aim(path.prefix for path in paths if isinstance(path, VirtualRoute))
        except OSError as error:
            self.close()
            _log.warning("monitor_lost", error=error.strerror or str(error))

    def close(self) -> None:
        """Stop listening. Paths stay as they are."""
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor)
            self._monitor.close()
            self._monitor = None

    def adopt(self, wishes: Mapping[Key, Sequence[Path]]) -> None:
        """Before the first wish of new routers: take over what a crash has left of their paths."""
        if not any(wishes.values()):
            return
        try:
            routes, rules = self._kernel.routes(), self._kernel.rules()
        except OSError as error:
            _log.warning("monitor_lost", error=error.strerror or str(error))
            return
        for key, paths in wishes.items():
            held = self._kept.setdefault(key, _Kept()).held
            for path in paths:
                placed = self._place(key, path)
                if isinstance(placed, VirtualRule) and placed in rules:
                    held[path] = placed
                for found in routes:
                    if isinstance(placed, RouteEntry) and found.identity == placed.identity:
                        held[path] = placed if rtnl.same(placed, found) else found

    def install(self, key: Key, wished: Sequence[Path]) -> tuple[list[str], bool]:
        """Add what is missing: the refusals that end mastership, and whether nothing is missing."""
        kept = self._kept.setdefault(key, _Kept())
        before, kept.refused = kept.refused, {}
        batch: dict[Path, Placed] = {}
        for path in wished:
            placed = self._place(key, path)
            if isinstance(placed, str):
                kept.refused[path] = placed
            else:
                batch[path] = placed
        codes = self._kernel.send([_addition(placed) for placed in batch.values()])
        for (path, placed), code in zip(batch.items(), codes, strict=True):
            if code == 0 and path in kept.held:
                self._complain(key, "route_lost", f"{_named(path)} was taken away and is back")
            if code == 0:
                kept.held[path] = placed
            elif code != errno.EEXIST or path not in kept.held:
                kept.held.pop(path, None)
                kept.refused[path] = _reason(code)
        for path, reason in kept.refused.items():
            if before.get(path) != reason:
                self._complain(key, "route_failed", f"{_named(path)}: {reason}")
        fatal = [f"{_named(p)}: {reason}" for p, reason in kept.refused.items() if p.track]
        return fatal, not kept.refused

    def remove(self, key: Key, wished: Sequence[Path]) -> bool:
        """Remove what is held and not wished, or wished elsewhere now; whether it is gone."""
        kept = self._kept.get(key)
        if kept is None:
            return True
        wanted = frozenset(wished)
        doomed = {
            path: kept.held[path]
            for path in _removal_order(kept.held)
            if path not in wanted or self._place(key, path) != kept.held[path]
        }
        codes = self._kernel.send([_removal(placed) for placed in doomed.values()])
        for path, code in zip(doomed, codes, strict=True):
            if code in _GONE:
                del kept.held[path]
        kept.refused = {p: reason for p, reason in kept.refused.items() if p in wanted}
        if not wished and not kept.held:
            del self._kept[key]
        return all(code in _GONE for code in codes)

    def deletions(self, key: Key, wished: Sequence[Path]) -> tuple[bytes, ...]:
        """Prebuilt removal of what a router holds or is about to add, rules first."""
        kept = self._kept.get(key, _Kept())
        ours = [path for path in wished if kept.refused.get(path) != _FOREIGN]
        placed = {path: self._place(key, path) for path in ours}
        placed |= kept.held
        objects = [placed[path] for path in _removal_order(placed)]
        return tuple(_removal(o).message for o in objects if not isinstance(o, str))

    def notes(self, key: Key) -> Iterator[str]:
        """What a router lacks, in words."""
        for path, reason in self._kept.get(key, _Kept()).refused.items():
            yield f"{_named(path)}: {reason}"

    def _place(self, key: Key, path: Path) -> Placed | str:
        """Where a path goes now, or why it can go nowhere."""
        if isinstance(path, VirtualRule):
            return replace(path, track=True)
        needs = path.onlink or path.via is None or path.via.is_link_local
        device = path.dev or (key[0] if needs and path.kind is RouteKind.UNICAST else "")
        interface = self._links.interface(device)
        if device and interface is None:
            return f"interface {device} does not exist"
        index = 0 if interface is None else interface.index
        return rtnl.entry(path, index, self._links.vrf_table(key[0]))

    def _on_change(self) -> None:
        if self._monitor is None:
            return
        doubt = False
        try:
            for message in self._monitor.receive():
                found = rtnl.replacement(message)
                if found is not None:
                    self._replaced(found)
                doubt = doubt or found is not None or rtnl.is_removal(message)
        except OSError:
            self._compare()
            doubt = True
        if doubt:
            self._doubted()

    def _replaced(self, found: RouteEntry) -> None:
        """A route of this identity is not ours any more, whatever it was."""
        for key, kept in self._kept.items():
            for path, placed in [*kept.held.items()]:
                if isinstance(placed, RouteEntry) and placed.identity == found.identity:
                    del kept.held[path]
                    self._complain(key, "route_lost", f"{_named(path)} was replaced by another")

    def _compare(self) -> None:
        """Notifications were lost: hold only what is found in a dump."""
        try:
            found: list[Placed] = [*self._kernel.routes(), *self._kernel.rules()]
        except OSError as error:
            _log.warning("monitor_lost", error=error.strerror or str(error))
            return
        there = {_identity(placed) for placed in found}
        for key, kept in self._kept.items():
            for path in [p for p, placed in kept.held.items() if _identity(placed) not in there]:
                del kept.held[path]
                self._complain(key, "route_lost", f"{_named(path)} was taken away")


def _identity(placed: Placed) -> object:
    return placed.identity if isinstance(placed, RouteEntry) else placed


def _removal_order(paths: Iterable[Path]) -> list[Path]:
    """Rules first, and each kind from the last to the first."""
    last_first = [*paths][::-1]
    return sorted(last_first, key=lambda path: isinstance(path, VirtualRoute))


def _addition(placed: Placed) -> AddressRequest:
    return rtnl.new_route(placed) if isinstance(placed, RouteEntry) else rtnl.new_rule(placed)


def _removal(placed: Placed) -> AddressRequest:
    if isinstance(placed, RouteEntry):
        return rtnl.delete_route(placed)
    return rtnl.delete_rule(placed)


def _named(path: Path) -> str:
    return f"{'route' if isinstance(path, VirtualRoute) else 'rule'} {path}"


def _reason(code: int) -> str:
    return _FOREIGN if code == errno.EEXIST else os.strerror(code)
