"""A recording of the core: every input with its time, and what the core asked for in return.

An entry is plain data (what JSON can hold), so that a recording is a file of JSON lines. `replay`
feeds the inputs of a recording to fresh routers and gives the decisions of this code next to the
recorded ones: a recording of a live daemon is a test of the core, and a fault that was recorded
can be looked at with a debugger, as slowly as one likes.

Values are written by a rule, not by a list of fields: a dataclass as its name (`is`) and its
fields, an enumeration by `is` and `value`, an address as `ip`, octets as `hex`. A field that a
later version adds has its default when an older recording is read.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, get_args

from lvsd.core import model
from lvsd.core.model import IPAddress, RouterConfig
from lvsd.core.packet import Advertisement, Reason
from lvsd.core.record import dataclass
from lvsd.core.vrrp.events import Effect, Event, State
from lvsd.core.vrrp.group import Effects, Key, VirtualRouters

Entry = dict[str, Any]

_NAMED: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(v for v in vars(model).values() if is_dataclass(v) or isinstance(v, enum.EnumMeta)),
        *(*get_args(Event), *get_args(Effect), Advertisement, Reason, State),
    )
}


class RecordingError(Exception):
    """An entry that is none, or that this version does not know."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one input led to: `recorded` then, `effects` now. They are equal or something broke."""

    at: float
    what: str
    recorded: Effects
    effects: Effects


def configured(
    configs: Sequence[RouterConfig],
    sources: Mapping[Key, IPAddress | None],
    now: float,
    effects: Effects,
) -> Entry:
    """The entry of `VirtualRouters.configure`."""
    told = [[plain(key), plain(source)] for key, source in sources.items()]
    return {"at": now, "configs": plain(configs), "sources": told, "effects": plain(effects)}


def stepped(key: Key | None, event: Event, now: float, effects: Effects) -> Entry:
    """The entry of `VirtualRouters.step`."""
    return {"at": now, "key": plain(key), "event": plain(event), "effects": plain(effects)}


def replay(entries: Iterable[Entry]) -> Iterator[Decision]:
    """The decisions of fresh routers that are told what a recording holds. Raises RecordingError.

    A recording with a gap (`dropped`) can't be replayed beyond it.
    """
    routers = VirtualRouters()
    for entry in entries:
        if "dropped" in entry:
            raise RecordingError(f"{entry['dropped']} inputs were not recorded")
        try:
            now, recorded = entry["at"], typed(entry["effects"])
            if "configs" in entry:
                sources = {typed(key): typed(source) for key, source in entry["sources"]}
                what = "configure"
                routers, effects = routers.configure(typed(entry["configs"]), sources, now)
            else:
                event = typed(entry["event"])
                what = type(event).__name__
                routers, effects = routers.step(typed(entry["key"]), event, now)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"no entry of a recording: {error!r}") from error
        yield Decision(now, what, recorded, effects)


def plain(value: Any) -> Any:
    """A value of the core as JSON can hold it."""
    if isinstance(value, enum.Enum):
        return {"is": type(value).__name__, "value": value.value}
    if isinstance(value, IPv4Address | IPv6Address):
        return {"ip": str(value)}
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if is_dataclass(value):
        named = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {"is": type(value).__name__, **named}
    return value


def typed(value: Any) -> Any:
    """What `plain` made, as it was; lists become tuples. Raises KeyError, TypeError, ValueError."""
    if isinstance(value, list):
        return tuple(typed(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "ip" in value:
        return ip_address(value["ip"])
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    named = _NAMED[value["is"]]
    if isinstance(named, enum.EnumMeta):
        return named(value["value"])
    return named(**{key: typed(v) for key, v in value.items() if key != "is"})
