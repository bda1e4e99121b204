"""`route=` and `rule=` lines, in the words of `ip route` and `ip rule`.

What people write in keepalived's virtual_routes and virtual_rules is read; the rest of iproute2's
language is an error that names what there is. A table may have a name of /etc/iproute2/rt_tables:
the model and the normal form have its number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence

from lvsd.config.diagnostics import BadValue, Report, proposal
from lvsd.config.document import Section, Setting
from lvsd.config.values import interface_name
from lvsd.core.model import (
    Family,
    IPAddress,
    Path,
    Prefix,
    RouteKind,
    RouterConfig,
    RuleAction,
    Track,
    TrackKind,
    VirtualRoute,
    VirtualRule,
)
from lvsd.core.model.path import SCOPES, TABLES, WHOLE_MARK
from lvsd.core.record import dataclass

#: Where iproute2 looks for the names of tables; the first file that has a name counts.
TABLE_FILES = (
    "/etc/iproute2/rt_tables",
    "/etc/iproute2/rt_tables.d/*.conf",
    "/usr/share/iproute2/rt_tables",
    "/usr/lib/iproute2/rt_tables",
)
_LARGEST = 2**32 - 1
_ALIASES = {
    "preference": "priority",
    "pref": "priority",
    "order": "priority",
    "dsfield": "tos",
    "gw": "via",
    "lookup": "table",
    "no_track": "notrack",
}
_ROUTE_WORDS = ("via", "dev", "src", "table", "metric", "scope", "onlink", "mtu", "notrack")
_RULE_WORDS = (
    *("not", "from", "to", "iif", "oif", "fwmark", "tos", "priority", "table"),
    *("blackhole", "unreachable", "prohibit", "inet", "inet6", "notrack"),
)
_FLAGS = ("onlink", "notrack", "not", "inet", "inet6", *(a for a in RuleAction if a != "lookup"))
#: Words of iproute2 for which there is a better answer than the list.
_HINTS = {
    "nexthop": "several gateways are not supported: one route has one via",
    "proto": "the protocol is always 18, keepalived's, by which lvsd knows its own",
    "protocol": "the protocol is always 18, keepalived's, by which lvsd knows its own",
    "vrf": "write table N; without it the interface's own VRF is meant",
    "l3mdev": "write table N, the table of the VRF",
}


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a line and its distance from the line's value's start."""

    text: str
    offset: int

    def bad(self, text: str) -> BadValue:
        """An error at this word."""
        return BadValue(text, self.offset)


def build_paths(
    section: Section, family: Family, report: Report
) -> tuple[tuple[VirtualRoute, ...], tuple[VirtualRule, ...]]:
    """The routes and rules of a vrrp= block; `family` is the instance's."""
    routes: list[VirtualRoute] = []
    rules: list[VirtualRule] = []
    for setting in section.repeated.get("route", []):
        with _reported(setting, report):
            routes.append(route(setting.value, family))
    for setting in section.repeated.get("rule", []):
        with _reported(setting, report):
            rules.append(rule(setting.value, family))
    return tuple(routes), tuple(rules)


def implied_tracks(
    interface: str, tracks: Sequence[Track], routes: Sequence[VirtualRoute]
) -> tuple[Track, ...]:
    """The interfaces that routes name: while one is down, nobody must try to become master.

    The kernel takes no route over an interface that is down. As in keepalived, which tracks them
    itself unless no_track is said.
    """
    known = {interface} | {t.name for t in tracks if t.kind is TrackKind.INTERFACE}
    names = dict.fromkeys(r.dev for r in routes if r.track and r.dev and r.dev not in known)
    return tuple(Track(TrackKind.INTERFACE, name) for name in names)


@contextlib.contextmanager
def _reported(setting: Setting, report: Report) -> Iterator[None]:
    try:
        yield
    except BadValue as problem:
        report.error(setting.place.at(problem.offset), problem.text)


def distinct_paths(routers: Sequence[tuple[RouterConfig, Section]], report: Report) -> None:
    """No two lines of one director may mean the same object of the kernel."""
    seen: dict[object, int] = {}
    for router, section in routers:
        lines = [*section.repeated.get("route", []), *section.repeated.get("rule", [])]
        if len(lines) != len(router.paths):
            continue  # some of them have errors of their own
        for path, setting in zip(router.paths, lines, strict=True):
            line = seen.setdefault(_identity(path, router), setting.place.line)
            if line != setting.place.line:
                what = "destination, table and metric" if isinstance(path, VirtualRoute) else "rule"
                report.error(setting.place, f"the same {what} as on line {line}")


def _identity(path: Path, router: RouterConfig) -> object:
    if isinstance(path, VirtualRule):
        return dataclasses.replace(path, track=True)
    where = "" if path.table else router.interface  # which may be in a VRF
    return (path.prefix, path.table, path.metric, where)


# --- route= -----------------------------------------------------------------------------------


def route(text: str, family: Family = Family.INET) -> VirtualRoute:
    """[KIND] DESTINATION, then words with their values, as `ip route`. Raises BadValue."""
    words = _words(text)
    kind = RouteKind.UNICAST
    if words and words[0].text in set(RouteKind):
        kind = RouteKind(words.pop(0).text)
    target, options = _options(words, _ROUTE_WORDS, "route", kind, positional=True)
    if target is None:
        raise BadValue("a route needs a destination: NETWORK/LENGTH, ADDRESS or default")
    found = VirtualRoute(
        prefix=_destination(target, options, family),
        kind=kind,
        via=_address(options.get("via")),
        dev=_interface(options.get("dev")),
        source=_address(options.get("src")),
        table=_table(options.get("table")),
        metric=_number(options.get("metric"), 0, _LARGEST) or 0,
        scope=_scope(options.get("scope")),
        onlink="onlink" in options,
        mtu=_number(options.get("mtu"), 68, 65535) or 0,
        track="notrack" not in options,
    )
    _possible(found, options)
    return found


def _possible(found: VirtualRoute, options: Mapping[str, _Word]) -> None:
    """What the kernel would refuse for reasons it does not tell."""
    for word, address in (("via", found.via), ("src", found.source)):
        if address is not None and Family.of(address) is not found.family:
            raise options[word].bad(
                f"{word} {address} is of another family than the destination {found.prefix}"
            )
    if found.kind is not RouteKind.UNICAST:
        for word in ("via", "dev", "src", "scope", "onlink", "mtu"):
            if word in options:
                raise options[word].bad(f"a {found.kind} route has no {word}")
    if found.onlink and found.via is None:
        raise options["onlink"].bad("onlink is said of a gateway, and there is no via")
    if found.family is Family.INET6 and found.scope is not None:
        raise options["scope"].bad("an IPv6 route has no scope")


def _destination(target: _Word, options: Mapping[str, _Word], family: Family) -> Prefix:
    """`default` is of the family of the gateway or source address, else of the instance's."""
    if target.text not in ("default", "any", "all"):
        return _prefix(target)
    near = _address(options.get("via")) or _address(options.get("src"))
    return _everything(family if near is None else Family.of(near))


def _everything(family: Family) -> Prefix:
    return Prefix(ipaddress.ip_address("0.0.0.0" if family is Family.INET else "::"), 0)


# --- rule= ------------------------------------------------------------------------------------


def rule(text: str, family: Family = Family.INET) -> VirtualRule:
    """Words with their values, as `ip rule`. Raises BadValue."""
    _, options = _options(_words(text), _RULE_WORDS, "rule", "rule")
    source, destination = (_selector(options.get(word)) for word in ("from", "to"))
    mark, mask = _mark(options.get("fwmark"))
    found = VirtualRule(
        family=_rule_family(options, (source, destination), family),
        action=_action(options),
        table=_table(options.get("table")),
        invert="not" in options,
        source=source,
        destination=destination,
        iif=_interface(options.get("iif")),
        oif=_interface(options.get("oif")),
        fwmark=mark,
        fwmask=mask,
        tos=_tos(options.get("tos")),
        track="notrack" not in options,
    )
    priority = _number(options.get("priority"), 1, _LARGEST)
    return found if priority is None else dataclasses.replace(found, priority=priority)


def _rule_family(
    options: Mapping[str, _Word], selectors: Sequence[Prefix | None], family: Family
) -> Family:
    told = [f for f in Family if f.name.lower() in options]
    given = [Family.of(prefix.address) for prefix in selectors if prefix is not None]
    if len(set(told + given)) > 1:
        word = options.get("to") or options["inet6"]
        raise word.bad("IPv4 and IPv6 in one rule: write two rules")
    return (told + given + [family])[0]


def _action(options: Mapping[str, _Word]) -> RuleAction:
    given = [a for a in RuleAction if a != "lookup" and a in options]
    if len(given) + ("table" in options) > 1:
        raise options[given[-1]].bad("a rule does one thing: table, or one of the other actions")
    if not given and "table" not in options:
        raise BadValue("a rule needs table N, blackhole, unreachable or prohibit")
    return given[0] if given else RuleAction.LOOKUP


def _selector(word: _Word | None) -> Prefix | None:
    return None if word is None or word.text in ("all", "any", "default") else _prefix(word)


def _mark(word: _Word | None) -> tuple[int | None, int]:
    if word is None:
        return None, WHOLE_MARK
    mark, slash, mask = word.text.partition("/")
    value = _number(_Word(mark, word.offset), 0, _LARGEST, "fwmark")
    if not slash:
        return value, WHOLE_MARK
    return value, _number(_Word(mask, word.offset + len(mark) + 1), 0, _LARGEST, "mask") or 0


def _tos(word: _Word | None) -> int:
    value = _number(word, 0, 255, "tos") or 0
    if word is not None and value & 3:
        raise word.bad("the two lowest bits of tos belong to congestion control and must be 0")
    return value


# --- words ------------------------------------------------------------------------------------


def _words(text: str) -> list[_Word]:
    return [_Word(m[0], m.start()) for m in re.finditer(r"\S+", text)]


def _options(
    words: list[_Word], known: Sequence[str], line: str, what: str, *, positional: bool = False
) -> tuple[_Word | None, dict[str, _Word]]:
    """The word that needs no name (`to` may stand before it), and the others with their values.

    An option's own word is kept for those without a value.
    """
    target: _Word | None = None
    found: dict[str, _Word] = {}
    rest = iter(words)
    for word in rest:
        name = _ALIASES.get(word.text, word.text)
        if positional and name == "priority":
            name = "metric"
        if name not in known:
            bare = name == "to"
            if not positional or target is not None or (not bare and not _is_target(name)):
                raise word.bad(_unknown(word.text, known, line))
            target = _value(word, rest) if bare else word
        elif name in found:
            raise word.bad(f"{name} is given twice")
        else:
            found[name] = word if name in _FLAGS else _value(word, rest)
    return target, found


def _is_target(text: str) -> bool:
    return text in ("default", "any", "all") or bool(re.match(r"[0-9a-fA-F:\[].*[.:]", text))


def _value(word: _Word, rest: Iterator[_Word]) -> _Word:
    value = next(rest, None)
    if value is None:
        raise word.bad(f"{word.text} needs a value")
    return value


def _unknown(word: str, known: Sequence[str], line: str) -> str:
    if word in _HINTS:
        return f"{word} is not supported in {line}=; {_HINTS[word]}"
    near = proposal(word, (*known, *_ALIASES))
    return f"{word} is not supported in {line}=; known are {', '.join(known)}{near}"


def _prefix(word: _Word) -> Prefix:
    text = word.text.replace("[", "").replace("]", "")
    try:
        network = ipaddress.ip_network(text, strict=False)
        strict = ipaddress.ip_address(text.partition("/")[0]) == network.network_address
    except ValueError:
        raise word.bad(f"{word.text} is no network; write ADDRESS/LENGTH or ADDRESS") from None
    if "%" in text or not re.fullmatch(r"[^/]*(/[0-9]{1,3})?", text):
        raise word.bad(f"{word.text} is no network; write ADDRESS/LENGTH or ADDRESS")
    if not strict:
        raise word.bad(f"{word.text} has bits set behind its length; write {network}")
    return Prefix(network.network_address, network.prefixlen)


def _address(word: _Word | None) -> IPAddress | None:
    if word is None:
        return None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(word.text.strip("[]"))
        if "%" not in word.text:
            return address
    raise word.bad(f"{word.text} is no address")


def _interface(word: _Word | None) -> str:
    if word is None:
        return ""
    try:
        return interface_name(word.text)
    except BadValue as problem:
        raise word.bad(problem.text) from None


def _number(word: _Word | None, least: int, most: int, what: str = "") -> int | None:
    if word is None:
        return None
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", word.text):
        value = int(word.text, 16 if word.text[:2] in ("0x", "0X") else 10)
        if least <= value <= most:
            return value
    what = what or "this"
    raise word.bad(f"{what} must be a number from {least} to {most}, not {word.text or 'nothing'}")


def _scope(word: _Word | None) -> int | None:
    if word is None or word.text in SCOPES:
        return None if word is None else SCOPES[word.text]
    if word.text.isdecimal():
        return _number(word, 0, 255, "scope")
    raise word.bad(f"{word.text} is no scope ({', '.join(SCOPES)} or a number)")


def _table(word: _Word | None) -> int:
    if word is None:
        return 0
    if word.text in TABLES:
        return TABLES[word.text]
    if word.text[:1].isdigit():
        return _number(word, 1, _LARGEST, "table") or 0
    names = table_names()
    if word.text not in names:
        near = proposal(word.text, (*TABLES, *names))
        raise word.bad(f"{word.text} is no table: {TABLE_FILES[0]} does not name it{near}")
    return names[word.text]


def table_names() -> dict[str, int]:
    """The names of routing tables that iproute2 knows on this machine."""
    found: dict[str, int] = {}
    for path in (name for pattern in TABLE_FILES for name in sorted(glob.glob(pattern))):
        with contextlib.suppress(OSError), open(path, errors="replace") as file:
            for line in file:
                match = re.match(r"\s*(0x[0-9a-fA-F]{1,8}|[0-9]{1,10})\s+([^\s#]+)", line)
                if match and 0 < int(match[1], 0) <= _LARGEST:
                    found.setdefault(match[2], int(match[1], 0))
    return found
