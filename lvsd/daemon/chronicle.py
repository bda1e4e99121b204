"""What happened to the routers, told: to the log, and to main for the child's log file.

Telling waits until the routers have done what was urgent: events and effects are taken down as
they happen and told, in that order, by `tell`. One line per transition. A fault that repeats (a
neighbour's bad adverts, a refused address) is told once a minute per router and reason: a
neighbour must not fill the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from lvsd import log
from lvsd.core.vrrp import (
    AddressListDiffers,
    AdvertReceived,
    AdvertRejected,
    ChecksumReadingDiffers,
    DuplicateOwnerHeard,
    Effect,
    Event,
    Key,
    LowerPriorityHeard,
    Relieved,
    StateChanged,
    StepDownFailed,
    VipsBound,
    VipsFailed,
    VipsLost,
    VirtualRouter,
    checksum_advice,
    reported_state,
)
from lvsd.core.vrrp.router import OWNER

#: Seconds between two lines about the same fault of the same router.
COMPLAINT_INTERVAL = 60.0

_log = log.get(relayed=True)


class Observer(Protocol):
    """Whoever follows the routers: main."""

    def routers_changed(self) -> None:
        """Something that status shows is different."""

    def router_event(self, event: str, fields: dict[str, Any], level: str = "info") -> None:
        """Something happened that the event list wants to know."""

    def stepdown_finished(self, key: Key, error: str) -> None:
        """A step-down ended; `error` "" when the router is relieved."""


class Chronicle:
    """Takes down every event and effect of the routers after the core has seen it."""

    def __init__(self, observer: Observer, clock: Callable[[], float]) -> None:
        self._observer = observer
        self._clock = clock
        self._complained: dict[tuple[Key, str, str], float] = {}
        self._untold: deque[Callable[[], None]] = deque()

    def effect(self, key: Key, vr: VirtualRouter | None, effect: Effect) -> None:
        """Take down an effect and what the router was like then."""
        self._untold.append(partial(self._effect, key, vr, effect))

    def event(self, key: Key, event: Event, vr: VirtualRouter | None) -> None:
        """Take down an event and what the router was like then."""
        self._untold.append(partial(self._event, key, event, vr))

    def complain(self, key: Key, event: str, reason: str, **more: str) -> None:
        """Take down a fault that may repeat.

        `reason` is one of few: what a stranger chooses freely belongs in `more`, so that nobody
        can make us say, or remember, something new with each packet.
        """
        self._untold.append(partial(self._complain, key, event, reason, **more))

    def tell(self) -> None:
        """Tell what has been taken down."""
        while self._untold:
            self._untold.popleft()()

    def _effect(self, key: Key, vr: VirtualRouter | None, effect: Effect) -> None:
        """Tell of an effect that is news; others are ignored."""
        fields = _identity(key, vr)
        match effect:
            case StateChanged(old, new, reason):
                state = reported_state(vr) if vr else new.value
                priority = vr.config.priority if vr else 0
                fields |= {"old": old.value, "state": state, "reason": reason}
                _log.info("router_changed", **fields)
                self._observer.router_event("router_changed", fields | {"priority": priority})
            case Relieved(reason):
                _log.info("relieved", **fields, reason=reason)
                self._observer.router_event("relieved", fields | {"reason": reason})
                self._observer.stepdown_finished(key, "")
            case StepDownFailed(reason):
                self._observer.stepdown_finished(key, reason)
            case LowerPriorityHeard(source, priority):
                heard = {"source": str(source), "priority": priority}
                self._observer.router_event("lower_priority_heard", fields | heard)
            case DuplicateOwnerHeard(address, by):
                told = f"{address} was announced by {by or 'another host'}"
                heard = {"reason": told, "address": str(address), "mac": by}
                self._warn("duplicate_owner_heard", fields | heard)
            case AddressListDiffers(source, theirs):
                why, listed = "the lists are not the same", ",".join(map(str, theirs))
                self._complain(key, "address_list_differed", why, source=str(source), theirs=listed)
            case ChecksumReadingDiffers(source, pseudo_header):
                advice = checksum_advice(pseudo_header)
                self._complain(key, "checksum_reading_differed", advice, source=str(source))

    def _event(self, key: Key, event: Event, vr: VirtualRouter | None) -> None:
        """Tell of an event that is news; others are ignored."""
        match event:
            case AdvertReceived() if vr is not None:
                self._received(key, event, vr)
            case AdvertRejected(reason, source):
                self._complain(key, "advert_rejected", reason.value, source=source)
            case VipsBound():
                fields = {"interface": key[0], "vrid": key[1]}
                _log.info("vips_bound", **fields)
                self._observer.router_event("vips_bound", fields)
            case VipsFailed(error):
                self._complain(key, "vips_failed", error)
            case VipsLost(addresses):
                lost = ",".join(map(str, addresses))
                self._warn("vips_lost", {"interface": key[0], "vrid": key[1], "addresses": lost})

    def _received(self, key: Key, event: AdvertReceived, vr: VirtualRouter) -> None:
        """An advert that is accepted, but tells of a mistake (RFC 9568 §7.1, erratum 8298)."""
        source, theirs, ours = str(event.source), event.advert.interval, vr.config.advertint
        if theirs != ours:
            said = {"source": source, "theirs": f"{theirs:g} s", "ours": f"{ours:g} s"}
            self._complain(key, "interval_differed", "the intervals are not the same", **said)
        if event.advert.priority == vr.config.priority == OWNER:
            why = "two routers have priority 255"
            self._complain(key, "second_owner_heard", why, source=source)
        if event.source == vr.source:
            why = "another host has this director's address"
            self._complain(key, "own_address_heard", why, source=source)

    def _complain(self, key: Key, event: str, reason: str, **more: str) -> None:
        now = self._clock()
        if now - self._complained.get((key, event, reason), -COMPLAINT_INTERVAL) < (
            COMPLAINT_INTERVAL
        ):
            return
        self._complained[key, event, reason] = now
        self._warn(event, {"interface": key[0], "vrid": key[1], "reason": reason, **more})

    def _warn(self, event: str, fields: dict[str, Any]) -> None:
        _log.warning(event, **fields)
        self._observer.router_event(event, fields, "warning")


def _identity(key: Key, vr: VirtualRouter | None) -> dict[str, Any]:
    return {
        "router": vr.config.name if vr else key[0],
        "interface": key[0],
        "vrid": key[1],
        "family": key[2].name.lower(),
    }
