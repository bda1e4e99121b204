"""`vrrp=` blocks.

Rules come from RFC 3768 and RFC 5798 (versions, VRID, interval, one family per instance) and from
design rule 2 (a virtual address is a host address unless told otherwise).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lvsd.config.diagnostics import BadValue, Place, Report, proposal
from lvsd.config.document import Document, Section
from lvsd.config.paths import build_paths, distinct_paths, implied_tracks
from lvsd.config.peers import build_peers, source
from lvsd.config.sync import build_sync, one_sync_daemon
from lvsd.config.tracks import Known, again, build_tracks, report_unused
from lvsd.config.tuning import tuning
from lvsd.config.vips import vip
from lvsd.config.vmac import distinct_vmacs, placed
from lvsd.core.model import (
    Family,
    Identity,
    IPAddress,
    RouterConfig,
    Track,
    Vip,
)

#: RFC 5798 §5.2.5: the count is one octet.
_MOST_ADDRESSES = 255
#: Octets of an Ethernet frame behind the headers of IPv6 and VRRP.
_ROOM_FOR_ADDRESSES = 1500 - 40 - 8


def build(
    document: Document,
    known: Known,
    interfaces: Sequence[str],
    has_services: bool,
) -> tuple[RouterConfig, ...]:
    """The vrrp= blocks."""
    report = document.report
    routers: list[tuple[RouterConfig, Section]] = []
    names: dict[str, Section] = {}
    for section in document.sections:
        if section.kind != "vrrp" or not section.head_text:
            continue
        name = section.head_text.strip('"')
        if name in names:
            report.error(section.head, again("vrrp instance", name, names[name]))
        names.setdefault(name, section)
        _interfaces_exist(section, interfaces, report)
        tracks = build_tracks(section, known, report)
        router = _router(section, name, tracks, has_services, report)
        if router is not None:
            routers.append((replace(router, scriptuser=_user(section, document)), section))
    _unlike(routers, report)
    one_sync_daemon(routers, report)
    distinct_paths(routers, report)
    distinct_vmacs(routers, report)
    report_unused(document, [router for router, _ in routers])
    return tuple(router for router, _ in routers)


def _user(section: Section, document: Document) -> Identity:
    """Who the notify programs of a block run as."""
    everybody = document.globals.value("scriptuser", Identity())
    found: Identity = section.value("scriptuser", everybody)
    return found


def _router(
    section: Section, name: str, tracks: tuple[Track, ...], has_services: bool, report: Report
) -> RouterConfig | None:
    missing = [w for w in ("interface", "virtualrouterid") if w not in section.settings]
    for word in missing:
        if word in section.failed:
            continue
        report.error(section.head, f"vrrp={name} has no {word}=")
    addresses = _vips(section, "address", report)
    excluded = _vips(section, "excludedaddress", report)
    if not addresses:
        if not section.repeated.get("address"):
            report.error(section.head, f"vrrp={name} has no address=")
        return None
    family = _family(section, addresses, report)
    version = _version(section, family, report)
    _distinct([*addresses, *excluded], section, report)
    _advertisable(addresses, section, report)
    if "authtype" in section.settings:
        _authtype(section, report)
    syncdaemon, syncoptions = build_sync(section, report)
    peers, ttls = build_peers(section, family, addresses, report)
    routes, rules = build_paths(section, family, report)
    if missing:
        return None
    return RouterConfig(
        name=name,
        interface=section.value("interface"),
        vrid=section.value("virtualrouterid"),
        priority=section.value("priority", 100),
        addresses=placed(addresses, section, family),
        version=version,
        family=family,
        advertint=_advertint(section, version, report),
        excluded=placed(excluded, section, family),
        authpass=_authpass(section, version, report),
        peers=peers,
        peer_ttls=ttls,
        source=source(section, family, report),
        preempt=not section.value("nopreempt", False),
        preemptdelay=section.value("preemptdelay", 0.0),
        startupdelay=section.value("startupdelay"),
        syncgroup=section.value("syncgroup", ""),
        syncdaemon=syncdaemon,
        syncoptions=syncoptions,
        tracks=(*tracks, *implied_tracks(section.value("interface"), tracks, routes)),
        notify=section.value("notify", ()),
        lease=section.value("lease", True),
        has_services=has_services,
        routes=routes,
        rules=rules,
        **tuning(section, version, family, report),
    )


def _vips(section: Section, word: str, report: Report) -> tuple[Vip, ...]:
    found = []
    for setting in section.repeated.get(word, []):
        try:
            found.append(vip(setting.value))
        except BadValue as problem:
            report.error(setting.place.at(problem.offset), problem.text)
    return tuple(found)


def _family(section: Section, addresses: tuple[Vip, ...], report: Report) -> Family:
    family = Family.of(addresses[0].address)
    for setting in section.repeated.get("address", []):
        text = re.split(r"[/\s]", setting.value)[0].strip("[]")
        if (":" in text) is not (family is Family.INET6):
            report.error(
                setting.place,
                f"{text} is of another family than {addresses[0].address}; one instance"
                f" advertises one family: write excludedaddress={setting.value},"
                " or make a vrrp= block of its own",
            )
    return family


def _distinct(vips: Sequence[Vip], section: Section, report: Report) -> None:
    seen: set[IPAddress] = set()
    settings = section.repeated.get("address", []) + section.repeated.get("excludedaddress", [])
    for one, setting in zip(vips, settings, strict=False):
        if one.address in seen:
            report.error(setting.place, f"{one.address} is listed twice in this block")
        seen.add(one.address)


def _advertisable(addresses: tuple[Vip, ...], section: Section, report: Report) -> None:
    """An advert counts its addresses in one octet, and should fit into one Ethernet frame."""
    last = section.repeated["address"][-1].place
    cure = "write the others as excludedaddress="
    if len(addresses) > _MOST_ADDRESSES:
        text = f"an advertisement holds {_MOST_ADDRESSES} addresses, not {len(addresses)}; {cure}"
        report.error(last, text)
    elif sum(len(vip.address.packed) for vip in addresses) > _ROOM_FOR_ADDRESSES:
        report.warn(last, f"{len(addresses)} addresses do not fit into one Ethernet frame; {cure}")


def _version(section: Section, family: Family, report: Report) -> int:
    version: int = section.value("version", 3 if family is Family.INET6 else 2)
    if family is Family.INET6 and version == 2:
        report.error(section.place("version"), "IPv6 needs version=3 (RFC 5798)")
    return version


def _advertint(section: Section, version: int, report: Report) -> float:
    interval: float = section.value("advertint", 1.0)
    place = section.place("advertint")
    if version == 2 and interval != int(interval):
        text = f"version 2 advertises in whole seconds, not {interval:g}; add version=3"
        report.error(place, f"{text} (on both directors)")
    elif version == 2 and interval < 1:
        report.error(place, "advertint must be 1 to 255 seconds in version 2")
    elif version == 3 and interval > 40.95:
        report.error(place, "advertint must be 0.01 to 40.95 seconds in version 3")
    elif version == 3 and abs(interval * 100 - round(interval * 100)) > 1e-6:
        report.error(place, "version 3 advertises in hundredths of a second")
    return interval


def _authtype(section: Section, report: Report) -> None:
    kind = section.value("authtype").strip('"')
    place = section.place("authtype")
    if kind.upper() == "AH":
        report.error(
            place, "authtype=AH is not supported; write authpass= for PASS, or leave it out"
        )
    else:
        report.warn(place, "authtype is not needed: authpass= alone means PASS")


def _authpass(section: Section, version: int, report: Report) -> bytes:
    password: bytes = section.value("authpass", b"")
    if password and version == 3:
        text = "version 3 has no authentication (RFC 5798, section 9); remove authpass or version=3"
        report.error(section.place("authpass"), text)
    return password


def _interfaces_exist(section: Section, interfaces: Sequence[str], report: Report) -> None:
    if not interfaces:
        return
    wanted: list[tuple[Any, Place]] = [(section.value("interface"), section.place("interface"))]
    daemon = section.value("syncdaemon", "").split()
    if daemon and ":" not in daemon[0]:
        wanted.append((daemon[0], section.place("syncdaemon")))
    for setting in section.repeated.get("track", []):
        words = setting.value.split()
        if words[0] == "interface" and len(words) > 1:
            wanted.append((words[1], setting.place))
    for setting in [
        *section.repeated.get("address", []),
        *section.repeated.get("excludedaddress", []),
    ]:
        match = re.search(r"\bdev[ =](\S+)", setting.value)
        if match:
            wanted.append((match[1], setting.place))
    for setting in [*section.repeated.get("route", []), *section.repeated.get("rule", [])]:
        for match in re.finditer(r"\b(?:dev|iif|oif) +(\S+)", setting.value):
            wanted.append((match[1], setting.place.at(match.start(1))))
    for name, place in wanted:
        if name and name not in interfaces and name != section.value("usevmac"):
            near = proposal(name, interfaces)
            report.warn(place, f"there is no interface {name} on this machine yet{near}")


def _unlike(routers: Sequence[tuple[RouterConfig, Section]], report: Report) -> None:
    first: dict[tuple[str, int, Family], tuple[RouterConfig, Section]] = {}
    for router, section in routers:
        other, there = first.setdefault(router.key, (router, section))
        if other is router:
            continue
        where = f"on interface {router.interface}"
        for mine, his, at in ((section, other, there), (there, router, section)):
            text = f"virtualrouterid {router.vrid} is used twice {where}: also by vrrp={his.name}"
            line = at.place("virtualrouterid").line
            report.error(mine.place("virtualrouterid"), f"{text} (line {line})")
