"""`real=` and `fallback=` lines: HOST[->HOST][:PORT] METHOD [WEIGHT] and options.

Read token by token, quotes first, so that nothing depends on where a number or a comma stands.
gate and ipip can't change ports: the kernel's destination has the service's port (as ipvsadm
does), while the check keeps the port that was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from lvsd.config import addresses
from lvsd.config.addresses import Endpoint, Resolver
from lvsd.config.diagnostics import BadValue, Report, proposal
from lvsd.config.document import Section, Setting
from lvsd.config.expressions import expression
from lvsd.config.negotiate import PORTLESS
from lvsd.config.questions import Question
from lvsd.core.model import (
    Check,
    CheckKind,
    DestinationKey,
    Family,
    Forwarding,
    IPAddress,
    Protocol,
    RealServer,
    ServiceKey,
)

Note = Callable[[str], None]

METHODS = {"gate": Forwarding.ROUTE, "masq": Forwarding.MASQ, "ipip": Forwarding.TUNNEL}
_FOREIGN = {
    **dict.fromkeys(("dr", "route", "g", "-g", "direct"), "gate"),
    **dict.fromkeys(("nat", "masquerade", "m", "-m"), "masq"),
    **dict.fromkeys(("tun", "tunnel", "i", "-i"), "ipip"),
}
#: The line that farms are made of, in one go; every other is read token by token.
_PLAIN = re.compile(
    r"([0-9.]+):([0-9]{1,5})[ \t]+(gate|masq|ipip)(?:[ \t]+([0-9]{1,9}))?", re.ASCII
)
_HEAD = re.compile(r'((?:(?!->)[^\s",])+)(?:\s*->\s*((?:(?!->)[^\s",])+))?')
_TOKEN = re.compile(r'([A-Za-z]+)=("[^"]*"|[^\s"]*)|("[^"]*")|(,)|([^\s",]+)|(")')
_THRESHOLD = re.compile(r"([lu]):([0-9]{1,10})")
_METHOD = re.compile(r'\s*([^\s",]*)')
_NUMBER = re.compile(r"[0-9]{1,10}")
_LITERAL = re.compile(r"[0-9.]+")
_WORDS = ("request", "receive", "checkport", "uthreshold", "lthreshold")


@dataclass(slots=True)
class Line:
    """What a line says, before names are resolved."""

    host: Endpoint
    last: Endpoint | None = None
    forwarding: Forwarding = Forwarding.ROUTE
    weight: int | None = None
    strings: list[str] = field(default_factory=list)
    request: str = ""
    receive: bytes = b""
    checkport: int | None = None
    u_threshold: int = 0
    l_threshold: int = 0


def members(
    section: Section, key: ServiceKey, question: Question, resolver: Resolver, report: Report
) -> tuple[RealServer, ...]:
    """The real servers of a block, in file order; of two with one address the last counts."""
    found: dict[DestinationKey, tuple[RealServer, Setting]] = {}
    settings = section.repeated.get("real", []) + section.repeated.get("real6", [])
    for setting in sorted(settings, key=lambda s: s.statement.line):

        def note(text: str, setting: Setting = setting) -> None:
            report.warn(setting.place, text)

        try:
            for real in _servers(setting.value, key, question, resolver, note):
                if real.key in found:
                    line = found[real.key][1].statement.line
                    note(f"{real.key} was listed on line {line} already; the last one counts")
                found[real.key] = (real, setting)
        except BadValue as problem:
            report.error(setting.place.at(problem.offset), problem.text)
    return tuple(real for real, _ in found.values())


def _servers(
    text: str, key: ServiceKey, question: Question, resolver: Resolver, note: Note
) -> Iterator[RealServer]:
    line = parse(text, note)
    if line.u_threshold < line.l_threshold:
        text = f"the lower threshold {line.l_threshold} is above the upper one, {line.u_threshold}"
        raise BadValue(text)
    for name in ("request", "receive"):
        if getattr(line, name) and name not in question.service.uses:
            note(f"{name} has no effect in a check of {question.kind.value}")
    if question.template.method == "HEAD" and line.receive and not question.template.receive:
        note("a HEAD answer has no body, so receive can never match: this real will be down")
    first = _address(line.host, line.forwarding, key, resolver)
    port = line.last.port if line.last else line.host.port
    written = addresses.port(port, key.protocol, resolver) if port else 0
    targets = [first]
    if line.last:
        targets = addresses.span(first, _address(line.last, line.forwarding, key, resolver))
        if addresses.crosses_ten(first, targets[-1]):
            note(f"the range has {len(targets)} real servers (ldirectord makes none of it)")
    kernel = _kernel_port(written, line.forwarding, key)
    asked = question.target_port(line.checkport, written, key.port)
    _explain(line, written, kernel, asked, key, question, note)
    for target in targets:
        yield RealServer(
            key=DestinationKey(target, kernel),
            forwarding=line.forwarding,
            weight=1 if line.weight is None else line.weight,
            check=_check(line, target, asked, question, resolver),
            u_threshold=line.u_threshold,
            l_threshold=line.l_threshold,
            port=written,
            checkport=question.port if line.checkport is None else line.checkport,
        )


def _kernel_port(written: int, forwarding: Forwarding, key: ServiceKey) -> int:
    if key.protocol is Protocol.FWM:
        return written
    if forwarding is Forwarding.MASQ and written:
        return written
    return key.port


def _explain(
    line: Line,
    written: int,
    kernel: int,
    asked: int,
    key: ServiceKey,
    question: Question,
    note: Note,
) -> None:
    """Say where traffic and checks go when that is not what the line seems to say."""
    on_wire = question.kind not in PORTLESS
    if on_wire and not asked:
        raise BadValue("nothing tells the port to check; add checkport= to the block")
    word = line.forwarding.word
    if written and written != kernel:
        text = f"{word} can't change the port: traffic goes to port {kernel}"
        if on_wire and asked == written:
            text += f", but checks ask port {written}"
        note(f"{text}; write {_host(line)}:{kernel}")
    elif not written and key.protocol is not Protocol.FWM:
        text = f"no port: traffic goes to the service's port {kernel}"
        note(text + (f", checks ask port {asked}" if on_wire and asked != kernel else ""))


def _host(line: Line) -> str:
    host = line.last or line.host
    text = f"[{host.host}]" if host.bracketed else host.host
    return f"{line.host.host}->{text}" if line.last else text


def _address(
    host: Endpoint, forwarding: Forwarding, key: ServiceKey, resolver: Resolver
) -> IPAddress:
    family = Family.INET6 if host.bracketed else None
    literal = _LITERAL.fullmatch(host.host)
    if family is None and not literal:
        family = key.family
    found = addresses.address(host.host, family, resolver)
    if Family.of(found) is not key.family and forwarding is not Forwarding.TUNNEL:
        mine = 6 if key.family is Family.INET6 else 4
        raise BadValue(
            f"{found} is an IPv{found.version} address, the service is IPv{mine}; only ipip"
            " reaches a real server of the other family"
        )
    return found


def _check(
    line: Line, target: IPAddress, port: int, question: Question, resolver: Resolver
) -> Check:
    scheme = f"{question.kind}://"
    if question.kind in (CheckKind.HTTP, CheckKind.HTTPS) and line.request.startswith(scheme):
        return _elsewhere(line, target, question, resolver, scheme)
    return question.to(target, port, line.request, line.receive)


def _elsewhere(
    line: Line, target: IPAddress, question: Question, resolver: Resolver, scheme: str
) -> Check:
    """An absolute request: another host is asked; the Host header stays the real server's."""
    rest, _, path = line.request.removeprefix(scheme).partition("/")
    parts = addresses.endpoint(rest)
    family = Family.INET6 if parts.bracketed else None
    address = addresses.address(parts.host, family, resolver)
    port = addresses.port(parts.port, Protocol.TCP, resolver) if parts.port else 0
    check = question.to(address, port or question.service.port, f"/{path}", line.receive)
    host = f"[{target}]" if target.version == 6 else str(target)
    return replace(check, virtualhost=check.virtualhost or host.encode())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def parse(text: str, note: Note) -> Line:
    """Take a line apart. Raises BadValue."""
    if plain := _PLAIN.fullmatch(text):
        host, port, method, weight = plain.groups()
        return Line(Endpoint(host, port), None, METHODS[method], int(weight) if weight else None)
    match = _HEAD.match(text)
    if match is None:
        raise BadValue(f"a real server is ADDRESS:PORT METHOD, not {text}")
    if text[match.end() : match.end() + 1] == ",":
        found = match[0]
        raise BadValue(f"a comma after {found}; write ADDRESS:PORT METHOD", match.end())
    line = Line(addresses.endpoint(match[1]))
    if match[2]:
        _range(line, match[1], match[2])
    place = _method(line, text, match.end())
    for token in _TOKEN.finditer(text, place):
        try:
            _token(line, token, note)
        except BadValue as problem:
            raise BadValue(problem.text, problem.offset or token.start()) from None
    _strings(line, note)
    return line


def _range(line: Line, first: str, last: str) -> None:
    line.last = addresses.endpoint(last)
    if line.host.port:
        port = f":{line.last.port}" if line.last.port else f":{line.host.port}"
        raise BadValue(
            "in a range only the last address has a port; "
            f"write {line.host.host}->{line.last.host}{port}"
        )
    if line.host.bracketed:
        raise BadValue("a range of IPv6 addresses is not possible; write a line for each")


def _method(line: Line, text: str, start: int) -> int:
    """Read the forwarding method; returns where the rest starts."""
    match = _METHOD.match(text, start)
    word = match[1] if match else ""
    offset = match.start(1) if match else start
    if word in METHODS:
        line.forwarding = METHODS[word]
        return match.end() if match else start
    if not word:
        raise BadValue("the forwarding method is missing: add gate, masq or ipip", start)
    glued = re.fullmatch(r"(gate|masq|ipip)([0-9]+)", word)
    if glued:
        raise BadValue(f"a blank is missing: write {glued[1]} {glued[2]}", offset)
    if word.isdigit() and word.isascii() and not (line.last or line.host).port:
        raise BadValue(f"a blank stands before the port: write {text[:start]}:{word}", offset)
    near = _FOREIGN.get(word.lower())
    hint = f"; did you mean {near}?" if near else proposal(word, METHODS)
    raise BadValue(f"{word} is no forwarding method (gate, masq or ipip){hint}", offset)


def _token(line: Line, token: re.Match[str], note: Note) -> None:
    name, value, quoted, comma, bare, quote = token.groups()
    if quote:
        raise BadValue("the closing double quote is missing")
    if comma:
        return
    if quoted is not None:
        inner = quoted[1:-1]
        threshold = _THRESHOLD.fullmatch(inner)
        if threshold:
            note(f"{quoted} is read as a threshold; write it without quotes: {inner}")
            _set_threshold(line, threshold[1], threshold[2])
        else:
            line.strings.append(inner)
        return
    if name:
        _word(line, name, value, token.start(2))
        return
    threshold = _THRESHOLD.fullmatch(bare)
    if threshold:
        if threshold[1] == "l" and line.u_threshold:
            note("u: stands before l: and counts (ldirectord drops it there)")
        _set_threshold(line, threshold[1], threshold[2])
    elif _NUMBER.fullmatch(bare) and line.weight is None and not line.strings:
        line.weight = _number(bare, "weight", 2**31 - 1)
    elif re.fullmatch(r"-[0-9]+", bare):
        raise BadValue(f"a weight is 0 or more, not {bare}")
    else:
        raise BadValue(f"{bare} has no meaning here{proposal(bare, _WORDS)}")


def _set_threshold(line: Line, which: str, value: str) -> None:
    if which == "u":
        line.u_threshold = _number(value, "threshold", 2**31 - 1)
    else:
        line.l_threshold = _number(value, "threshold", 2**31 - 1)


def _number(value: str, name: str, most: int) -> int:
    if not _NUMBER.fullmatch(value) or int(value) > most:
        raise BadValue(f"{name} must be a number from 0 to {most}, not {value or 'nothing'}")
    return int(value)


def _word(line: Line, name: str, value: str, offset: int) -> None:
    inner = value[1:-1] if value.startswith('"') else value
    if name == "weight":
        raise BadValue(f"write the weight as a number of its own after the method: {inner}")
    if name == "request":
        line.request = inner
    elif name == "receive":
        line.receive = expression(_bytes(inner), offset + value.startswith('"'))
    elif name == "checkport":
        line.checkport = _number(inner, name, 65535)
    elif name in ("uthreshold", "lthreshold"):
        _set_threshold(line, name[0], inner)
    else:
        raise BadValue(f"unknown word {name}={proposal(name, _WORDS)}")


def _strings(line: Line, note: Note) -> None:
    if not line.strings:
        return
    if len(line.strings) != 2:
        raise BadValue(
            'the line needs two strings, "REQUEST", "RECEIVE"; for one alone write request="…"'
            ' or receive="…"'
        )
    request, receive = line.strings
    if request.startswith("/"):
        note("request and receive of this line are used; ldirectord ignored both (leading slash)")
    line.request = line.request or request
    line.receive = line.receive or expression(_bytes(receive))


def fallback(
    section: Section, globals_: Section, key: ServiceKey, resolver: Resolver, report: Report
) -> RealServer | None:
    """The sorry server of a block: its own, else the globals' of the same family."""
    setting = _fallback_of(section, globals_, key.family)
    if setting is not None:
        place = setting.place
        text = setting.value.strip('"').strip()
        try:
            return _sorry(text, key, resolver, lambda warning: report.warn(place, warning))
        except BadValue as problem:
            report.error(place.at(problem.offset), problem.text)
            return None
    if key.family is Family.INET and "fallback6" in section.settings:
        report.error(section.place("fallback6"), "fallback6 is for IPv6 services; write fallback=")
    return None


def _fallback_of(section: Section, globals_: Section, family: Family) -> Setting | None:
    six = family is Family.INET6
    for name in ("fallback6", "fallback") if six else ("fallback",):
        if name in section.settings:
            return section.settings[name]
    for name in ("fallback6", "fallback"):
        setting = globals_.settings.get(name)
        # A global fallback= with a bracketed address is for IPv6 services too.
        if setting and (name == "fallback6" or setting.value.lstrip('"').startswith("[")) is six:
            return setting
    return None


def _sorry(text: str, key: ServiceKey, resolver: Resolver, note: Note) -> RealServer:
    host, *rest = text.split() or [""]
    parts = addresses.endpoint(host)
    words = rest or ["gate"]
    if words[0] not in METHODS:
        if re.fullmatch(r"[0-9]+", words[0]) and not parts.port:
            raise BadValue(f"a blank stands before the port; write {host}:{words[0]}")
        raise BadValue(f"{words[0]} is no forwarding method (gate, masq or ipip)")
    if len(words) > 1:
        raise BadValue(f"a fallback is HOST[:PORT] [METHOD]; {words[1]} is too much")
    forwarding = METHODS[words[0]]
    address = _address(parts, forwarding, key, resolver)
    written = addresses.port(parts.port, key.protocol, resolver) if parts.port else 0
    port = _kernel_port(written, forwarding, key)
    if written and written != port:
        note(f"{words[0]} can't change the port: the fallback of {key} gets port {port}")
    check = Check(CheckKind.ON, address, 0)
    return RealServer(DestinationKey(address, port), forwarding, 1, check)
