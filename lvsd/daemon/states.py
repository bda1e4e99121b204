"""A VirtualRouter as the status shows it: from the core's picture and what the kernel lacks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from lvsd.core.packet import virtual_mac
from lvsd.core.vrrp import (
    Key,
    VirtualRouter,
    alarms,
    checksum_reading,
    counters,
    effective_priority,
    notes,
    priority_parts,
    reported_state,
)
from lvsd.daemon.messages import RouterStatus
from lvsd.daemon.punctuality import Punctuality


class Shell(Protocol):
    """Who knows what the core does not."""

    punctuality: Punctuality

    def counters(self, vr: VirtualRouter) -> Mapping[str, int]:
        """What the sockets of a router counted."""

    def notes(self, key: Key) -> list[str]:
        """What a router lacks in the kernel, in words."""


def router_status(vr: VirtualRouter, shell: Shell, since: float) -> RouterStatus:
    """One router now. `since` is the daemon's start, a Unix time."""
    config, now = vr.config, time.monotonic()
    lateness = shell.punctuality.of(config.key)
    late = shell.punctuality.notes(vr, now)
    mac = virtual_mac(config.vrid, config.family).hex(":")
    return RouterStatus(
        name=config.name,
        interface=config.interface,
        vrid=config.vrid,
        family=config.family.name.lower(),
        version=config.version,
        state=reported_state(vr),
        reason=vr.reason,
        since=since if vr.since is None else wall_clock(vr.since),
        priority=config.priority,
        effective_priority=effective_priority(vr),
        master=None if vr.master is None else str(vr.master),
        addresses=[str(v) for v in (*config.addresses, *config.excluded)],
        counters={**counters(vr), **shell.counters(vr), "adverts_late": lateness.late},
        priority_parts=list(priority_parts(vr)),
        last_heard=None if vr.advert_at is None else wall_clock(vr.advert_at),
        last_heard_from=None if vr.heard_from is None else str(vr.heard_from),
        peer_addresses_differ=[str(address) for address in vr.theirs],
        checksum_reading=checksum_reading(vr),
        notes=[*alarms(vr, now), *notes(vr), *shell.notes(config.key), *late],
        routes=[str(route) for route in config.routes],
        rules=[str(rule) for rule in config.rules],
        vmac=mac if config.usevmac else None,
        vmac_interface=config.usevmac or None,
        accept=config.accepts,
        lateness=lateness.lately(now),
        lateness_max=lateness.worst,
    )


def wall_clock(at: float) -> float:
    """A reading of the loop's clock (CLOCK_MONOTONIC) as Unix time."""
    return time.time() - time.monotonic() + at
