"""Routes and rules through rtnetlink, as prebuilt bytes, and a dump of those that are ours.

Ours are told from the operator's by protocol 18 (RTPROT_KEEPALIVED), which every request carries:
an addition never replaces anything (NLM_F_EXCL), and a removal finds nothing but ours. Not every
kernel compares the protocol of a rule, so one that was there already must not be asked away.
linux/rtnetlink.h, linux/fib_rules.h, net/ipv4/fib_trie.c, net/ipv6/route.c.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from dataclasses import replace

from lvsd.core.model import (
    Family,
    IPAddress,
    Prefix,
    RouteKind,
    RuleAction,
    VirtualRoute,
    VirtualRule,
)
from lvsd.core.model.path import WHOLE_MARK
from lvsd.core.record import dataclass
from lvsd.linux.rtnl import (
    PROTOCOL_VRRP,
    AddressRequest,
    AddressSocket,
    attribute,
    attributes,
    text,
    word,
)

NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWRULE, DELRULE, GETRULE = 32, 33, 34
_REQUEST = 0x1
_REPLACE, _EXCL, _CREATE = 0x100, 0x200, 0x400
_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=8BI")  # also fib_rule_hdr, with other names
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _TABLE = 1, 4, 5, 6, 7, 8, 15
_RTAX_MTU = 2
_FRA_DST, _FRA_SRC, _FRA_IIF, _FRA_PRIORITY, _FRA_FWMARK = 1, 2, 3, 6, 10
_FRA_TABLE, _FRA_FWMASK, _FRA_OIF, _FRA_PROTOCOL = 15, 16, 17, 21
_INVERT, _ONLINK = 2, 4
_LINK, _NOWHERE = 253, 255
_MAIN = 254
#: What IPv6 makes of a metric of 0.
_METRIC6 = 1024
_SOL_NETLINK, _STRICT_CHECK = (
    270,
    12,
)  # NETLINK_GET_STRICT_CHK: the kernel itself leaves out what is not ours
_KINDS = {
    1: RouteKind.UNICAST,
    6: RouteKind.BLACKHOLE,
    7: RouteKind.UNREACHABLE,
    8: RouteKind.PROHIBIT,
    9: RouteKind.THROW,
}
_ACTIONS = {
    1: RuleAction.LOOKUP,
    6: RuleAction.BLACKHOLE,
    7: RuleAction.UNREACHABLE,
    8: RuleAction.PROHIBIT,
}


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A route as the kernel has it: every default filled in. `index` 0 means any interface."""

    prefix: Prefix
    kind: RouteKind
    table: int
    metric: int
    via: IPAddress | None = None
    index: int = 0
    source: IPAddress | None = None
    scope: int = 0
    onlink: bool = False
    mtu: int = 0
    protocol: int = PROTOCOL_VRRP

    @property
    def identity(self) -> tuple[Prefix, int, int]:
        """What the kernel tells routes apart by."""
        return (self.prefix, self.table, self.metric)


def entry(route: VirtualRoute, index: int, table: int) -> RouteEntry:
    """What a VirtualRoute becomes on the interface of that index, or on any for 0.

    `table` is where a route without one of its own goes.
    """
    ipv6 = route.family is Family.INET6
    scope = route.scope
    if scope is None:
        scope = _LINK if route.kind is RouteKind.UNICAST and route.via is None else 0
    return RouteEntry(
        prefix=route.prefix,
        kind=route.kind,
        table=route.table or table or _MAIN,
        metric=route.metric or (_METRIC6 if ipv6 else 0),
        via=route.via,
        index=index,
        source=route.source,
        scope=0 if ipv6 else scope,
        onlink=route.onlink,
        mtu=route.mtu,
    )


def same(wished: RouteEntry, found: RouteEntry) -> bool:
    """Whether a route found is what was wished; the kernel chooses the interface for index 0."""
    return replace(found, index=wished.index if not wished.index else found.index) == wished


# --- requests ---------------------------------------------------------------------------------


def new_route(route: RouteEntry) -> AddressRequest:
    """Add a route; EEXIST where there is one of that destination, table and metric."""
    return _request(NEWROUTE, _CREATE | _EXCL, _route(route, route.scope))


def delete_route(route: RouteEntry) -> AddressRequest:
    """Remove a route, if it is ours; ESRCH where there is none."""
    return _request(DELROUTE, 0, _route(route, _NOWHERE))


def new_rule(rule: VirtualRule) -> AddressRequest:
    """Add a rule; EEXIST where there is the same one."""
    return _request(NEWRULE, _CREATE | _EXCL, _rule(rule))


def delete_rule(rule: VirtualRule) -> AddressRequest:
    """Remove a rule; ENOENT where there is none."""
    return _request(DELRULE, 0, _rule(rule))


def _request(kind: int, flags: int, body: bytes) -> AddressRequest:
    return AddressRequest(
        _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body
    )


def _route(route: RouteEntry, scope: int) -> bytes:
    address = route.prefix.address
    kind = next(number for number, name in _KINDS.items() if name is route.kind)
    flags = _ONLINK if route.onlink else 0
    table = route.table if route.table < 256 else 0
    head = (Family.of(address), route.prefix.length, 0, 0, table, PROTOCOL_VRRP, scope, kind)
    body = _RTMSG.pack(*head, flags) + _number(_TABLE, route.table)
    if route.prefix.length:
        body += attribute(_DST, address.packed)
    if route.via is not None:
        body += attribute(_GATEWAY, route.via.packed)
    if route.index:
        body += _number(_OIF, route.index)
    if route.source is not None:
        body += attribute(_PREFSRC, route.source.packed)
    if route.metric:
        body += _number(_PRIORITY, route.metric)
    if route.mtu:
        body += attribute(_METRICS, _number(_RTAX_MTU, route.mtu))
    return body


def _rule(rule: VirtualRule) -> bytes:
    action = next(number for number, name in _ACTIONS.items() if name is rule.action)
    lengths = [0 if p is None else p.length for p in (rule.destination, rule.source)]
    table = rule.table if rule.table < 256 else 0
    head = (rule.family, *lengths, rule.tos, table, 0, 0, action)
    body = _RTMSG.pack(*head, _INVERT if rule.invert else 0)
    body += _number(_FRA_PRIORITY, rule.priority) + attribute(_FRA_PROTOCOL, bytes([18]))
    if rule.table:
        body += _number(_FRA_TABLE, rule.table)
    for kind, prefix in ((_FRA_DST, rule.destination), (_FRA_SRC, rule.source)):
        if prefix is not None and prefix.length:
            body += attribute(kind, prefix.address.packed)
    for kind, name in ((_FRA_IIF, rule.iif), (_FRA_OIF, rule.oif)):
        if name:
            body += attribute(kind, name.encode("utf-8", "surrogateescape") + b"\0")
    if rule.fwmark is not None:
        body += _number(_FRA_FWMARK, rule.fwmark) + _number(_FRA_FWMASK, rule.fwmask)
    return body


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


# --- what is there ----------------------------------------------------------------------------


class RouteSocket(AddressSocket):
    """A route socket that dumps routes and rules."""

    def __init__(self) -> None:
        super().__init__()
        #: The port by which notifications name who asked.
        self.port: int = self._socket.getsockname()[0]
        with contextlib.suppress(OSError):  # before Linux 4.20 we leave it out ourselves
            self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)

    def routes(self) -> list[RouteEntry]:
        """Our routes of both families and all tables. Raises OSError."""
        found = []
        for family in Family:
            head = (family, 0, 0, 0, 0, PROTOCOL_VRRP, 0, 0)
            for message in self.dump(GETROUTE, _RTMSG.pack(*head, 0)):
                route = read_route(message)
                if route is not None and route.protocol == PROTOCOL_VRRP:
                    found.append(route)
        return found

    def rules(self) -> list[VirtualRule]:
        """Our rules of both families. Raises OSError."""
        found = []
        for family in Family:
            for message in self.dump(GETRULE, _RTMSG.pack(family, *[0] * 7, 0)):
                rule = _read_rule(message)
                if rule is not None:
                    found.append(rule)
        return found


def replacement(message: bytes) -> RouteEntry | None:
    """The route of a notification that says that it replaced another one."""
    _, kind, flags, _, _ = _HEADER.unpack_from(message)
    return read_route(message) if kind == NEWROUTE and flags & _REPLACE else None


def is_removal(message: bytes) -> bool:
    """Whether a notification is of a route or rule that was removed."""
    return _HEADER.unpack_from(message)[1] in (DELROUTE, DELRULE)


def read_route(message: bytes) -> RouteEntry | None:
    """A route out of a dump or a notification; None for a kind that is never ours."""
    family, length, _, _, table, protocol, scope, kind, flags = _RTMSG.unpack_from(message, 16)
    if kind not in _KINDS or family not in set(Family):
        return None
    found = dict(attributes(message, 16 + _RTMSG.size))
    unicast = _KINDS[kind] is RouteKind.UNICAST
    index = word(found.get(_OIF)) if unicast else 0  # a blackhole of IPv6 is said to be on lo
    return RouteEntry(
        prefix=_prefix(family, found.get(_DST), length),
        kind=_KINDS[kind],
        table=word(found.get(_TABLE)) or table,
        metric=word(found.get(_PRIORITY)),
        via=_address(found.get(_GATEWAY)),
        index=index,
        source=_address(found.get(_PREFSRC)),
        scope=scope,
        onlink=bool(flags & _ONLINK),
        mtu=word(dict(attributes(found.get(_METRICS, b""))).get(_RTAX_MTU)),
        protocol=protocol,
    )


def _read_rule(message: bytes) -> VirtualRule | None:
    """A rule of ours, else None."""
    head = _RTMSG.unpack_from(message, 16)
    family, to_length, from_length, tos, table, _, _, action, flags = head
    found = dict(attributes(message, 16 + _RTMSG.size))
    if found.get(_FRA_PROTOCOL, b"\0")[0] != PROTOCOL_VRRP or action not in _ACTIONS:
        return None
    mark = found.get(_FRA_FWMARK)
    mask = found.get(_FRA_FWMASK)
    return VirtualRule(
        family=Family(family),
        action=_ACTIONS[action],
        table=word(found.get(_FRA_TABLE)) or table,
        invert=bool(flags & _INVERT),
        source=_prefix(family, found.get(_FRA_SRC), from_length) if from_length else None,
        destination=_prefix(family, found.get(_FRA_DST), to_length) if to_length else None,
        iif=text(found.get(_FRA_IIF)),
        oif=text(found.get(_FRA_OIF)),
        fwmark=None if mark is None and mask is None else word(mark),
        fwmask=WHOLE_MARK if mask is None else word(mask),
        tos=tos,
        priority=word(found.get(_FRA_PRIORITY)),
    )


def _prefix(family: int, packed: bytes | None, length: int) -> Prefix:
    size = 4 if family == socket.AF_INET else 16
    return Prefix(ipaddress.ip_address(packed or bytes(size)), length)


def _address(packed: bytes | None) -> IPAddress | None:
    return None if packed is None else ipaddress.ip_address(packed)
