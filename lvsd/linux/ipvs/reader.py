"""Dumps to entries of a table. What was read before, or is expected, is known by its bytes.

An unchanged service costs one comparison of all marks of its destinations (see `codec`) and comes
back as the same object, so that whoever compares two tables sees by identity that nothing
changed. Only a destination whose mark nobody knows is decoded. Nothing but the bytes the kernel has
just sent is believed: a mark that differs in one bit is another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from lvsd.core.model import Destination, ServiceEntry, ServiceKey, VirtualService
from lvsd.core.plan import normal_service
from lvsd.linux.ipvs.codec import (
    STATS,
    STATS64,
    DestinationDecoder,
    Mark,
    attributes,
    decode_service,
)

#: Entries decoded before the loop gets its turn (about a millisecond).
SLICE = 200
#: The kernel sends fewer destinations than this in one piece (4 KiB at least), or all of them.
PIECE = 16


@dataclass(frozen=True, slots=True)
class _Seen:
    """A service as it was read last; the marks are in the order of the dump."""

    entry: ServiceEntry
    marks: Sequence[Mark]

    @property
    def known(self) -> dict[Mark, Destination]:
        """The destinations by their marks. The kernel puts a new one in front."""
        return dict(zip(self.marks, [*self.entry.destinations.values()][::-1], strict=True))


class Torn(Exception):
    """A dump in several pieces names a destination twice: somebody added one in between.

    The kernel goes on by counting (`ip_vs_genl_dump_dests`) and does not say so. When one is
    removed in between, another one is left out, which nobody can tell: see `Reader.surprised`.
    """


class Reader:
    """Makes entries of dumps; remembers the last one of each service.

    `surprised` is set by a service that may have come in pieces and is neither as expected nor as
    it was read last: reading it again tells whether it is so.
    """

    def __init__(self, decoder: DestinationDecoder) -> None:
        self._decoder = decoder
        self._seen: dict[ServiceKey, _Seen] = {}
        self._services: dict[bytes, VirtualService] = {}
        self._counters = 0
        self.surprised = False

    def forget(self, known: Collection[ServiceKey]) -> None:
        """Keep nothing of services that are not among those `known`."""
        for key in self._seen.keys() - known:
            del self._seen[key]
        if len(self._services) > 2 * len(known):
            self._services.clear()

    def service(self, data: bytes) -> VirtualService:
        """One entry of a GET_SERVICE dump. Raises DecodeError on anything that is not one."""
        found = self._services.get(data[: -self._counters]) if self._counters else None
        if found is None:
            found = decode_service(data)
            self._counters = _counters(data)
            if self._counters:
                self._services[data[: -self._counters]] = found
        return found

    async def entry(
        self, service: VirtualService, dump: Sequence[bytes], expected: ServiceEntry | None
    ) -> ServiceEntry:
        """The service with the destinations of its dump, in the order they were added.

        It is `expected` itself when that is what the kernel holds. Raises DecodeError, Torn.
        """
        marks = self._marks(dump)
        if marks is None:
            return _entry(service, await self._decoded(service, dump))
        seen = self._seen.get(service.key)
        if seen is not None and seen.marks == marks:
            if not _alike(seen.entry, service):
                seen = _Seen(replace(seen.entry, service=service), seen.marks)
            elif expected is not None and _same(seen.entry, expected):
                seen = _Seen(expected, seen.marks)
        else:
            seen = await self._changed(service, dump, marks, expected)
        self._seen[service.key] = seen
        return seen.entry

    async def _changed(
        self,
        service: VirtualService,
        dump: Sequence[bytes],
        marks: Sequence[Mark],
        expected: ServiceEntry | None,
    ) -> _Seen:
        """The service as it is now; decoded is only what is neither expected nor known."""
        known: dict[Mark, Destination] = {}
        if expected is not None:
            wished = _Seen(expected, self._expected(expected, dump))
            if wished.marks == marks and _alike(expected, service):
                return wished
            known = wished.known
        self.surprised = self.surprised or len(marks) >= PIECE
        if (seen := self._seen.get(service.key)) is not None:
            known |= seen.known
        missing = [data for data, mark in zip(dump, marks, strict=True) if mark not in known]
        found = iter(await self._decoded(service, missing))
        now = [known[mark] if mark in known else next(found) for mark in marks]
        return _Seen(_entry(service, now), marks)

    def _marks(self, dump: Sequence[bytes]) -> list[Mark] | None:
        """None where the kernel's layout is unknown."""
        layout = self._decoder.layout(dump[0]) if dump else None
        return None if layout is None else layout.marks(dump)

    def _expected(self, expected: ServiceEntry, dump: Sequence[bytes]) -> list[Mark]:
        """The marks of what is expected, in the order of a dump."""
        layout = self._decoder.layout(dump[0])
        assert layout is not None  # else there were no marks
        return layout.expected([*expected.destinations.values()][::-1])

    async def _decoded(self, service: VirtualService, dump: Sequence[bytes]) -> list[Destination]:
        found: list[Destination] = []
        for start in range(0, len(dump), SLICE):
            part = dump[start : start + SLICE]
            found += (self._decoder.decode(data, service.key.family)[0] for data in part)
            if len(part) == SLICE:
                await asyncio.sleep(0)
        return found


def _counters(data: bytes) -> int:
    """How many bytes of a service's entry, at its end, only count; the rest configures it."""
    places = [(kind, offset - 4) for kind, offset, _ in attributes(data, 4, len(data))]
    counting = [offset for kind, offset in places if kind in (STATS, STATS64)]
    last = [offset for _, offset in places[len(places) - len(counting) :]]
    return len(data) - counting[0] if counting and counting == last else 0


def _entry(service: VirtualService, dump: Sequence[Destination]) -> ServiceEntry:
    """The kernel puts a new destination in front and dumps from there."""
    destinations = {d.key: d for d in reversed(dump)}
    if len(destinations) < len(dump):
        raise Torn(f"{service.key}")
    return ServiceEntry(service, destinations)


def _same(one: ServiceEntry, other: ServiceEntry) -> bool:
    """Whether they are equal, the order of the destinations included, and not one object."""
    return one is not other and one == other and [*one.destinations] == [*other.destinations]


def _alike(entry: ServiceEntry, service: VirtualService) -> bool:
    """Whether the kernel's service is that of the entry, but for what has no effect."""
    return entry.service == service or normal_service(entry.service) == normal_service(service)
