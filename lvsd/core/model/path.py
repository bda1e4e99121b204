"""Routes and rules a VirtualRouter installs while MASTER: its paths.

The words are those of iproute2 and of keepalived's virtual_routes and virtual_rules.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from lvsd.core.model.kernel import Family, IPAddress
from lvsd.core.record import dataclass

#: linux/rtnetlink.h. In a VirtualRoute, table 0 is main, or that of the interface's VRF.
TABLES = {"default": 253, "main": 254, "local": 255}
SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
#: Where rules without a priority stand: before main (32766), after what people number by hand.
RULE_PRIORITY = 16384
WHOLE_MARK = 0xFFFFFFFF


class RouteKind(enum.StrEnum):
    """What a route does with a packet."""

    UNICAST = "unicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"


class RuleAction(enum.StrEnum):
    """What a rule does with a packet that matches."""

    LOOKUP = "lookup"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network, or a single host: `address` has no bit set behind `length`."""

    address: IPAddress
    length: int

    def __str__(self) -> str:
        host = self.length == self.address.max_prefixlen
        return str(self.address) if host else f"{self.address}/{self.length}"


@dataclass(frozen=True, slots=True)
class VirtualRoute:
    """A `route=` line. `dev` "" and `table`, `metric` and `mtu` 0 leave the choice to the kernel.

    `scope` None is what iproute2 takes: link without a gateway, else global. Without `track` a
    refusal of the kernel does not end mastership (keepalived's no_track).
    """

    prefix: Prefix
    kind: RouteKind = RouteKind.UNICAST
    via: IPAddress | None = None
    dev: str = ""
    source: IPAddress | None = None
    table: int = 0
    metric: int = 0
    scope: int | None = None
    onlink: bool = False
    mtu: int = 0
    track: bool = True

    @property
    def family(self) -> Family:
        """The family of the destination."""
        return Family.of(self.prefix.address)

    @property
    def identity(self) -> tuple[Prefix, int, int]:
        """What the kernel tells routes apart by."""
        return (self.prefix, self.table, self.metric)

    def __str__(self) -> str:
        return " ".join(self._words())

    def _words(self) -> Iterator[str]:
        if self.kind is not RouteKind.UNICAST:
            yield self.kind
        clear = self.via is not None or self.source is not None
        yield "default" if not self.prefix.length and clear else str(self.prefix)
        if self.via is not None:
            yield f"via {self.via}"
        if self.dev:
            yield f"dev {self.dev}"
        if self.source is not None:
            yield f"src {self.source}"
        if self.table:
            yield f"table {_name(self.table, TABLES)}"
        if self.metric:
            yield f"metric {self.metric}"
        if self.scope is not None:
            yield f"scope {_name(self.scope, SCOPES)}"
        if self.onlink:
            yield "onlink"
        if self.mtu:
            yield f"mtu {self.mtu}"
        if not self.track:
            yield "notrack"


@dataclass(frozen=True, slots=True)
class VirtualRule:
    """A `rule=` line. A selector that is None or "" or 0 matches everything.

    `table` counts where the action is LOOKUP. `track` is as a route's.
    """

    family: Family
    action: RuleAction = RuleAction.LOOKUP
    table: int = 0
    invert: bool = False
    source: Prefix | None = None
    destination: Prefix | None = None
    iif: str = ""
    oif: str = ""
    fwmark: int | None = None
    fwmask: int = WHOLE_MARK
    tos: int = 0
    priority: int = RULE_PRIORITY
    track: bool = True

    def __str__(self) -> str:
        return " ".join(self._words())

    def _words(self) -> Iterator[str]:
        if self.source is None and self.destination is None:
            yield self.family.name.lower()
        if self.invert:
            yield "not"
        if self.source is not None:
            yield f"from {self.source}"
        if self.destination is not None:
            yield f"to {self.destination}"
        if self.iif:
            yield f"iif {self.iif}"
        if self.oif:
            yield f"oif {self.oif}"
        if self.fwmark is not None:
            mask = "" if self.fwmask == WHOLE_MARK else f"/{self.fwmask:#x}"
            yield f"fwmark {self.fwmark:#x}{mask}"
        if self.tos:
            yield f"tos {self.tos:#04x}"
        yield f"priority {self.priority}"
        if self.action is RuleAction.LOOKUP:
            yield f"table {_name(self.table, TABLES)}"
        else:
            yield self.action
        if not self.track:
            yield "notrack"


Path = VirtualRoute | VirtualRule


def _name(number: int, names: dict[str, int]) -> str:
    return next((name for name, n in names.items() if n == number), str(number))
