"""From the table the kernel holds to the table we wish for, in the fewest legal steps.

Order is the point (design: never take capacity away before its replacement stands). First, per
service, everything that adds or raises: a new service directly followed by its destinations, an
edited service, new destinations, destinations whose weight does not fall. Then weights that fall,
then destinations that go, then services that go (the kernel drops their destinations with them).
Each key is touched at most once. Whatever has an edit command is edited in place: scheduler, flags,
timeout, netmask and persistence engine of a service; weight, thresholds, forwarding method and
tunnel of a destination. Only identity (address, port, protocol, mark) means remove and add.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from lvsd.core.listing import destination_words, service_option, service_words
from lvsd.core.model import (
    Destination,
    DestinationKey,
    Forwarding,
    ServiceEntry,
    ServiceFlag,
    ServiceKey,
    Table,
    VirtualService,
)
from lvsd.core.record import dataclass


@dataclass(frozen=True, slots=True)
class NewService:
    """IPVS_CMD_NEW_SERVICE: add a service without destinations."""

    service: VirtualService

    @property
    def key(self) -> ServiceKey:
        """The service touched."""
        return self.service.key


@dataclass(frozen=True, slots=True)
class SetService:
    """IPVS_CMD_SET_SERVICE: edit a service in place; its connections stay."""

    service: VirtualService

    @property
    def key(self) -> ServiceKey:
        """The service touched."""
        return self.service.key


@dataclass(frozen=True, slots=True)
class DelService:
    """IPVS_CMD_DEL_SERVICE: remove a service with all its destinations."""

    key: ServiceKey


@dataclass(frozen=True, slots=True)
class NewDest:
    """IPVS_CMD_NEW_DEST: add a destination to the service `key`."""

    key: ServiceKey
    destination: Destination


@dataclass(frozen=True, slots=True)
class SetDest:
    """IPVS_CMD_SET_DEST: edit a destination of the service `key` in place."""

    key: ServiceKey
    destination: Destination


@dataclass(frozen=True, slots=True)
class DelDest:
    """IPVS_CMD_DEL_DEST: remove a destination from the service `key`."""

    key: ServiceKey
    destination: DestinationKey


Step = NewService | SetService | DelService | NewDest | SetDest | DelDest


def normal_service(service: VirtualService) -> VirtualService:
    """The service without what has no effect, so that equal wishes compare equal.

    HASHED is the kernel's own mark. Timeout and netmask only mean something with PERSISTENT.
    """
    flags = service.flags & ~ServiceFlag.HASHED
    if flags & ServiceFlag.PERSISTENT:
        return service if flags == service.flags else replace(service, flags=flags)
    return replace(service, flags=flags, timeout=0, prefixlen=0)


def normal_destination(destination: Destination) -> Destination:
    """The destination without what has no effect: tunnel details without TUNNEL."""
    if destination.forwarding is Forwarding.TUNNEL:
        return destination
    if destination.tun_type or destination.tun_port or destination.tun_flags:
        return replace(destination, tun_type=0, tun_port=0, tun_flags=0)
    return destination


def plan(actual: Table, desired: Table, owned: Collection[ServiceKey]) -> tuple[Step, ...]:
    """The steps from `actual` to `desired`; empty when there is nothing to do.

    Services in `actual` that are neither desired nor `owned` belong to somebody else and are
    left alone. Linear in the number of entries that are not the same object in both tables.
    """
    rising: list[Step] = []
    falling: list[Step] = []
    leaving: list[Step] = []
    for key, entry in desired.items():
        present = actual.get(key)
        if present is None:
            rising.append(NewService(entry.service))
            rising += (NewDest(key, d) for d in entry.destinations.values())
            continue
        if present is entry:
            continue
        if normal_service(present.service) != normal_service(entry.service):
            rising.append(SetService(entry.service))
        _plan_destinations(key, present, entry, rising, falling, leaving)
    ours = owned if isinstance(owned, set | frozenset | dict) else frozenset(owned)
    leaving += (DelService(key) for key in actual if key in ours and key not in desired)
    return (*rising, *falling, *leaving)


def _plan_destinations(
    key: ServiceKey,
    present: ServiceEntry,
    wished: ServiceEntry,
    rising: list[Step],
    falling: list[Step],
    leaving: list[Step],
) -> None:
    for name, destination in wished.destinations.items():
        old = present.destinations.get(name)
        if old is None:
            rising.append(NewDest(key, destination))
        elif old is not destination and normal_destination(old) != normal_destination(destination):
            later = destination.weight < old.weight
            (falling if later else rising).append(SetDest(key, destination))
    leaving += (
        DelDest(key, name) for name in present.destinations if name not in wished.destinations
    )


def describe(step: Step) -> str:
    """One step as the ipvsadm command that would do the same, numbers only."""
    option = service_option(step.key)
    match step:
        case NewService(service):
            return f"ipvsadm -A {option} {service_words(service)}"
        case SetService(service):
            return f"ipvsadm -E {option} {service_words(service)}"
        case DelService():
            return f"ipvsadm -D {option}"
        case NewDest(_, destination):
            words = destination_words(destination)
            return f"ipvsadm -a {option} -r {destination.key} {words}"
        case SetDest(_, destination):
            words = destination_words(destination)
            return f"ipvsadm -e {option} -r {destination.key} {words}"
    return f"ipvsadm -d {option} -r {step.destination}"
