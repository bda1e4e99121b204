"""What ldirectord refuses, and so stops at: lines, words and forms that lvsd takes.

Lines are found with its own rules of indentation, comments and quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lvsd.config import directives
from lvsd.config.diagnostics import BadValue, Diagnostic, Place
from lvsd.config.document import Document, Section
from lvsd.config.original.reals import taken
from lvsd.config.original.remarks import WORD, stops
from lvsd.config.rows import OPENERS
from lvsd.core.model import Moment

_YES_NO = frozenset(
    ("autoreload", "quiescent", "cleanstop", "fork", "readdquiescent", "supervised", "ops")
)
#: What must stand between straight double quotes there.
_QUOTED = frozenset(
    ("callback", "logfile", "request", "receive", "login", "passwd", "database", "secret", "load")
)
#: Words of ldirectord's that it does not know inside a block.
_GLOBAL_ONLY = frozenset(("emailalertfrom",))
_LINE = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*=[ \t]*(.*)", re.ASCII | re.DOTALL)


def refused_lines(text: bytes, path: str) -> Iterator[Diagnostic]:
    """The lines whose shape alone it does not take."""
    if text.startswith(b"\xef\xbb\xbf"):
        yield stops(Place(path), "a byte-order mark stands before the first word")
    lines = text.removeprefix(b"\xef\xbb\xbf").decode("latin1").split("\n")
    block = ""
    for number, line in enumerate(lines, 1):
        place = Place(path, number)
        body = line.lstrip(" \t")
        width = len(line[: len(line) - len(body)].replace("\t", "    "))
        if body.startswith("#"):
            continue
        if not body.strip():
            if block and width > 4:
                yield stops(place, "a line of blanks only is an unknown command inside a block")
            block = block if width > 4 else ""
            continue
        block = block if width > 0 else ""
        if 0 < width < 4:
            yield stops(place, "one to three blanks are neither a block's member nor a global")
        if width == 0 and (opener := re.match(r"(virtual6?)[= ]", body)):
            block = opener[1]
            if number == len(lines):
                yield stops(place, "a block without a line after it counts as a duplicate")
        elif match := _LINE.fullmatch(body):
            value = match[2].partition("#")[0] if block else match[2]
            if why := _refused_value(match[1], value, block):
                yield stops(place.at(len(line) - len(match[2])), why)


def _refused_value(name: str, value: str, block: str) -> str:
    """Why it does not take a value, in a `block` or among the globals (""); "" if it does."""
    if name in _YES_NO and value not in ("yes", "no"):
        what = "a CR" if value.endswith("\r") else "what stands behind it"
        return f"{name} must be yes or no and nothing else, and {what} counts"
    if name in _QUOTED and not re.match(r'".*"', value):
        cut = " (# cuts the line even between quotes)" if value.startswith('"') else ""
        return f"{name} must stand in straight double quotes{cut}"
    if name == "netmask":
        return _refused_netmask(value, block)
    if name in ("fallback", "fallback6"):
        return _refused_fallback(name, value)
    if name == "emailalertstatus":
        return _refused_status(value)
    if name == "smtp" and not re.match(r"[0-9A-Za-z._+-]", value):
        return "smtp is a bare host, without quotes or brackets"
    if name == "protocol" and not re.match(r"\W*(tcp|udp|fwm)(?!\w)", value, re.ASCII):
        return "protocol must be tcp, udp or fwm"
    if name == "checkport" and not re.search("[0-9]", value):
        return "checkport must be a number"
    return ""


def _refused_netmask(value: str, block: str) -> str:
    if value != value.rstrip():
        return "the blank behind the netmask counts"
    if block == "virtual" and not re.fullmatch(r"[0-9]+(\.[0-9]+){3}", value):
        return "an IPv4 netmask must be a dotted quad such as 255.255.255.0"
    return ""


def _refused_fallback(name: str, value: str) -> str:
    if '"' in value:
        return f"{name} must stand without quotes"
    if "#" in value:
        return f"there are no comments behind a global {name}"
    if name == "fallback" and value.startswith("["):
        return "an IPv6 fallback must be written fallback6="
    return ""


def _refused_status(value: str) -> str:
    words = re.split(r"\s*,\s*", value.rstrip(","))
    if bad := next((word for word in words if word not in ("all", "none", *Moment)), None):
        tail = ", and what stands behind them counts" if bad.split() != [bad] else ""
        return f"emailalertstatus takes bare words between commas{tail}"
    return ""


def refused_words(document: Document) -> Iterator[Diagnostic]:
    """Words, blocks and forms it does not know."""
    yield from _unknown_words(document.globals)
    for section in document.sections:
        if section.opener is None:
            continue
        if section.kind != OPENERS["virtual"]:
            yield stops(section.opener.place, f"it does not know {section.opener.name}=")
            continue
        six = section.opener.name == "virtual6"
        if section.opener.value.startswith("[") and not six:
            yield stops(section.head, "an IPv6 service must be written virtual6=")
        yield from _unknown_words(section)
        yield from _refused_reals(section, six)


def _unknown_words(section: Section) -> Iterator[Diagnostic]:
    for name, place in _words(section):
        row = directives.directive(name, section.kind)
        foreign = row is not None and row.origin != WORD
        if foreign or (section.opener is not None and name in _GLOBAL_ONLY):
            where = "" if foreign else " inside a block"
            yield stops(place, f"it does not know {name}={where}")


def _words(section: Section) -> Iterator[tuple[str, Place]]:
    for name, setting in section.settings.items():
        yield name, setting.statement.place
    for name, repeated in section.repeated.items():
        for setting in repeated:
            yield name, setting.statement.place


def _refused_reals(section: Section, six: bool) -> Iterator[Diagnostic]:
    opener, right = ("virtual6", "6") if six else ("virtual", "")
    for name in ("real", "real6", "fallback", "fallback6"):
        given = section.settings.get(name)
        settings = section.repeated.get(name, [given] if given else [])
        if name.endswith("6") != six:
            for setting in settings:
                word = f"{name.removesuffix('6')}{right}"
                why = f"below {opener}= it must be written {word}="
                yield stops(setting.statement.place, why)
        elif name in section.repeated:
            for setting in settings:
                try:
                    taken(str(setting.value))
                except BadValue as problem:
                    yield stops(setting.place.at(problem.offset), problem.text)
