"""With whom a `vrrp=` block talks: `peer=` lines, source addresses, and what unicast needs."""

from __future__ import annotations

import ipaddress
import re

from lvsd.config.diagnostics import BadValue, Place, Report
from lvsd.config.document import Section
from lvsd.core.model import Family, IPAddress, PeerTtl, Vip

_WORDS = ("minttl", "maxttl")


def build_peers(
    section: Section, family: Family, vips: tuple[Vip, ...], report: Report
) -> tuple[tuple[IPAddress, ...], tuple[PeerTtl, ...]]:
    """The peers without ourselves, and the TTL ranges of those that have one."""
    found: dict[IPAddress, PeerTtl | None] = {}
    lines = section.repeated.get("peer", [])
    mine = 0
    for setting in lines:
        try:
            peer, ttls = _peer(setting.value)
        except BadValue as problem:
            report.error(setting.place, problem.text)
            continue
        if _fits(peer, family, setting.place, "peer", report):
            if peer in [one.address for one in vips]:
                report.error(setting.place, f"{peer} is a virtual address, not the peer's own")
            elif peer == _own(section):
                mine += 1
            else:
                found.setdefault(peer, ttls)
    ranges = tuple(ttls for ttls in found.values() if ttls is not None)
    if lines and mine == len(lines):  # never multicast where unicast was asked for
        text = "the only peer= is this director itself; name the others, or none for multicast"
        report.error(lines[0].place, text)
    _unicast_words(section, bool(lines), bool(ranges), report)
    return tuple(found), ranges


def source(section: Section, family: Family, report: Report) -> IPAddress | None:
    """The configured source address of adverts."""
    for word in ("unicastsrcip", "mcastsrcip"):
        found: IPAddress | None = section.value(word)
        if found is not None:
            return found if _fits(found, family, section.place(word), word, report) else None
    return None


def _unicast_words(section: Section, unicast: bool, ranged: bool, report: Report) -> None:
    for word in ("unicastttl", "checkunicastsrc"):
        if word in section.settings and not unicast:
            report.error(section.place(word), f"{word} is for unicast, and there is no peer=")
    if ranged and not section.value("checkunicastsrc", True):
        text = "checkunicastsrc=no would let everybody around minttl and maxttl; leave one out"
        report.error(section.place("checkunicastsrc"), text)


def _peer(text: str) -> tuple[IPAddress, PeerTtl | None]:
    address, *words = text.split() or [""]
    try:
        peer = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        raise BadValue(f"peer needs an address, not {address}") from None
    limits: dict[str, int] = {}
    for word, number in zip(words[::2], [*words[1::2], ""], strict=False):
        if word not in _WORDS or word in limits:
            raise BadValue(f"write peer=ADDRESS minttl N maxttl N, not {word}")
        if not re.fullmatch(r"[0-9]{1,3}", number) or int(number) > 255:
            raise BadValue(f"{word} must be from 0 to 255")
        limits[word] = int(number)
    if not limits:
        return peer, None
    ttls = PeerTtl(peer, limits.get("minttl", 0), limits.get("maxttl", 255))
    if ttls.minimum > ttls.maximum:
        raise BadValue("minttl is above maxttl: nothing could be received")
    return peer, ttls


def _own(section: Section) -> IPAddress | None:
    own: IPAddress | None = section.value("unicastsrcip") or section.value("mcastsrcip")
    return own


def _fits(address: IPAddress, family: Family, place: Place, word: str, report: Report) -> bool:
    if Family.of(address) is family:
        return True
    mine = 6 if family is Family.INET6 else 4
    report.error(place, f"{word} {address} does not fit: this instance is IPv{mine}")
    return False
