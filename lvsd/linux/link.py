"""Interfaces and addresses as the kernel has them, followed through rtnetlink events.

Asking (`rtnl`) and listening (`monitor`) are two sockets: one bound to event groups must never
carry requests, because replies are matched by sequence number only and notifications carry the
requester's. Whatever goes wrong with the event socket (an overrun, above all) has one answer:
open a new one, dump everything again. The listener is told after each change and
after each fresh dump; it reads the present state from here and never from the event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

from lvsd.core import packet
from lvsd.core.model import Family, IPAddress
from lvsd.linux.interface import (
    BoundAddress,
    Interface,
    address_messages,
    interface_messages,
    read_address,
    read_interface,
)
from lvsd.linux.monitor import DELADDR, DELLINK, NEWADDR, NEWLINK, Monitor
from lvsd.linux.rtnl import PROTOCOL_VRRP, AddressSocket

_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
_SCOPE_HOST = 254
#: Seconds before a broken monitor is opened again, doubled up to the second.
_REOPEN_DELAY, _REOPEN_DELAY_MAX = 0.05, 5.0
#: Addresses read before the loop has its turn: some milliseconds.
_CHUNK = 200


class Listener(Protocol):
    """Whoever wants to know. Called from the loop; must not block."""

    def interface_changed(self, name: str) -> None:
        """Something about this interface or its addresses is, or may be, different."""

    def address_changed(self, name: str, entry: BoundAddress) -> None:
        """An address appeared, or has other attributes than before."""

    def address_removed(self, name: str, address: IPAddress) -> None:
        """The kernel removed an address (deleted by anyone, or its lease ran out)."""

    def links_dumped(self) -> None:
        """The view was read afresh; single changes may have gone unseen."""

    def monitor_lost(self, error: str) -> None:
        """The event socket broke; it is being opened again."""


class Links:
    """The present view. `read` it once, then run `watch` as a task."""

    def __init__(self, listener: Listener) -> None:
        self.dumps = 0
        self._listener = listener
        self._interfaces: dict[int, Interface] = {}
        self._index: dict[str, int] = {}
        self._addresses: dict[int, dict[tuple[IPAddress, int], BoundAddress]] = {}
        #: The same by address alone; with several prefix lengths, the one seen last.
        self._found: dict[tuple[int, IPAddress], BoundAddress] = {}
        self._monitor: Monitor | None = None
        self._readable = asyncio.Event()
        #: The error that `catch_up` met, for `watch` to deal with.
        self._overrun: OSError | None = None
        self._followers: Mapping[int, Callable[[bytes], Iterable[str]]] = {
            NEWLINK: self._link_added,
            DELLINK: self._link_removed,
            NEWADDR: self._address_added,
            DELADDR: self._address_removed,
        }

    def interface(self, name: str) -> Interface | None:
        """The interface of that name, None while there is none."""
        return self._interfaces.get(self._index.get(name, 0))

    def ours(self, mac: bytes) -> bool:
        """Whether an interface of this network namespace, whichever, has this MAC.

        A virtual router's is not ours alone.
        """
        if not any(mac) or packet.is_virtual_mac(mac):
            return False
        return any(mac == interface.mac for interface in self._interfaces.values())

    def exists(self, index: int) -> bool:
        """Whether there is an interface of that index, under whatever name."""
        return index in self._interfaces

    def vrf_table(self, name: str) -> int:
        """The routing table of the VRF an interface belongs to, 0 where it is in none."""
        interface = self.interface(name)
        master = None if interface is None else self._interfaces.get(interface.master)
        return 0 if master is None else master.table

    def addresses(self, name: str) -> tuple[BoundAddress, ...]:
        """Its addresses, in the kernel's order."""
        return tuple(self._addresses.get(self._index.get(name, 0), {}).values())

    def find(self, name: str, address: IPAddress) -> BoundAddress | None:
        """The entry of an address on that interface, whatever its prefix length."""
        return self._found.get((self._index.get(name, 0), address))

    def source(
        self, name: str, family: Family, vips: Collection[IPAddress] = ()
    ) -> IPAddress | None:
        """Where adverts come from unless configured: first IPv4 address or the link-local one.

        Addresses in `vips`, leased ones and those that are not (yet) usable do not count.
        """
        for entry in self.addresses(name):
            if Family.of(entry.address) is not family or entry.address in vips:
                continue
            if entry.flags & (_IFA_F_DADFAILED | _IFA_F_TENTATIVE):
                continue
            if entry.protocol == PROTOCOL_VRRP and not entry.permanent:
                continue
            if family is Family.INET6 and not entry.address.is_link_local:
                continue
            if entry.scope != _SCOPE_HOST:
                return entry.address
        return None

    def forwarding(self, name: str) -> bool:
        """Whether the interface forwards IPv6, which its neighbour advertisements must say."""
        try:
            with open(f"/proc/sys/net/ipv6/conf/{name}/forwarding") as setting:
                return setting.read().strip() != "0"
        except OSError:
            return False

    def read(self) -> None:
        """Listen, and dump what there is, before anything is due. Raises OSError."""
        for _ in self._read():
            pass

    async def _read_again(self) -> None:
        """The same a little at a time, for adverts are due meanwhile. The old view stays for it."""
        for _ in self._read():
            await asyncio.sleep(0)

    def _read(self) -> Iterator[None]:
        self.close()
        self._overrun = None
        # Events first, dump second: a change in between is seen twice rather than never.
        with contextlib.ExitStack() as unfinished:
            monitor = Monitor()
            unfinished.callback(monitor.close)
            requests = unfinished.enter_context(contextlib.closing(AddressSocket()))
            fresh = Links(self._listener)
            for message in [*interface_messages(requests)]:
                fresh._link_added(message)
            for number, message in enumerate(address_messages(requests), 1):
                fresh._store(message)
                if number % _CHUNK == 0:
                    yield
            requests.close()
            unfinished.pop_all()
        news = [*fresh._unlike(self)]
        self._interfaces, self._index = fresh._interfaces, fresh._index
        self._addresses, self._found = fresh._addresses, fresh._found
        self._monitor = monitor
        self.dumps += 1
        for name, entry in news:
            self._listener.address_changed(name, entry)

    def _unlike(self, older: Links) -> Iterator[tuple[str, BoundAddress]]:
        """The addresses that are not as an older view had them."""
        for index, entries in self._addresses.items():
            known = older._addresses.get(index, {})
            for key, entry in entries.items():
                if known.get(key) != entry:
                    yield from ((name, entry) for name in self._names(index))

    async def watch(self) -> None:
        """Follow events for ever; on any failure start over with a fresh dump."""
        delay = _REOPEN_DELAY
        while True:
            try:
                if self._monitor is None:
                    await self._read_again()
                    self._listener.links_dumped()
                    delay = _REOPEN_DELAY
                await self._follow()
            except OSError as error:
                self.close()
                self._listener.monitor_lost(str(error))
                await asyncio.sleep(delay)
                delay = min(2 * delay, _REOPEN_DELAY_MAX)

    def catch_up(self) -> None:
        """Follow what is queued now: what was asked on another socket and acknowledged is in it."""
        if self._monitor is None or self._overrun is not None:
            return
        try:
            for kind, message in self._monitor.receive():
                self._take(kind, message)
        except OSError as error:
            self._overrun = error
            self._readable.set()

    def close(self) -> None:
        """Give the event socket back."""
        if self._monitor is not None:
            self._monitor.close()
        self._monitor = None

    async def _follow(self) -> None:
        monitor, loop = self._monitor, asyncio.get_running_loop()
        if monitor is None:
            return
        readable, descriptor = self._readable, monitor.fileno()
        loop.add_reader(descriptor, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                if self._overrun is not None:
                    raise self._overrun
                for kind, message in monitor.receive():
                    self._take(kind, message)
        finally:
            loop.remove_reader(descriptor)

    def _take(self, kind: int, message: bytes) -> None:
        follow = self._followers.get(kind)
        names = () if follow is None else follow(message)
        for name in names:
            self._listener.interface_changed(name)

    def _link_added(self, message: bytes) -> Iterable[str]:
        added = read_interface(message)
        if added is None:
            return ()
        index, name = added.index, added.name
        old = self._interfaces.get(index)
        if old == added:
            return ()
        if old is not None and old.name != name and self._index.get(old.name) == index:
            del self._index[old.name]
        self._interfaces[index] = added
        self._index[name] = index
        return {name} if old is None else {name, old.name}

    def _link_removed(self, message: bytes) -> Iterable[str]:
        removed = read_interface(message)
        if removed is None:
            return ()
        known = self._interfaces.pop(removed.index, None)
        for address, _ in self._addresses.pop(removed.index, {}):
            self._found.pop((removed.index, address), None)
        if known is None:
            return ()
        if self._index.get(known.name) == known.index:
            del self._index[known.name]
        return (known.name,)

    def _address_added(self, message: bytes) -> Iterable[str]:
        stored = self._store(message)
        if stored is None:
            return ()
        index, entry = stored
        names = self._names(index)
        for name in names:
            self._listener.address_changed(name, entry)
        return names

    def _store(self, message: bytes) -> tuple[int, BoundAddress] | None:
        """Take an address into the view; None where it is in it already."""
        told = read_address(message)
        if told is None:
            return None
        index, entry = told
        mine = self._addresses.setdefault(index, {})
        key = (entry.address, entry.prefixlen)
        if mine.get(key) == entry:  # a refreshed lease changes nothing
            return None
        mine[key] = entry
        self._found[index, entry.address] = entry
        return told

    def _address_removed(self, message: bytes) -> Iterable[str]:
        told = read_address(message)
        if told is None:
            return ()
        index, entry = told
        mine = self._addresses.get(index, {})
        mine.pop((entry.address, entry.prefixlen), None)
        self._found.pop((index, entry.address), None)
        for other in [e for e in mine.values() if e.address == entry.address]:
            self._found[index, other.address] = other
        names = self._names(index)
        for name in names:
            self._listener.address_removed(name, entry.address)
        return names

    def _names(self, index: int) -> tuple[str, ...]:
        interface = self._interfaces.get(index)
        return () if interface is None else (interface.name,)
