"""Configurations for tests of the director's core, written in one line each."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from lvsd.core.model import (
    Check,
    CheckKind,
    Config,
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    RealServer,
    RouterConfig,
    ServiceEntry,
    ServiceFlag,
    ServiceKey,
    Vip,
    Virtual,
    VirtualService,
)


def service_key(text: str = "192.0.2.1:80") -> ServiceKey:
    address, _, port = text.rpartition(":")
    return ServiceKey(Family.INET, Protocol.TCP, ip_address(address), int(port))


def real_key(last: int, port: int = 80) -> DestinationKey:
    return DestinationKey(ip_address(f"198.51.100.{last}"), port)


def real(last: int, weight: int = 1, kind: CheckKind = CheckKind.HTTP, **check: Any) -> RealServer:
    key = real_key(last)
    asked = Check(kind, key.address, key.port, **check)
    return RealServer(key, Forwarding.ROUTE, weight, asked, port=key.port)


def virtual(*reals: RealServer, at: str = "192.0.2.1:80", **policy: Any) -> Virtual:
    persistent = policy.pop("persistent", 0)
    flags = ServiceFlag.PERSISTENT if persistent else ServiceFlag.NONE
    service = VirtualService(service_key(at), "wlc", flags, persistent)
    return Virtual(service, reals, **policy)


def router(name: str = "VI_1", *addresses: str, **fields: Any) -> RouterConfig:
    vips = tuple(Vip(ip_address(a), 32) for a in addresses or ("192.0.2.1",))
    return RouterConfig(name, "eth0", fields.pop("vrid", 51), 100, vips, **fields)


def config(*virtuals: Virtual, **fields: Any) -> Config:
    return Config(virtuals=virtuals, path="/lvsd.conf", **fields)


def entry(v: Virtual, **weights: int) -> ServiceEntry:
    """What the kernel holds for `v`: `r4=1` is the real ending in .4 at weight 1."""
    held = {
        key: Destination(key, Forwarding.ROUTE, weight)
        for key, weight in ((real_key(int(name[1:])), w) for name, w in weights.items())
    }
    return ServiceEntry(v.service, held)


def held(entry: ServiceEntry) -> dict[int, int]:
    """Last number of the address → weight."""
    return {key.address.packed[-1]: d.weight for key, d in entry.destinations.items()}
