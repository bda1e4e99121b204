"""`virtual=` blocks: the service's identity and attributes, and the policy around it.

Identity waits until the block is read, because a port's name depends on the protocol. Defaults
come from the globals, whatever their place in the file.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Any

from lvsd.config import actions, addresses, questions, reals
from lvsd.config.addresses import Resolver
from lvsd.config.diagnostics import BadValue, Place, Report, proposal
from lvsd.config.document import Document, Section
from lvsd.config.fixes import warn_of_fixes
from lvsd.config.negotiate import PORTLESS
from lvsd.config.questions import Question
from lvsd.config.recall import Recall
from lvsd.core.model import (
    CheckKind,
    Family,
    Protocol,
    RealServer,
    ServiceFlag,
    ServiceKey,
    Virtual,
    VirtualService,
)

_FLAGS = {
    "sh-fallback": ServiceFlag.SCHED1,
    "sh-port": ServiceFlag.SCHED2,
    "mh-fallback": ServiceFlag.SCHED1,
    "mh-port": ServiceFlag.SCHED2,
    "flag-1": ServiceFlag.SCHED1,
    "flag-2": ServiceFlag.SCHED2,
    "flag-3": ServiceFlag.SCHED3,
}

#: One name for each flag, whatever the scheduler.
FLAG_NAMES = {f"flag-{n}": _FLAGS[f"flag-{n}"] for n in (1, 2, 3)}


@dataclass(slots=True)
class Services:
    """What the blocks became. `names` maps each spelling of a service to its proper name."""

    virtuals: list[Virtual]
    names: dict[str, str]
    callback: tuple[str, ...] = ()


def build(document: Document, resolver: Resolver, recall: Recall) -> Services:
    """Every virtual of the document; what is wrong goes to its report."""
    services, reader = Services([], {}), actions.Reader(document)
    services.callback = reader.callback()
    recall.begin(document)
    seen: dict[ServiceKey, Section] = {}
    quiet = False
    for section in document.sections:
        if section.kind != "virtual" or section.opener is None or not section.opener.value:
            continue
        if "quiescent" not in section.settings and "quiescent" not in document.globals.settings:
            if not quiet:
                text = "quiescent is not set: a failed real server stays at weight 0 (yes)"
                document.report.warn(section.head, text)
            quiet = True
        virtual, does = _recalled(section, document, resolver, recall), reader.actions(section)
        if virtual is not None:
            _once(virtual.key, section, seen, document.report)
            services.virtuals.append(
                virtual if does == virtual.actions else replace(virtual, actions=does)
            )
            services.names[section.opener.value] = str(virtual.key)
            services.names[str(virtual.key)] = str(virtual.key)
    _unused_fallbacks(document, services.virtuals)
    return services


def _recalled(
    section: Section, document: Document, resolver: Resolver, recall: Recall
) -> Virtual | None:
    """The virtual of one block, read unless it is known; without its actions."""
    report = document.report
    digest, virtual = recall.find(section)
    if virtual is not None:
        return virtual
    before = len(report.errors), len(report.warnings), resolver.asked
    virtual = _read(section, document, resolver)
    after = len(report.errors), len(report.warnings), resolver.asked
    if virtual is not None and before == after:
        recall.keep(digest, section, virtual)
    return virtual


def _read(section: Section, document: Document, resolver: Resolver) -> Virtual | None:
    try:
        key = identity(section, resolver, document.report)
    except BadValue as problem:
        document.report.error(section.head.at(problem.offset), problem.text)
        key = None
    return _virtual(section, key, document, resolver)


def _unused_fallbacks(document: Document, virtuals: list[Virtual]) -> None:
    """Warn of a global fallback that no service of its family can use."""
    for name in ("fallback", "fallback6"):
        setting = document.globals.settings.get(name)
        if setting is None or document.report.errors:
            continue
        six = name == "fallback6" or setting.value.lstrip('"').startswith("[")
        family = Family.INET6 if six else Family.INET
        if all(virtual.key.family is not family for virtual in virtuals):
            version = 6 if six else 4
            text = f"{name} has no effect: no service is IPv{version}"
            document.report.warn(setting.place, text)


def _once(key: ServiceKey, section: Section, seen: dict[ServiceKey, Section], r: Report) -> None:
    first = seen.setdefault(key, section)
    if first is not section and first.opener is not None:
        where = first.opener.line
        file = "" if first.head.file == section.head.file else f" of {first.head.file}"
        protocol = key.protocol.word
        text = f"{protocol} service {key} was defined on line {where}{file} already"
        r.error(section.head, text)


def _virtual(
    section: Section, key: ServiceKey | None, document: Document, resolver: Resolver
) -> Virtual | None:
    """The virtual of one block, or None when its first line is bad. Checks all members."""
    report = document.report
    # With a bad first line the members are still read, against a stand-in: errors only.
    assumed = key or _stand_in(section)
    if key is None:
        report = Report(errors=report.errors)
    service = _service(section, assumed, report)
    question = questions.question(section, document.globals, assumed, document.node, report)
    members = reals.members(section, assumed, question, resolver, report)
    if not members and not section.repeated:
        report.warn(section.head, f"{assumed} has no real servers")
    if question.unchecked and members:
        report.warn(
            section.head,
            f"the real servers of {assumed} are never checked: "
            f"{question.unchecked}; add service=http or checktype=connect",
        )
    fallback = reals.fallback(section, document.globals, assumed, resolver, report)
    if key is None:
        return None
    virtual = _policy(section, document.globals, service, members, fallback, question, report)
    warn_of_fixes(section, virtual, report)
    return virtual


def _policy(
    section: Section,
    globals_: Section,
    service: VirtualService,
    members: tuple[RealServer, ...],
    fallback: RealServer | None,
    question: Question,
    report: Report,
) -> Virtual:
    def either(name: str, default: Any) -> Any:
        return section.value(name, globals_.value(name, default))

    if "failurecount" not in section.settings and "failurecount" not in globals_.settings:
        _checkcount(section, globals_, question, report)
    watch, failfast = _watch(section, globals_, question, report)
    return Virtual(
        service=service,
        reals=members,
        fallback=fallback,
        quiescent=either("quiescent", True),
        fall=either("failurecount", either("checkcount", 1)),
        rise=section.value("rise", 1),
        quorum=section.value("quorum", 1),
        hysteresis=section.value("hysteresis", 0),
        cleanstop=either("cleanstop", True),
        watch=watch and bool(members),
        failfast=failfast and bool(members),
    )


def _watch(
    section: Section, globals_: Section, question: Question, report: Report
) -> tuple[bool, bool]:
    """`watch` and `failfast`; only what is asked over TCP can be watched."""
    watch, failfast = (
        bool(section.value(n, globals_.value(n, False))) for n in ("watch", "failfast")
    )
    template = question.template
    able = question.kind not in PORTLESS and template.protocol is Protocol.TCP
    if watch and not able and "watch" in section.settings:
        text = f"watch has no effect in a check of {question.kind.value}: it is for TCP"
        report.warn(section.place("watch"), text)
    watch = watch and able
    if failfast and not watch and "failfast" in section.settings:
        report.warn(section.place("failfast"), "failfast has no effect without watch=yes")
    return watch, watch and failfast


def _checkcount(section: Section, globals_: Section, question: Question, report: Report) -> None:
    place = section if "checkcount" in section.settings else globals_
    setting = place.settings.get("checkcount")
    if setting is None:
        return
    count = setting.value
    text = f"checkcount is read as failurecount={count} (in ldirectord it only counts pings)"
    if question.kind is CheckKind.PING:
        text = (
            f"checkcount is read as failurecount={count} too, {count} echo requests in each check"
        )
    report.warn(setting.place, f"{text}; write failurecount={count}")


def _stand_in(section: Section) -> ServiceKey:
    six = section.opener is not None and ("6" in section.opener.name or "[" in section.head_text)
    family = Family.INET6 if six else Family.INET
    address = ipaddress.ip_address("::" if six else "0.0.0.0")
    return ServiceKey(family, Protocol.TCP, address, 80)


def identity(section: Section, resolver: Resolver, report: Report) -> ServiceKey:
    """The key of a block by its first line and protocol=. Raises BadValue."""
    assert section.opener is not None
    text = section.opener.value
    six = section.opener.name == "virtual6"
    given = section.value("protocol")
    if re.fullmatch(r"[0-9]+", text):
        return _mark(text, six, given, section)
    text = _first_word(text, section.head, report)
    if text.startswith('"'):
        raise BadValue(f"no quotes here; write {section.opener.name}={text.strip(chr(34))}")
    if re.match(r"(tcp|udp|sctp):", text):
        word, rest = text.split(":", 1)
        raise BadValue(f"write virtual={rest} and a line protocol={word}")
    parts = addresses.endpoint(text)
    if not parts.port:
        host = f"[{parts.host}]" if parts.bracketed else parts.host
        raise BadValue(f"{host} looks like an address without a port; write {host}:PORT")
    if given == "fwm":
        raise BadValue("protocol=fwm is for firewall marks; an address needs tcp, udp or sctp")
    default = "udp" if parts.port in ("53", "domain") else "tcp"
    protocol = Protocol[(given or default).upper()]
    family = Family.INET6 if six or parts.bracketed else Family.INET
    address = addresses.address(parts.host, family, resolver)
    if Family.of(address) is not family:
        raise BadValue(f"{address} is an IPv{address.version} address; write virtual={text}")
    port = addresses.port(parts.port, protocol, resolver)
    if parts.port.isdigit() and parts.port != str(port):
        text = f"port {parts.port} is port {port} (ldirectord finds no service for it)"
        report.warn(section.head, f"{text}; write {port}")
    if port == 0 and not section.value("persistent"):
        raise BadValue("port 0 (all ports) is only possible with persistent=")
    return ServiceKey(family, protocol, address, port)


def _mark(text: str, six: bool, given: str | None, section: Section) -> ServiceKey:
    if len(text) > 10 or not 1 <= int(text) <= 2**32 - 1:
        raise BadValue(f"a firewall mark is a number from 1 to {2**32 - 1}")
    if given not in (None, "fwm"):
        raise BadValue(f"{text} is a firewall mark; its protocol is fwm, not {given}")
    return ServiceKey(Family.INET6 if six else Family.INET, Protocol.FWM, None, 0, int(text))


def _first_word(text: str, place: Place, report: Report) -> str:
    """The text before the first blank, the rest reported; ldirectord ignores it in silence."""
    first, *rest = text.split(None, 1)
    if not rest:
        if "," in text or "/" in text:
            raise BadValue(f"one service only: write virtual={re.split('[,/]', text)[0]}")
        return text
    port = re.fullmatch(r":?([0-9]+|[a-z][a-z0-9-]*)", rest[0])
    if port and ":" not in first:
        complaint = ""
        try:
            ipaddress.ip_address(first)
        except ValueError:
            complaint = f"{first} is no address, and "
        text = f"{complaint}a blank stands before the port; write {first}:{port[1]}"
        raise BadValue(text)
    report.warn(place.at(len(first)), f"the text after {first} is ignored: {rest[0]}")
    return first


def _service(section: Section, key: ServiceKey, report: Report) -> VirtualService:
    flags = ServiceFlag.NONE
    timeout = section.value("persistent", 0)
    if timeout:
        flags |= ServiceFlag.PERSISTENT
    elif "persistent" in section.settings:
        report.warn(section.place("persistent"), "persistent=0 means no persistence")
    if section.value("ops", False):
        if key.protocol in (Protocol.UDP, Protocol.FWM):
            flags |= ServiceFlag.ONEPACKET
        else:
            text = f"ops has no effect on a {key.protocol.word} service"
            report.warn(section.place("ops"), text)
    engine = section.value("persistenceengine", "")
    if engine and not (timeout and key.protocol is Protocol.UDP):
        text = "persistenceengine=sip needs a udp service with persistent="
        report.error(section.place("persistenceengine"), text)
    return VirtualService(
        key=key,
        scheduler=section.value("scheduler", "wrr"),
        flags=flags | _schedflags(section, report),
        timeout=timeout,
        prefixlen=_prefixlen(section, key.family, report),
        pe_name=engine,
    )


def _schedflags(section: Section, report: Report) -> ServiceFlag:
    flags = ServiceFlag.NONE
    offset = 0
    scheduler = section.value("scheduler", "wrr")
    for word in section.value("schedflags", "").split(","):
        name = word.strip()
        place = section.place("schedflags").at(offset)
        offset += len(word) + 1
        if not name:
            continue
        if name not in _FLAGS:
            report.error(place, f"unknown scheduler flag {name}{proposal(name, _FLAGS)}")
        elif name[:2] in ("sh", "mh") and name[:2] != scheduler:
            report.error(place, f"{name} is a flag of scheduler={name[:2]}, not of {scheduler}")
        else:
            flags |= _FLAGS[name]
    return flags


def _prefixlen(section: Section, family: Family, report: Report) -> int:
    most = 32 if family is Family.INET else 128
    text = section.value("netmask")
    if text is None:
        return most
    place = section.place("netmask")
    found = netmask(text, family)
    if found is None:
        kind = "a mask such as 255.255.255.0 or a length from 1 to 32"
        if family is Family.INET6:
            kind = "a prefix length from 1 to 128"
        report.error(place, f"netmask needs {kind}, not {text}")
        return most
    if not section.value("persistent"):
        report.warn(place, "netmask has no effect without persistent=")
        return most
    return found


def netmask(text: str, family: Family) -> int | None:
    """The length of a dotted mask or of a prefix length; None for anything else."""
    most = 32 if family is Family.INET else 128
    if re.fullmatch(r"[0-9]{1,3}", text):
        return int(text) if 1 <= int(text) <= most else None
    if family is Family.INET6:
        return None
    try:
        mask = int(ipaddress.IPv4Address(text))
    except ValueError:
        return None
    length = mask.bit_count()
    return length if length and mask == (2**32 - 1) ^ (2 ** (32 - length) - 1) else None
