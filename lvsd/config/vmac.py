"""The virtual MAC of a `vrrp=` block and who answers on its addresses: usevmac, accept.

`usevmac` is keepalived's use_vmac: a name for the macvlan, or nothing (or yes) for the default
name. The names of one host must differ, and a macvlan that is down while its director is backup
can neither be an instance's interface nor a tracked one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lvsd.config.diagnostics import Report
from lvsd.config.document import Section
from lvsd.core.model import Family, RouterConfig, TrackKind, Vip

OWNER = 255


def vmac(section: Section, family: Family, report: Report) -> dict[str, Any]:
    """The fields of a RouterConfig that usevmac, accept and noaccept set."""
    name = _name(section, family)
    if name and section.repeated.get("peer") and not section.value("vmacxmitbase", False):
        text = "usevmac with peer= needs vmacxmitbase: a neighbour can't answer a MAC that two have"
        report.error(section.place("usevmac"), text)
    if "vmacxmitbase" in section.settings and not name:
        report.error(section.place("vmacxmitbase"), "vmacxmitbase is for usevmac, which is not set")
    return {"usevmac": name, "accept": _accept(section, report)}


def placed(vips: Sequence[Vip], section: Section, family: Family) -> tuple[Vip, ...]:
    """Addresses without an interface of their own go to the virtual MAC's."""
    name = _name(section, family)
    return tuple(replace(vip, dev=name) if name and not vip.dev else vip for vip in vips)


def _name(section: Section, family: Family) -> str:
    given = section.value("usevmac", "no")
    if given not in (True, "yes"):
        return "" if given == "no" else str(given)
    prefix = "vrrp6" if family is Family.INET6 else "vrrp"
    return f"{prefix}.{section.value('virtualrouterid', 0)}"


def _accept(section: Section, report: Report) -> bool:
    refused = bool(section.value("noaccept", False))
    accepted = bool(section.value("accept", not refused))
    if "noaccept" in section.settings and accepted is refused:
        report.error(section.place("noaccept"), "accept and noaccept contradict each other")
    if not accepted and section.value("priority") == OWNER:
        word = "noaccept" if refused else "accept"
        text = "a director of priority 255 owns the addresses and answers on them all the same"
        report.warn(section.place(word), text)
    return accepted


def distinct_vmacs(routers: Sequence[tuple[RouterConfig, Section]], report: Report) -> None:
    """Each virtual MAC's interface has a name of its own, and is nobody's base."""
    first: dict[str, RouterConfig] = {}
    for router, section in routers:
        name, place = router.usevmac, section.place("usevmac")
        if not name:
            continue
        other = first.setdefault(name, router)
        if other is not router:
            text = f"{name} is the virtual MAC's interface of vrrp={other.name} already"
            report.error(place, f"{text}; give one of them another: usevmac=NAME")
        for user, where in routers:
            if user.interface == name:
                report.error(place, f"{name} is the interface of vrrp={user.name}")
            for setting in where.repeated.get("track", []):
                if setting.value.split()[:2] == [TrackKind.INTERFACE, name]:
                    text = f"{name} is down while its director is backup; it can't be tracked"
                    report.error(setting.place, text)
