"""What ldirectord accepts and takes otherwise than lvsd."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lvsd.config.addresses import Resolver, address, crosses_ten, port
from lvsd.config.diagnostics import BadValue, Diagnostic, Place
from lvsd.config.document import Section
from lvsd.config.negotiate import EXTERNAL_KINDS
from lvsd.config.original.reals import taken
from lvsd.config.original.remarks import remark
from lvsd.config.reals import Line, parse
from lvsd.core.model import Check, CheckKind, Forwarding, Protocol, ServiceKey, Virtual

_POP, _FTP, _DNS, _SIP = CheckKind.POP, CheckKind.FTP, CheckKind.DNS, CheckKind.SIP
_IMAP = {CheckKind.IMAP: 143, CheckKind.IMAPS: 993}


def meanings(globals_: Section, blocks: Sequence[tuple[Section, Virtual]]) -> Iterator[Diagnostic]:
    """What it understands differently in the globals and in each block."""
    if '"' in _written(globals_, "maintenancedir"):
        text = "it looks for a folder whose name has the quotes in it: maintenance never works"
        yield remark(globals_.place("maintenancedir"), text)
    if globals_.value("supervised"):
        place = globals_.settings["supervised"].statement.place
        yield remark(
            place, "it logs to standard output then, and to no file (here: standard error)"
        )
    for section, virtual in blocks:
        yield from _policy(section, globals_)
        yield from _service(section, virtual)
        yield from _check(section, virtual)
        yield from _reals(section, virtual.key)


def _written(section: Section, name: str) -> str:
    """The text of a value; "" where none was given."""
    setting = section.settings.get(name)
    return setting.statement.value if setting else ""


def _policy(section: Section, globals_: Section) -> Iterator[Diagnostic]:
    def given(name: str) -> bool:
        return name in section.settings or name in globals_.settings

    if not given("quiescent"):
        text = "quiescent is not set: it removes a failed real server (here: weight 0)"
        yield remark(section.head, text)
    if given("checkcount") and not given("failurecount"):
        place = section if "checkcount" in section.settings else globals_
        text = "it counts only echo requests: one failure is enough"
        yield remark(place.place("checkcount"), text)
    if "checkinterval" in section.settings and not globals_.value("fork", False):
        text = "it ignores this: without fork=yes one pass checks all services"
        yield remark(section.place("checkinterval"), text)
    if "#" in _written(section, "fallbackcommand"):
        yield remark(section.place("fallbackcommand"), "it cuts this at the #, even between quotes")
    if section.head_text.isdigit():
        if "fallback" not in section.settings and "fallback" in globals_.settings:
            yield remark(section.head, "the global fallback never works for a firewall mark")
        if given("fallbackcommand"):
            yield remark(section.head, "its fallbackcommand gets :0 in the place of the mark")


def _service(section: Section, virtual: Virtual) -> Iterator[Diagnostic]:
    if section.value("persistent") == 0:
        text = "ipvsadm refuses a persistence of 0: the service never comes into the table"
        yield remark(section.place("persistent"), text)
    if section.value("ops") and virtual.key.protocol is Protocol.FWM:
        yield remark(section.place("ops"), "it ignores ops for a firewall mark")
    if (digits := re.search("[0-9]+", _written(section, "checkport"))) and digits.start():
        yield remark(section.place("checkport"), f"it takes {digits[0]} for the port")
    text = section.head_text.rpartition(":")[2]
    checktype = section.value("checktype", "negotiate")
    negotiates = checktype == "negotiate" or checktype.isdigit()
    if re.match("0+[1-9]", text) and "service" not in section.settings and negotiates:
        yield remark(section.head, f"port {text} tells it no service: nothing is checked")


def _check(section: Section, virtual: Virtual) -> Iterator[Diagnostic]:
    """What its check of a block's real servers is worth."""
    if not virtual.reals:
        return
    checks = [real.check for real in virtual.reals]
    kind, place = checks[0].kind, section.place("service")
    if text := next(filter(None, map(_outcome, checks)), ""):
        yield remark(place, text)
    if kind in (_FTP, _SIP) and not {"service", "login"} & section.settings.keys():
        yield remark(place, f"without service={kind.value} it logs in with an empty name")
    if kind in _IMAP and any(c.address.version == 4 and c.port != _IMAP[kind] for c in checks):
        text = f"its {kind.value} check asks port {_IMAP[kind]}, whatever is configured (Debian 12)"
        yield remark(place, text)
    if kind is CheckKind.OFF:
        text = (
            "at start each server gets its full weight for a moment, and one that is in the table"
        )
        yield remark(section.place("checktype"), f"{text} stays there, up")
    if kind in EXTERNAL_KINDS:
        place = section.place("checkcommand")
        if len(section.value("checkcommand", ("",))) > 1:
            text = "it looks for a program of this whole name, arguments included: always down"
            yield remark(place, text)
        if kind is CheckKind.EXTERNAL:
            yield remark(place, "a program that dies by a signal passes")
        yield remark(place, "the program gets the daemon's environment (here: PATH and LANG only)")


def _outcome(check: Check) -> str:
    """Why a check of its has one result only; "" where it may have both."""
    kind = check.kind
    if kind in (_POP, CheckKind.POPS) and not check.login:
        return f"without login= its {kind.value} check always passes, even with no server there"
    if kind is _FTP and not check.receive:
        return "without receive= its ftp check always passes, even with no server there"
    if kind is _DNS and not check.receive:
        return "without receive= its dns check never passes"
    return ""


def _reals(section: Section, key: ServiceKey) -> Iterator[Diagnostic]:
    for setting in (*section.repeated.get("real", ()), *section.repeated.get("real6", ())):
        line = parse(str(setting.value), lambda _: None)
        yield from _strings(str(setting.value), line, setting.place)
        if line.last and _vanishes(line, Resolver()):
            text = "it makes no server of this range, whose numbers it compares as text"
            yield remark(setting.place, text)
        if key.protocol is not Protocol.FWM and _moved(line, key):
            text = "each reload removes and adds it, and breaks its connections: the port is not"
            yield remark(setting.place, f"{text} the service's")


def _strings(text: str, line: Line, place: Place) -> Iterator[Diagnostic]:
    try:
        its = taken(text)
    except BadValue:
        return  # it stops there, which is told already
    if its.lost:
        why = "a request that begins with / is lost, with the receive and all behind it: it asks"
        yield remark(place.at(text.find('"')), f"{why} what the block says")
        return
    if its.strings and re.match("[lu]:[0-9]+", its.strings[0]):
        where = place.at(text.find('"'))
        yield remark(where, f"it takes {' and '.join(its.strings)} for request and receive")
    elif line.u_threshold and not its.upper:
        where = place.at(max(text.find("u:"), 0))
        yield remark(where, "it drops u: in this order; l: must come first")
    if its.weight != (1 if line.weight is None else line.weight):
        yield remark(place, f"it takes {its.weight} for the weight")


def _vanishes(line: Line, resolver: Resolver) -> bool:
    ends = (address(host.host, None, resolver) for host in (line.host, line.last or line.host))
    return crosses_ten(*ends)


def _moved(line: Line, key: ServiceKey) -> bool:
    """Whether gate or ipip puts a real server on another port than is written."""
    written = (line.last or line.host).port
    if line.forwarding is Forwarding.MASQ:
        return False
    return not written or port(written, key.protocol, Resolver()) != key.port
