"""What main and child say to each other over their socketpair: typed, versioned and few.

Each message is one msgspec JSON document behind a four-byte big-endian length. Unknown fields are
ignored and unknown messages are skipped, because an upgraded child may meet an older parent.
Routers travel as plain mappings (`router_to_wire`), since addresses have no JSON form of their own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import msgspec

from lvsd.core.model import (
    Config,
    Family,
    Identity,
    IPAddress,
    Pace,
    PeerTtl,
    Prefix,
    RouteKind,
    RouterConfig,
    RuleAction,
    SyncOptions,
    Track,
    TrackKind,
    Vip,
    VirtualRoute,
    VirtualRule,
)

VERSION = 1
#: A frame beyond this is a broken peer, not a message (a full status of 255 routers is 200 kB).
MAX_FRAME = 16 << 20

_LENGTH = struct.Struct("!I")


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """Base of everything on the wire."""


class Hello(Message, frozen=True):
    """Child → main, first of all."""

    version: int
    pid: int


class Refused(Message, frozen=True):
    """Child → main: the first configuration cannot be used; the daemon does not start."""

    errors: list[str]


class Routers(Message, frozen=True):
    """Child → main: the routers of a newly loaded configuration, whole.

    `paces` are those of announcements, as plain mappings too. `early` says that the rest of the
    configuration is not in force yet; the first `Notice` says that it is.
    """

    routers: list[dict[str, Any]]
    paces: list[dict[str, Any]] = []
    early: bool = False


class Ready(Message, frozen=True):
    """Child → main: the services are applied and every real was judged once (design rule 3)."""

    ready: bool


class TrackValues(Message, frozen=True):
    """Child → main: tracked objects, `kind name` → up, and the numbers in tracked files."""

    values: dict[str, bool]
    numbers: dict[str, int] = {}


class Pong(Message, frozen=True):
    """Child → main: answer to `Ping`."""

    serial: int


class StatusRequest(Message, frozen=True):
    """Child → main: send `RouterStates` now."""


class Command(Message, frozen=True):
    """Child → main: an operator's word about a router: `stepdown` or `resume`; "" means all."""

    serial: int
    verb: str
    router: str = ""


class Stopped(Message, frozen=True):
    """Child → main: sync daemons and table are put away, the child is about to exit."""


class Notice(Message, frozen=True):
    """Child → main: text for systemd's STATUS line."""

    status: str


class Ping(Message, frozen=True):
    """Main → child: prove within 10 s that you are alive."""

    serial: int


class RouterStatus(msgspec.Struct, frozen=True):
    """One VirtualRouter as `lvsd status --json` shows it (keys are a contract).

    `since` is a Unix time. `reason` says why the state is what it is.
    """

    name: str
    interface: str
    vrid: int
    family: str
    version: int
    state: str
    reason: str
    since: float
    priority: int
    effective_priority: int
    master: str | None
    addresses: list[str]
    counters: dict[str, int]
    priority_parts: list[str] = []
    last_heard: float | None = None
    last_heard_from: str | None = None
    peer_addresses_differ: list[str] = []
    checksum_reading: str = ""
    notes: list[str] = []
    routes: list[str] = []
    rules: list[str] = []
    vmac: str | None = None
    vmac_interface: str | None = None
    accept: bool = True
    lateness: float = 0.0
    lateness_max: float = 0.0


class RouterStates(Message, frozen=True):
    """Main → child: all routers as they are now, after a change or a `StatusRequest`."""

    routers: list[RouterStatus]


class RouterEvent(Message, frozen=True):
    """Main → child: something worth remembering happened to a router, to main or to its family.

    Main has logged it itself. `at` is a Unix time; what happened while the child was away comes
    late.
    """

    event: str
    at: float
    fields: dict[str, Any]
    level: str = "info"


class CommandDone(Message, frozen=True):
    """Main → child: the outcome of a `Command`; `error` "" means done."""

    serial: int
    error: str = ""


class Reload(Message, frozen=True):
    """Main → child: SIGHUP arrived."""


class Stop(Message, frozen=True):
    """Main → child: every router is relieved and without VIP; put the rest away and exit."""


AnyMessage = (
    Hello
    | Refused
    | Routers
    | Ready
    | TrackValues
    | Pong
    | StatusRequest
    | Command
    | Stopped
    | Notice
    | Ping
    | RouterStates
    | RouterEvent
    | CommandDone
    | Reload
    | Stop
)

_decoder: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)
_encoder = msgspec.json.Encoder()


def pack(message: Message) -> bytes:
    """One frame, length first."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None when the other side is gone or does not speak this protocol."""
    while True:
        try:
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            if length > MAX_FRAME:
                return None
            body = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        try:
            return _decoder.decode(body)
        except msgspec.ValidationError:
            continue  # a message of another version: skipped, as promised above


def routers_to_wire(config: Config, early: bool = False) -> Routers:
    """The routers of a configuration, for main."""
    routers = [router_to_wire(router) for router in config.routers]
    return Routers(routers, [pace_to_wire(pace) for pace in config.paces], early)


def router_to_wire(router: RouterConfig) -> dict[str, Any]:
    """A RouterConfig as plain JSON values."""
    return {f.name: _plain(getattr(router, f.name)) for f in dataclasses.fields(router)}


def router_from_wire(wire: Mapping[str, Any]) -> RouterConfig:
    """The inverse of `router_to_wire`; fields this version does not know are ignored."""
    known = {f.name for f in dataclasses.fields(RouterConfig)}
    w = {name: value for name, value in wire.items() if name in known}
    source, syncdaemon = w.get("source"), w.get("syncdaemon")
    w["family"] = Family(w["family"])
    w["addresses"] = tuple(map(_vip, w["addresses"]))
    w["excluded"] = tuple(map(_vip, w.get("excluded", ())))
    w["peers"] = tuple(map(_address, w.get("peers", ())))
    w["peer_ttls"] = tuple(
        PeerTtl(_address(t["peer"]), t["minimum"], t["maximum"]) for t in w.get("peer_ttls", ())
    )
    w["source"] = None if source is None else _address(source)
    w["authpass"] = w.get("authpass", "").encode("latin-1")
    w["syncdaemon"] = None if syncdaemon is None else (str(syncdaemon[0]), int(syncdaemon[1]))
    if options := w.get("syncoptions"):
        w["syncoptions"] = SyncOptions(**{**options, "group": _address(options["group"])})
    w["scriptuser"] = Identity(**w.get("scriptuser", {}))
    for program in [name for name in known if name.startswith("notify")]:
        w[program] = tuple(w.get(program, ()))
    w["routes"] = tuple(map(_route, w.get("routes", ())))
    w["rules"] = tuple(map(_rule, w.get("rules", ())))
    w["tracks"] = tuple(
        Track(TrackKind(t["kind"]), t["name"], t["weight"], t.get("reverse", False))
        for t in w.get("tracks", ())
    )
    return RouterConfig(**w)


def pace_to_wire(pace: Pace) -> dict[str, Any]:
    """A Pace as plain JSON values."""
    return {f.name: _plain(getattr(pace, f.name)) for f in dataclasses.fields(pace)}


def pace_from_wire(wire: Mapping[str, Any]) -> Pace:
    """The inverse of `pace_to_wire`; fields this version does not know are ignored."""
    known = {f.name: wire[f.name] for f in dataclasses.fields(Pace) if f.name in wire}
    return Pace(**{**known, "interfaces": tuple(wire.get("interfaces", ()))})


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, IPAddress):
        return str(value)
    return value


def _address(text: str) -> IPAddress:
    return ip_address(text)


def _vip(wire: Mapping[str, Any]) -> Vip:
    return Vip(**{**wire, "address": _address(wire["address"])})


def _prefix(wire: Mapping[str, Any] | None) -> Prefix | None:
    return None if wire is None else Prefix(_address(wire["address"]), wire["length"])


def _route(wire: Mapping[str, Any]) -> VirtualRoute:
    typed: dict[str, Any] = {"prefix": _prefix(wire["prefix"]), "kind": RouteKind(wire["kind"])}
    for name in ("via", "source"):
        typed[name] = None if wire[name] is None else _address(wire[name])
    return VirtualRoute(**{**wire, **typed})


def _rule(wire: Mapping[str, Any]) -> VirtualRule:
    typed = {
        "family": Family(wire["family"]),
        "action": RuleAction(wire["action"]),
        "source": _prefix(wire["source"]),
        "destination": _prefix(wire["destination"]),
    }
    return VirtualRule(**{**wire, **typed})
