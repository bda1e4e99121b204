"""Keeps the macvlans of `usevmac=` as the routers wish them; the only one to write them.

A macvlan is made when its router is configured and removed with it, or at the end. It is raised
for the first advert of a MASTER and lowered when the last VIP is gone: a BACKUP must not receive
what is sent to the virtual MAC (RFC 5798 §6.4.2), and lowered it is not even in the card's filter.

Ours is what we made, or what looks exactly like it (`macvlan.is_ours`): a crash may have left it.
Anything else of that name is the operator's: a fault, and never touched.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from lvsd import log
from lvsd.core.model import RouterConfig
from lvsd.core.packet import virtual_mac
from lvsd.core.record import dataclass
from lvsd.core.vrrp import Event, Key, VmacChanged
from lvsd.linux import KernelError, macvlan
from lvsd.linux.interface import Interface
from lvsd.linux.link import Links
from lvsd.linux.rtnl import AddressSocket

#: Macvlans made in one turn of the loop; each takes a millisecond.
BUDGET = 4
#: Seconds until what the kernel refused is tried again.
RETRY_DELAY = 5.0

_log = log.get()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one router needs. `ipv6` says that one of its addresses is an IPv6 one."""

    name: str
    base: str
    mac: bytes
    ipv6: bool

    @property
    def identity(self) -> tuple[str, str, bytes]:
        """What an existing macvlan is recognised by."""
        return (self.name, self.base, self.mac)


class Vmacs:
    """All macvlans of this process. `report` takes `VmacChanged` events; it must queue."""

    def __init__(
        self,
        links: Links,
        kernel: AddressSocket,
        report: Callable[[Key, Event], None],
        wake: Callable[[], None],
    ) -> None:
        self._links = links
        self._kernel = kernel
        self._report = report
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._errands = macvlan.Errands(self._errand_done)
        self._wanted: dict[Key, Wanted] = {}
        self._told: dict[Key, str | None] = {}
        #: Refusals of the kernel, and when it is asked again.
        self._refused: dict[Key, tuple[str, float]] = {}
        #: Indexes of ours, with what they were made for; those being removed.
        self._ours: dict[int, Wanted] = {}
        self._removing: set[int] = set()
        #: Interfaces below, and their settings as they were.
        self._bases: dict[str, dict[str, str]] = {}

    def fit(self, configs: Iterable[RouterConfig], now: float) -> None:
        """Have the macvlans of these routers, and tell the routers how it stands."""
        self._wanted = {c.key: _wanted(c) for c in configs if c.usevmac}
        if not (self._wanted or self._told or self._ours):
            return
        for key in self._told.keys() - self._wanted.keys():
            del self._told[key]
            self._refused.pop(key, None)
        self._ours = {i: wanted for i, wanted in self._ours.items() if self._links.exists(i)}
        self._removing &= self._ours.keys()
        made = 0
        for key, wanted in self._wanted.items():
            made += self._have(key, wanted, now)
            if made == BUDGET:
                self._wake()
                break

    def acquaint(self, key: Key) -> None:
        """Tell a router that is new what is known already."""
        if key in self._told:
            self._report(key, VmacChanged(self._told[key]))

    def rise(self, key: Key, now: float) -> None:
        """Raise the macvlan of a router that is, or is about to be, MASTER."""
        wanted = self._wanted.get(key)
        found = None if wanted is None else self._links.interface(wanted.name)
        if found is None or found.index not in self._ours:
            return
        if not self._errands.withdraw(found.index):
            return  # it is being lowered this moment; the end of that wakes us
        if not found.raised:
            (code,) = self._kernel.send([macvlan.raising(found.index, True)])
            if code:
                self._refuse(key, f"{found.name} cannot be raised: {os.strerror(code)}", now)
            self._links.catch_up()

    def lower(self, idle: Iterable[Key]) -> None:
        """Lower the macvlans of routers that hold nothing, and remove those of no router."""
        for key in idle:
            wanted = self._wanted.get(key)
            found = None if wanted is None else self._links.interface(wanted.name)
            if found is not None and found.raised and found.index in self._ours:
                self._errands.put(found.index, macvlan.raising(found.index, False))
        wished = {wanted.identity for wanted in self._wanted.values()}
        for index, wanted in self._ours.items():
            if wanted.identity not in wished and index not in self._removing:
                self._removing.add(index)
                self._errands.put(index, macvlan.removal(index))
        bases = {wanted.base for wanted in self._wanted.values()}
        for base in [base for base in self._bases if base not in bases]:
            self._restore(base)

    def deadline(self) -> float | None:
        """When something refused is tried again."""
        return min((at for _, at in self._refused.values()), default=None)

    def lowering(self, key: Key) -> tuple[bytes, ...]:
        """The prebuilt request that lowers a router's macvlan."""
        wanted = self._wanted.get(key)
        found = None if wanted is None else self._links.interface(wanted.name)
        if found is None or found.index not in self._ours:
            return ()
        return (macvlan.raising(found.index, False).message,)

    def removals(self) -> tuple[bytes, ...]:
        """The prebuilt requests that remove all of ours."""
        return tuple(macvlan.removal(index).message for index in sorted(self._ours))

    def put_away(self) -> None:
        """At the end, when no router holds anything: remove all of ours, and wait for it."""
        self._errands.close()
        if self._ours:
            self._kernel.send([macvlan.removal(index) for index in self._ours])
        self._ours = {}
        for base in [*self._bases]:
            self._restore(base)

    def _have(self, key: Key, wanted: Wanted, now: float) -> bool:
        """Make or recognise one, and tell; whether it was made."""
        refused, until = self._refused.get(key, ("", now))
        if now < until:
            self._tell(key, refused)
            return False
        self._refused.pop(key, None)
        base, found = self._links.interface(wanted.base), self._links.interface(wanted.name)
        making = base is not None and found is None
        if base is not None and making:
            found = self._make(key, wanted, base, now)
        if base is None or found is None or found.index in self._removing:
            self._tell(key, self._refused[key][0] if key in self._refused else None)
        elif not macvlan.is_ours(found, base.index, wanted.mac):
            what = f"a private macvlan {wanted.mac.hex(':')} on {wanted.base}"
            problem = f"interface {wanted.name} exists and is not this router's, {what}"
            self._tell(key, None if found.index in self._ours else problem)
        elif self._ours.get(found.index) == wanted or self._prepare(key, wanted, found, now):
            self._tell(key, "")
        return making

    def _make(self, key: Key, wanted: Wanted, base: Interface, now: float) -> Interface | None:
        vrf = base.master if self._links.vrf_table(wanted.base) else 0
        (code,) = self._kernel.send([macvlan.make(wanted.name, base.index, wanted.mac, vrf)])
        if code:
            self._refuse(key, f"cannot make {wanted.name}: {os.strerror(code)}", now)
        self._links.catch_up()
        return self._links.interface(wanted.name)

    def _prepare(self, key: Key, wanted: Wanted, found: Interface, now: float) -> bool:
        """Settings, before the first address; whether all of them could be made."""
        try:
            macvlan.configure(wanted.name, found.index, self._kernel, ipv6=wanted.ipv6)
            if wanted.base not in self._bases:
                self._bases[wanted.base] = macvlan.keep_to_own(wanted.base)
        except KernelError as error:
            self._refuse(key, str(error), now)
            self._tell(key, str(error))
            return False
        self._ours[found.index] = wanted
        return True

    def _refuse(self, key: Key, problem: str, now: float) -> None:
        self._refused[key] = (problem, now + RETRY_DELAY)
        self._tell(key, problem)

    def _tell(self, key: Key, problem: str | None) -> None:
        if key not in self._told or self._told[key] != problem:
            self._told[key] = problem
            self._report(key, VmacChanged(problem))

    def _restore(self, base: str) -> None:
        before = self._bases.pop(base)
        try:
            macvlan.set_back(base, before)
        except KernelError as error:
            if self._links.interface(base) is not None:
                _log.warning("sysctl_failed", error=str(error))

    def _errand_done(self, index: int, code: int) -> None:
        """In the thread of the errands."""
        self._loop.call_soon_threadsafe(self._wake)


def _wanted(config: RouterConfig) -> Wanted:
    vips = config.addresses + config.excluded
    return Wanted(
        config.usevmac,
        config.interface,
        virtual_mac(config.vrid, config.family),
        any(vip.address.version == 6 for vip in vips if vip.dev == config.usevmac),
    )
