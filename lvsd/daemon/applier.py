"""Keeps the VIPs in the kernel as the routers wish them: desired → plan → netlink, for ever.
Routes and rules (`paths`) follow the VIPs: added after them, removed before them.

A wish is a level: it is told after every step and costs nothing while it is fulfilled. What the
kernel refuses is tried again, with back-off, against the newest wish. Outcomes go back as events:
VipsBound, VipsReleased, VipsFailed, VipsLost, LeaseRefreshed.

Only what we bound is ever removed. An address found permanent belongs to the operator: it counts
as bound and is left alone (design rule 2). One left by a crash, ours by protocol number and finite
lease, is taken over: kept if it is wished, else removed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace

from lvsd.core.model import IPAddress, Path, Vip
from lvsd.core.record import dataclass
from lvsd.core.vrrp import (
    Event,
    Key,
    LeaseRefreshed,
    VipsBound,
    VipsFailed,
    VipsLost,
    VipsReleased,
)
from lvsd.daemon.paths import Paths
from lvsd.linux import rtnl
from lvsd.linux.interface import BoundAddress
from lvsd.linux.link import Links
from lvsd.linux.rtnl import AddressRequest, AddressSocket

#: Seconds until a refused change is tried again; doubled up to the second.
RETRY_DELAY, RETRY_DELAY_MAX = 0.1, 5.0

#: An address on an interface.
Place = tuple[str, IPAddress]


@dataclass(frozen=True, slots=True)
class Wish:
    """What one router wants: VIPs, their lease in seconds (None for ever), routes and rules.

    `mastership` counts: what one of them left is bound anew for the next, with a whole lease.
    """

    vips: tuple[Vip, ...] = ()
    lease: int | None = None
    paths: tuple[Path, ...] = ()
    mastership: int = 0


_NOTHING = Wish()


@dataclass(slots=True)
class _Holding:
    """One router's wish and what the kernel confirmed of it.

    `held` is ours, with the interface index it was bound to; `foreign` the operator's. `refresh`
    is the prebuilt batch that renews the lease. `bound` means that all VIPs wished are there,
    `told` that this was reported, routes and rules included. `settled` means that everything
    wished is there and everything else is gone.
    """

    wish: Wish = _NOTHING
    held: dict[Vip, int] = field(default_factory=dict)
    foreign: set[Vip] = field(default_factory=set)
    refresh: dict[Vip, AddressRequest] = field(default_factory=dict)
    bound: bool = False
    told: bool = False
    settled: bool = False
    retry_at: float | None = None
    retry_delay: float = RETRY_DELAY

    def change(self, wish: Wish) -> None:
        """Take a new wish; the same one again changes nothing."""
        if wish != self.wish:
            self.bound = self.bound and replace(wish, paths=self.wish.paths) == self.wish
            self.wish = wish
            self.settled = False
            self.retry_at, self.retry_delay = None, RETRY_DELAY

    def settle(self) -> None:
        """The wish is fulfilled."""
        self.settled, self.retry_at, self.retry_delay = True, None, RETRY_DELAY

    def retry(self, now: float) -> None:
        """Try again later."""
        self.settled = False
        self.retry_at = now + self.retry_delay
        self.retry_delay = min(2 * self.retry_delay, RETRY_DELAY_MAX)


class VipApplier:
    """The only writer of our addresses while main lives.

    `report` takes the outcomes; it must queue, not step. `deadline` says when `retry` is due.
    """

    def __init__(
        self,
        links: Links,
        kernel: AddressSocket,
        report: Callable[[Key, Event], None],
        paths: Paths,
    ) -> None:
        self._links = links
        self._kernel = kernel
        self._report = report
        self._paths = paths
        self._holdings: dict[Key, _Holding] = {}
        self._deleted: dict[Place, int] = {}
        #: Counts changes of what is held, so that others need not compare it.
        self.revision = 0
        #: Interfaces on which promote_secondaries was found set or was set by us.
        self._promoted: dict[str, bool] = {}

    def adopt(self, key: Key, vips: Iterable[Vip], *, lease: int | None) -> None:
        """Before the first wish of a router: take over what a crash has left of its VIPs."""
        holding = self._holdings.setdefault(key, _Holding())
        for vip in vips:
            interface = self._links.interface(_device(key, vip))
            found = self._links.find(_device(key, vip), vip.address)
            if interface is not None and found is not None and not _foreign(found, lease):
                holding.held[_as_found(vip, found)] = interface.index

    def wish(self, wishes: Mapping[Key, Wish], now: float) -> None:
        """Make it so. Routers left out hold nothing. All removals come before all additions."""
        due = []
        for key in [*wishes, *(k for k in self._holdings if k not in wishes)]:
            holding = self._holdings.setdefault(key, _Holding())
            holding.change(wishes.get(key, _NOTHING))
            if not holding.settled and (holding.retry_at or now) <= now:
                due.append((key, holding))
        self.revision += bool(due)
        cleared = [self._paths.remove(key, holding.wish.paths) for key, holding in due]
        removed = [self._release(key, holding) for key, holding in due]
        for (key, holding), *done in zip(due, cleared, removed, strict=True):
            complete = not holding.wish.vips or self._fulfil(key, holding)
            if not holding.wish.vips and all(done):
                self._report(key, VipsReleased())
            if complete and all(done):
                holding.settle()
            else:
                holding.retry(now)
        for key in [k for k, h in self._holdings.items() if k not in wishes and h.settled]:
            del self._holdings[key]

    def _fulfil(self, key: Key, holding: _Holding) -> bool:
        """Bind the VIPs, then add routes and rules; whether all of them are there."""
        if not holding.bound:
            holding.told = False
            failures = self._bind(key, holding)
            holding.bound = not failures
            if failures:
                self._report(key, VipsFailed("; ".join(failures)))
                return False
        failures, complete = self._paths.install(key, holding.wish.paths)
        if failures:
            self._report(key, VipsFailed("; ".join(failures), "routes"))
        elif not holding.told:
            self._report(key, VipsBound())
        holding.told = not failures
        return complete

    def doubt(self) -> None:
        """Somebody may have changed a route or a rule: look after them at the next wish."""
        for holding in self._holdings.values():
            if holding.wish.paths:
                holding.settled = False

    def refresh(self, key: Key, now: float) -> None:
        """Renew the lease of everything a router wishes, in one batch."""
        holding = self._holdings.get(key)
        if holding is None or not holding.bound:
            return  # VipsFailed was told and the retry is under way
        failures = self._send(holding, holding.refresh)
        if failures:
            holding.bound = False
            holding.retry(now)
            self._report(key, VipsFailed("; ".join(failures)))
        else:
            self._report(key, LeaseRefreshed())

    def settled(self, key: Key) -> bool:
        """Whether the kernel has exactly what the last wish of a router says."""
        holding = self._holdings.get(key)
        return holding is None or holding.settled

    def departing(self) -> set[IPAddress]:
        """Addresses that the kernel still has from us and that are no longer wished."""
        holdings = self._holdings.values()
        return {v.address for h in holdings for v in h.held if v not in h.wish.vips}

    def deadline(self) -> float | None:
        """When the earliest retry is due."""
        return min((h.retry_at for h in self._holdings.values() if h.retry_at), default=None)

    def address_removed(self, name: str, address: IPAddress) -> None:
        """An address went away: our own doing, or somebody took it from us."""
        place = (name, address)
        if place in self._deleted:
            self._deleted[place] -= 1
            if not self._deleted[place]:
                del self._deleted[place]
            return
        for key, holding in self._holdings.items():
            lost = [
                vip
                for vip in (*holding.held, *holding.foreign)
                if vip.address == address and _device(key, vip) == name
            ]
            if lost and self._links.find(name, address) is None:
                self._lose(key, holding, lost)

    def address_changed(self, name: str, found: BoundAddress) -> None:
        """An address appeared or has other attributes: one made permanent is the operator's now."""
        if not found.permanent:
            return
        for key, holding in self._holdings.items():
            if holding.wish.lease is None:
                continue
            for vip in [v for v in holding.held if v.address == found.address]:
                if _device(key, vip) == name:
                    self.revision += 1
                    del holding.held[vip]
                    holding.refresh.pop(vip, None)
                    holding.foreign.add(vip)

    def interface_changed(self, name: str) -> None:
        """What was bound to an older interface of that name is gone; who waits for it tries."""
        interface = self._links.interface(name)
        for key, holding in self._holdings.items():
            gone = [
                vip
                for vip, index in holding.held.items()
                if _device(key, vip) == name and (interface is None or interface.index != index)
            ]
            if gone:
                self._follow(holding, gone)
                self._lose(key, holding, gone)
            if any(_device(key, vip) == name for vip in holding.wish.vips):
                holding.retry_at = None
        if interface is None:
            self._promoted.pop(name, None)
        self.doubt()

    def links_dumped(self) -> None:
        """Events may have been missed: compare everything held with the fresh view."""
        self._deleted.clear()
        self.doubt()
        for key, holding in self._holdings.items():
            lost = [
                vip
                for vip in (*holding.held, *holding.foreign)
                if self._links.find(_device(key, vip), vip.address) is None
            ]
            if lost:
                self._lose(key, holding, lost)

    def deletions(self, key: Key, vips: Iterable[Vip], paths: Sequence[Path]) -> tuple[bytes, ...]:
        """Prebuilt removal of what a router holds or is about to bind; the operator's left out.

        Worth asking again when `revision` has changed.
        """
        holding = self._holdings.get(key, _Holding())
        requests = [*self._paths.deletions(key, paths)]
        for vip in dict.fromkeys((*holding.held, *vips)):
            device = _device(key, vip)
            interface = self._links.interface(device)
            found = self._links.find(device, vip.address)
            operators = vip not in holding.held and found is not None and found.permanent
            if interface is not None and not operators and vip not in holding.foreign:
                requests.append(rtnl.delete_address(vip, interface.index).message)
        return tuple(requests)

    def _release(self, key: Key, holding: _Holding) -> bool:
        """Remove what is held and no longer wished; whether all of it is gone."""
        wished = {
            (_device(k, v), v.address) for k, h in self._holdings.items() for v in h.wish.vips
        }
        surplus = [vip for vip in holding.held if vip not in holding.wish.vips]
        # Moved to another router, or another prefix length of the same address: not taken away.
        doomed = [vip for vip in surplus if (_device(key, vip), vip.address) not in wished]
        requests = [rtnl.delete_address(vip, holding.held[vip]) for vip in doomed]
        failed = set()
        for vip, code in zip(doomed, self._kernel.send(requests), strict=True):
            if code == 0:
                place = (_device(key, vip), vip.address)
                self._deleted[place] = self._deleted.get(place, 0) + 1
            elif code not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                failed.add(vip)
        for vip in surplus:
            if vip not in failed:
                del holding.held[vip]
        return not failed

    def _bind(self, key: Key, holding: _Holding) -> list[str]:
        """Add what is wished; each failure in words."""
        failures: list[str] = []
        batch: dict[Vip, AddressRequest] = {}
        holding.foreign.clear()
        for vip in holding.wish.vips:
            device = _device(key, vip)
            interface = self._links.interface(device)
            found = self._links.find(device, vip.address)
            if interface is None:
                failures.append(f"{vip}: interface {device} does not exist")
            elif found and vip not in holding.held and _foreign(found, holding.wish.lease):
                holding.foreign.add(vip)
            elif reason := self._refusal(device, vip):
                failures.append(f"{vip}: {reason}")
            else:
                batch[vip] = rtnl.new_address(vip, interface.index, holding.wish.lease)
                holding.held[vip] = interface.index
        failures += self._send(holding, batch)
        holding.refresh = batch
        return failures

    def _send(self, holding: _Holding, batch: Mapping[Vip, AddressRequest]) -> list[str]:
        """Send additions; each failure in words. What failed is not held."""
        failures = []
        for vip, code in zip(batch, self._kernel.send([*batch.values()]), strict=True):
            if code:
                failures.append(f"{vip}: {os.strerror(code)}")
                holding.held.pop(vip, None)
        return failures

    def _follow(self, holding: _Holding, gone: Iterable[Vip]) -> None:
        """Take addresses away from an interface that goes on under another name."""
        indexes = [(vip, holding.held[vip]) for vip in gone]
        self._kernel.send(
            [rtnl.delete_address(vip, i) for vip, i in indexes if self._links.exists(i)]
        )

    def _lose(self, key: Key, holding: _Holding, lost: Iterable[Vip]) -> None:
        """Forget what is gone. The wish stands, so the next `wish` binds it again."""
        self.revision += 1
        gone = list(lost)
        for vip in gone:
            holding.held.pop(vip, None)
            holding.foreign.discard(vip)
        holding.bound = holding.settled = False
        addresses = tuple(vip.address for vip in gone if vip in holding.wish.vips)
        if addresses:
            self._report(key, VipsLost(addresses))

    def _refusal(self, device: str, vip: Vip) -> str:
        """Why a VIP must not be bound, "" when it may.

        A VIP wider than one host needs promote_secondaries: removing it would else take the
        subnet's other addresses along.
        """
        if vip.prefixlen == vip.address.max_prefixlen or vip.address.version == 6:
            return ""
        if device not in self._promoted:
            try:
                rtnl.promote_secondaries(device)
            except OSError as error:
                return f"promote_secondaries cannot be set on {device}: {error.strerror}"
            self._promoted[device] = True
        return ""


def _device(key: Key, vip: Vip) -> str:
    return vip.dev or key[0]


def _foreign(found: BoundAddress, lease: int | None) -> bool:
    """Whether an address found is the operator's: permanent, unless we bind without lease too."""
    return found.permanent and not (lease is None and found.protocol == rtnl.PROTOCOL_VRRP)


def _as_found(vip: Vip, found: BoundAddress) -> Vip:
    """The VIP with the prefix length the kernel has, for a crash may predate a reconfiguration."""
    if vip.prefixlen == found.prefixlen:
        return vip
    return Vip(vip.address, found.prefixlen, vip.dev, vip.label, vip.scope)
