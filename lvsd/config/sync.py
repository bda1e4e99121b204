"""`syncdaemon=INTERFACE [ID] [both] [maxlen N] [port N] [ttl N] [group ADDRESS]`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from lvsd.config.diagnostics import BadValue, Report, proposal
from lvsd.config.document import Section
from lvsd.config.values import interface_name
from lvsd.core.model import RouterConfig, SyncOptions

#: Words with a number, and what the kernel takes (net/netfilter/ipvs/ip_vs_ctl.c).
_NUMBERS = {"maxlen": (1, 65507), "port": (1, 65535), "ttl": (1, 255)}
_WORDS = ("both", *_NUMBERS, "group")
_FORM = "syncdaemon is INTERFACE [ID], the ID from 0 to 255"


def build_sync(section: Section, report: Report) -> tuple[tuple[str, int] | None, SyncOptions]:
    """The interface and ID, if there is a daemon, and its options."""
    text = section.value("syncdaemon")
    if text is None:
        return None, SyncOptions()
    words = text.strip('"').split()
    place = section.place("syncdaemon")
    try:
        name = interface_name(words[0] if words else "")
    except BadValue as problem:
        rest = " ".join(words[1:])
        hint = f" {rest}" if rest else ""
        report.error(place, f"syncdaemon: {problem.text}{hint}")
        return None, SyncOptions()
    rest = words[1:]
    syncid = rest.pop(0) if rest and rest[0] not in _WORDS else "0"
    if not re.fullmatch(r"[0-9]{1,3}", syncid) or int(syncid) > 255:
        report.error(place, _FORM)
        return None, SyncOptions()
    try:
        return (name, int(syncid)), SyncOptions(**_options(rest))
    except BadValue as problem:
        report.error(place, problem.text)
        return None, SyncOptions()


def _options(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if word in found or word not in _WORDS:
            raise BadValue(f"{_FORM}; it has no {word} behind that{proposal(word, _WORDS)}")
        found[word] = True if word == "both" else _option(word, next(rest, ""))
    return found


def _option(word: str, value: str) -> Any:
    if word == "group":
        try:
            group = ipaddress.ip_address(value)
        except ValueError:
            group = None
        if group is None or not group.is_multicast:
            raise BadValue(f"group needs a multicast address, not {value or 'nothing'}")
        return group
    least, most = _NUMBERS[word]
    if not re.fullmatch(r"[0-9]{1,5}", value) or not least <= int(value) <= most:
        raise BadValue(f"{word} must be from {least} to {most}, not {value or 'nothing'}")
    return int(value)


def render_sync(router: RouterConfig) -> str:
    """The value of syncdaemon= in the normal form."""
    assert router.syncdaemon is not None
    options, plain = router.syncoptions, SyncOptions()
    parts = [f"{router.syncdaemon[0]} {router.syncdaemon[1]}"]
    if options.both:
        parts.append("both")
    for word in (*_NUMBERS, "group"):
        if getattr(options, word) != getattr(plain, word):
            parts.append(f"{word} {getattr(options, word)}")
    return " ".join(parts)


def one_sync_daemon(routers: Sequence[tuple[RouterConfig, Section]], report: Report) -> None:
    """All instances of a director share its two threads (design rule 8)."""
    first: tuple[RouterConfig, Section] | None = None
    for router, section in routers:
        if router.syncdaemon is None:
            continue
        if first is None:
            first = (router, section)
            continue
        wanted = (first[0].syncdaemon, first[0].syncoptions)
        if wanted != (router.syncdaemon, router.syncoptions):
            line = first[1].place("syncdaemon").line
            text = f"vrrp={first[0].name} says otherwise on line {line}"
            report.error(section.place("syncdaemon"), f"{text}; a director has one sync daemon")
