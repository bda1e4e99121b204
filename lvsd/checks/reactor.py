"""A private epoll set, hung on the asyncio loop by a single reader.

asyncio's own bookkeeping (a Handle and a selector change per phase, a Task per check) costs more
than a whole check. Here a socket costs one dict entry, and the loop sees one descriptor however
many checks are under way. Each wake-up does bounded work, so nothing else on the loop starves: the
set is level-triggered and what is left is reported again at once.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

#: Sockets served per wake-up, and the time after which the rest waits for the next one: a TLS
#: handshake costs most of a millisecond.
EVENTS = 64
BUDGET = 0.005
#: Seconds that a ready socket may wait for others in the course of things.
WAIT = 0.05


class Closable(Protocol):
    """Something that ends with the engine."""

    def close(self) -> None:
        """Free everything."""


_Shared = TypeVar("_Shared", bound=Closable)


class Reactor:
    """Calls a handler with the ready mask whenever a registered descriptor is ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._fresh: set[int] = set()
        self._shared: dict[object, Closable] = {}
        #: Whether the last turn has left something unserved, as far as one can tell.
        self.behind = False
        #: Seconds, of all so far, that what was ready may have waited for others to be served.
        self.lost = 0.0
        #: When the turns began that have left something each; seconds of that in `lost`.
        self._began_at = self._counted = 0.0
        loop.add_reader(self._epoll.fileno(), self.serve)

    def register(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        """Watch `fd` for READ or WRITE. The owner unregisters before it closes."""
        self._epoll.register(fd, mask)
        self._handlers[fd] = handler
        self._fresh.add(fd)

    def modify(self, fd: int, mask: int) -> None:
        """Watch a registered `fd` for something else."""
        self._epoll.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """Forget `fd`; nothing where its registration failed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def shared(self, key: object, make: Callable[[], _Shared]) -> _Shared:
        """The one object of this engine known by `key`, made on first use."""
        if key not in self._shared:
            self._shared[key] = make()
        return cast(_Shared, self._shared[key])

    def serve(self) -> None:
        """Serve what is ready, within the bounds above; nothing after the end."""
        if self._epoll.closed:
            return
        self._fresh.clear()
        now = self._loop.time()
        until = now + BUDGET
        if not self.behind:
            self._began_at, self._counted = now, 0.0
        found = self._epoll.poll(0, EVENTS)
        self.behind = len(found) == EVENTS
        for fd, mask in found:
            handler = self._handlers.get(fd)
            # A number may be reused within one batch: then the event belongs to the old owner.
            if handler is not None and fd not in self._fresh:
                handler(mask)
                now = self._loop.time()
                if now > until or self._epoll.closed:
                    self.behind = self.behind or fd != found[-1][0]
                    break
        if (waited := now - self._began_at) > WAIT:
            self.lost += waited - self._counted
            self._counted = waited

    def close(self) -> None:
        """Close the set and everything shared. Probes were closed before."""
        if self._epoll.closed:
            return
        for thing in self._shared.values():
            thing.close()
        self._shared.clear()
        self._handlers.clear()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
