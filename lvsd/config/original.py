"""Where ldirectord would act otherwise on the same file: `lvsd check --ldirectord`.

Two kinds of lines are told. What the original refuses, and so stops at, is found line by line with
its own rules of indentation, comments and quotes. What it accepts and takes differently, or does
unasked, is found in what was read. The facts were measured on ldirectord 1.186 of Debian.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator

from lvsd.config import directives
from lvsd.config.addresses import Resolver, port
from lvsd.config.diagnostics import Diagnostic, Place, Report
from lvsd.config.document import Document, Section
from lvsd.config.load import loads
from lvsd.config.reals import parse
from lvsd.config.rows import OPENERS
from lvsd.core.model import CheckKind, Config, Forwarding, ServiceKey, Virtual

WORD = "ldirectord"
_YES_NO = frozenset(
    ("autoreload", "quiescent", "cleanstop", "fork", "readdquiescent", "supervised", "ops")
)
#: What must stand between straight double quotes there.
_QUOTED = frozenset(
    ("callback", "logfile", "request", "receive", "login", "passwd", "database", "secret", "load")
)
_LINE = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*=[ \t]*(.*)", re.ASCII | re.DOTALL)


def surprises(path: str, *, node: str | None = None, text: bytes | None = None) -> list[Diagnostic]:
    """What ldirectord would do differently with the file at `path`, in file order.

    Raises ConfigError where lvsd itself refuses the file.
    """
    if text is None:
        with open(path, "rb") as file:
            text = file.read()
    config = loads(text, path, node=node)
    document = Document(Report(), node or socket.gethostname().split(".")[0])
    document.overlay = {path: text}
    document.read(path)
    found = [*_refused_lines(text, path), *_refused_words(document)]
    found += [*_meanings(document, config), *_habits(config, path)]
    order: dict[str, int] = {}
    for one in found:
        order.setdefault(one.file, len(order))
    return sorted(dict.fromkeys(found), key=lambda d: (order[d.file], d.line, d.column))


def _at(place: Place, text: str) -> Diagnostic:
    return Diagnostic(place.file, place.line, place.column, WORD, text)


def _stops(place: Place, why: str) -> Diagnostic:
    return _at(place, f"it refuses the whole file here: {why}")


# --- what stops it ------------------------------------------------------------


def _refused_lines(text: bytes, path: str) -> Iterator[Diagnostic]:
    """The lines whose shape alone it does not take."""
    if text.startswith(b"\xef\xbb\xbf"):
        yield _stops(Place(path), "a byte-order mark stands before the first word")
    lines = text.removeprefix(b"\xef\xbb\xbf").decode("latin1").split("\n")
    in_block = False
    for number, line in enumerate(lines, 1):
        place = Place(path, number)
        body = line.lstrip(" \t")
        width = len(line[: len(line) - len(body)].replace("\t", "    "))
        if body.startswith("#"):
            continue
        if not body.strip():
            if in_block and width > 4:
                yield _stops(place, "a line of blanks only is an unknown command inside a block")
            in_block = in_block and width > 4
            continue
        in_block = in_block and width > 0
        if 0 < width < 4:
            yield _stops(place, "one to three blanks are neither a block's member nor a global")
        if body.startswith(("virtual=", "virtual6=", "virtual ", "virtual6 ")) and width == 0:
            in_block = True
            if number == len(lines):
                yield _stops(place, "a block without a line after it counts as a duplicate")
        elif match := _LINE.fullmatch(body):
            column = len(line) - len(match[2]) + 1
            yield from _refused_value(match[1], match[2], in_block, place.at(column - 1))


def _refused_value(name: str, value: str, in_block: bool, place: Place) -> Iterator[Diagnostic]:
    if in_block:
        value = value.partition("#")[0]
    if name in _YES_NO and value not in ("yes", "no"):
        what = "a CR" if value.endswith("\r") else "what stands behind it"
        yield _stops(place, f"{name} must be yes or no and nothing else, and {what} counts")
    elif name == "netmask" and value != value.rstrip():
        yield _stops(place, "the blank behind the netmask counts")
    elif name in _QUOTED and not re.match(r'".*"', value):
        cut = " (# cuts the line even between quotes)" if value.startswith('"') else ""
        yield _stops(place, f"{name} must stand in straight double quotes{cut}")


def _refused_words(document: Document) -> Iterator[Diagnostic]:
    """Words, blocks and forms it does not know."""
    for name, setting in _settings(document.globals):
        row = directives.directive(name, document.globals.kind)
        if row is not None and row.origin != WORD:
            yield _stops(setting, f"it does not know {name}=")
    for section in document.sections:
        if section.opener is None:
            continue
        if section.kind != OPENERS["virtual"]:
            yield _stops(section.opener.place, f"it does not know {section.opener.name}=")
            continue
        six = section.opener.name == "virtual6"
        if section.opener.value.startswith("[") and not six:
            yield _stops(section.head, "an IPv6 service must be written virtual6=")
        for name, place in _settings(section):
            row = directives.directive(name, section.kind)
            if row is not None and row.origin != WORD:
                yield _stops(place, f"it does not know {name}=")
        yield from _refused_members(section)


def _refused_members(section: Section) -> Iterator[Diagnostic]:
    if section.value("protocol") == "sctp":
        yield _stops(section.place("protocol"), "protocol must be tcp, udp or fwm")
    for setting in section.repeated.get("real", ()):
        text = str(setting.value)
        if text.startswith("["):
            yield _stops(setting.place, "an IPv6 server must be written real6=")
        elif word := re.search(r"\s(\w+)=", re.sub(r'"[^"]*"', '""', text)):
            yield _stops(setting.place.at(word.start(1)), f"a real line can't hold {word[1]}=")
        elif re.search(r"\s[0-9]+,\s*$", text):
            yield _stops(setting.place, "nothing follows the comma")


def _settings(section: Section) -> Iterator[tuple[str, Place]]:
    for name, setting in section.settings.items():
        yield name, setting.statement.place
    for name, repeated in section.repeated.items():
        for setting in repeated:
            yield name, setting.statement.place


# --- what it takes otherwise -----------------------------------------------------


def _meanings(document: Document, config: Config) -> Iterator[Diagnostic]:
    """What it accepts and understands differently."""
    globals_ = document.globals
    blocks = [s for s in document.sections if s.kind == OPENERS["virtual"] and s.opener]
    if globals_.value("maintenancedir") and '"' in _written(globals_, "maintenancedir"):
        text = "it looks for a folder whose name has the quotes in it: maintenance never works"
        yield _at(globals_.place("maintenancedir"), text)
    for section, virtual in zip(blocks, config.virtuals, strict=True):
        yield from _block_meanings(section, globals_, virtual)


def _block_meanings(section: Section, globals_: Section, virtual: Virtual) -> Iterator[Diagnostic]:
    def given(name: str) -> bool:
        return name in section.settings or name in globals_.settings

    if not given("quiescent"):
        text = "quiescent is not set: it removes a failed real server (here: weight 0)"
        yield _at(section.head, text)
    if given("checkcount") and not given("failurecount"):
        place = section if "checkcount" in section.settings else globals_
        yield _at(place.place("checkcount"), "it counts only echo requests: one failure is enough")
    if "checkinterval" in section.settings and not globals_.value("fork", False):
        text = "it ignores this: without fork=yes one pass checks all services"
        yield _at(section.place("checkinterval"), text)
    mark = section.head_text.isdigit()
    if mark and "fallback" not in section.settings and "fallback" in globals_.settings:
        yield _at(section.head, "the global fallback never works for a firewall mark")
    if "fallbackcommand" in section.settings and "#" in _written(section, "fallbackcommand"):
        yield _at(section.place("fallbackcommand"), "it cuts this at the #, even between quotes")
    if mark and given("fallbackcommand"):
        yield _at(section.head, "its fallbackcommand gets :0 in the place of the mark")
    for setting in (*section.repeated.get("real", ()), *section.repeated.get("real6", ())):
        yield from _real_meanings(str(setting.value), setting.place)
        if not mark and _moved(str(setting.value), virtual.key):
            text = (
                "each reload removes and adds it, and breaks its connections: the port is not the"
            )
            yield _at(setting.place, f"{text} service's")


def _moved(real: str, key: ServiceKey) -> bool:
    """Whether gate or ipip puts a real server on another port than is written."""
    line = parse(real, lambda _: None)
    written = (line.last or line.host).port
    if line.forwarding is Forwarding.MASQ:
        return False
    return not written or port(written, key.protocol, Resolver()) != key.port


def _real_meanings(text: str, place: Place) -> Iterator[Diagnostic]:
    if found := re.search(r'"/', text):
        why = "a request that begins with / is lost, with the receive and all behind it: it asks"
        yield _at(place.at(found.start()), f"{why} what the block says")
    if found := re.search(r"\su:[0-9]+.*\sl:[0-9]+", text):
        yield _at(place.at(found.start()), "it drops u: in this order; l: must come first")


def _written(section: Section, name: str) -> str:
    return section.settings[name].statement.value


# --- what it does unasked --------------------------------------------------------


def _habits(config: Config, path: str) -> Iterator[Diagnostic]:
    """What follows from how it works, for the services of this file."""
    place = Place(path)
    checked = [v for v in config.virtuals if any(_asked(real.check.kind) for real in v.reals)]
    if checked:
        text = "at start and reload each new or dead real server gets its full weight for a moment"
        yield _at(place, text)
        slowest = sum(real.check.timeout for v in checked for real in v.reals)
        text = f"it checks one server after another: with all dead a pass takes {slowest:.0f} s"
        yield _at(place, text)
    if config.autoreload:
        text = "after a reload that failed, no check result counts until the next good one"
        yield _at(place, text)
    if any(real.check.kind is CheckKind.HTTPS for v in checked for real in v.reals):
        text = "its https checks fail on a certificate that the system does not trust"
        yield _at(place, text)
    shared = _shared(checked)
    if shared:
        text = f"servers checked for several services count each failure more than once: {shared}"
        yield _at(place, text)


def _shared(virtuals: Iterable[Virtual]) -> str:
    """Reals with more than one failure to go that ask one question for several services."""
    seen: dict[object, list[str]] = {}
    for virtual in virtuals:
        for real in virtual.reals:
            if _asked(real.check.kind) and virtual.fall > 1:
                key = (real.check, real.key, real.weight, real.forwarding)
                seen.setdefault(key, []).append(real.name)
    return ", ".join(dict.fromkeys(n[0] for n in seen.values() if len(n) > 1))


def _asked(kind: CheckKind) -> bool:
    return kind not in (CheckKind.ON, CheckKind.OFF)
