"""Two readings of one ldirectord.cf, the original's and lvsd's, in one shape and compared."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from lvsd.config import ConfigError, loads
from lvsd.core.model import CheckKind, Config, Family, RealServer, ServiceFlag, Virtual
from tests.interop.ldirectord import Reading

IPV4 = 2


class Kind(enum.StrEnum):
    """How the two readings of one file compare."""

    SAME = "both accept and mean the same"
    REFUSED = "both refuse"
    WIDEN = "only lvsd accepts"
    FIX = "only ldirectord accepts"
    MEANS = "both accept and mean different things"


def original(reading: Reading) -> list[dict[str, Any]]:
    """The services of ldirectord's reading."""
    return [_original_virtual(virtual, reading.globals) for virtual in reading.virtuals]


def _original_virtual(v: dict[str, Any], g: dict[str, Any]) -> dict[str, Any]:
    persistent = int(v.get("persistent") or 0)
    fallback = v.get("fallback") or _global_fallback(v, g)
    negotiate = v["checktype"] == "negotiate" and v["service"] != "none"
    kind = v["service"] if negotiate else v["checktype"]
    return {
        "key": _original_key(v),
        "scheduler": v["scheduler"],
        "persistent": persistent,
        "mask": v.get("netmask") if persistent else None,
        "quiescent": (v.get("quiescent") or g["quiescent"]) == "yes",
        "cleanstop": (v.get("cleanstop") or g["cleanstop"]) == "yes",
        "fall": _set(v["failurecount"]) or int(g["failurecount"]),
        "timeout": _original_timeout(v, g, negotiate),
        "interval": _set(v.get("checkinterval")) or int(g["checkinterval"]),
        "kind": "on" if kind == "negotiate" else kind,
        "fallback": fallback and (fallback["server"].strip("[]"), fallback["forward"]),
        "reals": [_original_real(r, v) for r in v.get("real", [])],
    }


def _global_fallback(v: dict[str, Any], g: dict[str, Any]) -> dict[str, Any] | None:
    """What the original can install: an IPv4 server only in an IPv4 service.

    It reads one for marks as well, and then looks it up under a name it never stored.
    """
    if v["addressfamily"] != IPV4:
        return None
    found: dict[str, Any] | None = (g.get("fallback") or {}).get(
        "tcp" if v["protocol"] == "fwm" else v["protocol"]
    )
    return found


def _original_key(v: dict[str, Any]) -> str:
    if v["protocol"] == "fwm":
        return f"fwm {v['fwm']} {'inet' if v['addressfamily'] == 2 else 'inet6'}"
    return f"{v['protocol']} {ip_address(v['server'].strip('[]'))} {int(v['port'])}"


def _original_timeout(v: dict[str, Any], g: dict[str, Any], negotiate: bool) -> int:
    names = (
        ("negotiatetimeout", "checktimeout") if negotiate else ("checktimeout", "negotiatetimeout")
    )
    for scope in (v, g):
        for name in names:
            if found := _set(scope[name]):
                return found
    return 30 if negotiate else 5


def _original_real(r: dict[str, Any], v: dict[str, Any]) -> dict[str, Any]:
    asked = v["checktype"] == "negotiate" and v["service"] in ("http", "https")
    return {
        "address": str(ip_address(r["server"].strip("[]"))),
        "port": int(r["port"]),
        "method": r["forward"],
        "weight": int(r["weight"]),
        "request": r.get("request", v["request"]) if asked else "",
        "receive": r.get("receive", v["receive"]) if asked else "",
        "upper": int(r.get("u-threshold") or 0),
        "lower": int(r.get("l-threshold") or 0),
    }


def _set(value: Any) -> int:
    """A number that was given; ldirectord writes -1 for one that was not."""
    return max(int(value or 0), 0)


def ours(config: Config) -> list[dict[str, Any]]:
    """The services of lvsd's reading."""
    return [_our_virtual(virtual) for virtual in config.virtuals]


def _our_virtual(v: Virtual) -> dict[str, Any]:
    persistent = v.service.timeout if v.service.flags & ServiceFlag.PERSISTENT else 0
    check = v.reals[0].check if v.reals else None
    fixed = check is None or check.kind in (CheckKind.ON, CheckKind.OFF)
    return {
        "key": _our_key(v),
        "scheduler": v.service.scheduler,
        "persistent": persistent,
        "mask": v.service.prefixlen if persistent else None,
        "quiescent": v.quiescent,
        "cleanstop": v.cleanstop,
        "fall": v.fall,
        "timeout": None if fixed or check is None else check.timeout / check.attempts,
        "interval": None if fixed or check is None else check.interval,
        "kind": None if check is None else check.kind.value,
        "fallback": v.fallback and (str(v.fallback.key.address), v.fallback.forwarding.word),
        "reals": [_our_real(real) for real in v.reals],
    }


def _our_key(v: Virtual) -> str:
    if v.key.address is None:
        return f"fwm {v.key.fwmark} {v.key.family.name.lower()}"
    return f"{v.key.protocol.word} {v.key.address} {v.key.port}"


def _our_real(real: RealServer) -> dict[str, Any]:
    asked = real.check.kind in (CheckKind.HTTP, CheckKind.HTTPS)
    return {
        "address": str(real.key.address),
        "port": real.key.port,
        "method": real.forwarding.word,
        "weight": real.weight,
        "request": real.check.request.decode("latin1") if asked else "",
        "receive": real.check.receive.decode("latin1") if asked else "",
        "upper": real.u_threshold,
        "lower": real.l_threshold,
    }


def differences(reading: Reading, config: Config) -> Iterator[str]:
    """What the two make differently of one file."""
    theirs, mine = original(reading), ours(config)
    if [v["key"] for v in theirs] != [v["key"] for v in mine]:
        yield f"services: {[v['key'] for v in theirs]} / {[v['key'] for v in mine]}"
        return
    for there, here, virtual in zip(theirs, mine, config.virtuals, strict=True):
        for name in there:
            if name != "reals" and not _equal(name, there[name], here[name], virtual):
                yield f"{there['key']} {name}: {there[name]} / {here[name]}"
        for one, other in zip(there["reals"], here["reals"], strict=False):
            yield from _real_differences(there["key"], one, other, virtual)
        if len(there["reals"]) != len(here["reals"]):
            yield f"{there['key']}: {len(there['reals'])} / {len(here['reals'])} real servers"


def _equal(name: str, theirs: Any, mine: Any, virtual: Virtual) -> bool:
    if name in ("timeout", "interval", "kind") and mine is None:
        return True  # nothing is asked
    if name == "mask" and theirs is not None:
        bits = str(theirs)
        if "." in bits:
            return int(ip_address(bits)).bit_count() == mine
        return int(bits) == mine
    if name == "mask":
        return mine in (None, 32 if virtual.key.family is Family.INET else 128)
    return bool(theirs == mine)


def _real_differences(
    key: str, theirs: dict[str, Any], mine: dict[str, Any], virtual: Virtual
) -> Iterator[str]:
    for name, value in theirs.items():
        if name == "port" and (value == 0 or theirs["method"] != "masq"):
            value = mine["port"]  # the kernel's port is the service's, whatever stands there
        if value != mine[name]:
            yield f"{key} {theirs['address']} {name}: {value} / {mine[name]}"


def judged(reading: Reading, text: bytes) -> tuple[Kind, str]:
    """How the two compare on one file, and in what."""
    try:
        config = loads(text, "t.cf", node="dir1", interfaces=[])
    except ConfigError as error:
        reason = "; ".join(map(str, error.errors))
        return (Kind.REFUSED, reason) if reading.error else (Kind.FIX, reason)
    if reading.error:
        return Kind.WIDEN, reading.error
    found = "; ".join(differences(reading, config))
    return (Kind.MEANS, found) if found else (Kind.SAME, "")
