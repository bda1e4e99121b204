"""What a router sees of the host it runs on: its interface, and where its adverts come from."""

from __future__ import annotations

from collections.abc import Iterable

from lvsd.core.model import Family, IPAddress, RouterConfig, TrackKind, Vip
from lvsd.linux.link import Links


class Surroundings:
    """The present view of the kernel in the words of the core's events."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def link(self, name: str) -> tuple[bool, bool]:
        """Whether an interface is up, and whether there is one."""
        interface = self._links.interface(name)
        return interface is not None and interface.up, interface is not None

    def source(self, config: RouterConfig) -> IPAddress | None:
        """The address to send adverts from; None while there is none."""
        if config.source is not None:
            found = self._links.find(config.interface, config.source)
            return None if found is None else config.source
        vips = {vip.address for vip in vips_of(config)}
        return self._links.source(config.interface, Family(config.family), vips)


def vips_of(config: RouterConfig) -> tuple[Vip, ...]:
    """Everything to install, advertised first."""
    return (*config.addresses, *config.excluded)


def interfaces_of(configs: Iterable[RouterConfig]) -> set[str]:
    """The interfaces that routers run on or track."""
    names = set()
    for config in configs:
        names.add(config.interface)
        names.update(t.name for t in config.tracks if t.kind is TrackKind.INTERFACE)
    return names
