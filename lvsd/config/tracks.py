"""What a `vrrp=` block tracks: its `track=` lines, and the blocks that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lvsd.config.diagnostics import BadValue, Report, proposal
from lvsd.config.document import Document, Section, Setting
from lvsd.config.values import interface_name
from lvsd.core.model import (
    Identity,
    RouterConfig,
    Track,
    TrackFile,
    TrackKind,
    TrackProcess,
    TrackScript,
)
from lvsd.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """What may be tracked: the names of blocks, and spellings of virtuals to their names."""

    blocks: Mapping[TrackKind, Sequence[str]]
    services: Mapping[str, str]


def build_scripts(document: Document) -> tuple[TrackScript, ...]:
    """The script= blocks."""
    report = document.report
    everybody = document.globals.value("scriptuser", Identity())
    scripts: dict[str, tuple[TrackScript, Section]] = {}
    for section in document.sections:
        if section.kind != "script" or not section.head_text:
            continue
        name = section.head_text.strip('"')
        if name in scripts:
            report.error(section.head, again("script", name, scripts[name][1]))
        command = section.value("command")
        if command is None:
            report.error(section.head, f"script={name} has no command=")
            continue
        interval = section.value("interval", 1.0)
        script = TrackScript(
            name=name,
            command=command,
            interval=interval,
            timeout=section.value("timeout", interval),
            rise=section.value("rise", 1),
            fall=section.value("fall", 1),
            user=section.value("user", everybody),
        )
        scripts.setdefault(name, (script, section))
    return tuple(script for script, _ in scripts.values())


def build_processes(document: Document) -> tuple[TrackProcess, ...]:
    """The process= blocks."""
    found = []
    for name, section in _blocks(document, "process", "command"):
        quorum, most = section.value("quorum", 1), section.value("quorummax", 0)
        if most and most < quorum:
            document.report.error(section.place("quorummax"), "quorummax is below quorum")
        found.append(
            TrackProcess(
                name=name,
                command=section.value("command"),
                quorum=quorum,
                quorummax=most,
                forkdelay=section.value("forkdelay", 0.0),
                terminatedelay=section.value("terminatedelay", 0.0),
            )
        )
    return tuple(found)


def build_files(document: Document) -> tuple[TrackFile, ...]:
    """The file= blocks."""
    blocks = _blocks(document, "file", "path")
    return tuple(TrackFile(name, section.value("path")) for name, section in blocks)


def _blocks(document: Document, kind: str, needed: str) -> Iterator[tuple[str, Section]]:
    """The blocks of a kind that have what they need, under their names."""
    report = document.report
    seen: dict[str, Section] = {}
    for section in document.sections:
        if section.kind != kind or not section.head_text:
            continue
        name = section.head_text.strip('"')
        if name in seen:
            report.error(section.head, again(kind, name, seen[name]))
        elif section.value(needed) is None:
            if needed not in section.failed:
                report.error(section.head, f"{kind}={name} has no {needed}=")
        else:
            yield name, section
        seen.setdefault(name, section)


def again(what: str, name: str, first: Section) -> str:
    """What to say of a block that is there twice."""
    return f"{what} {name} was defined on line {first.head.line} already"


def build_tracks(section: Section, known: Known, report: Report) -> tuple[Track, ...]:
    """The track= lines of a vrrp= block."""
    tracks = []
    for setting in section.repeated.get("track", []):
        try:
            tracks.append(_track(setting, known))
        except BadValue as problem:
            report.error(setting.place.at(problem.offset), problem.text)
    return tuple(tracks)


def _track(setting: Setting, known: Known) -> Track:
    words = setting.value.split()
    kinds = tuple(TrackKind)
    if words[0] not in kinds:
        listed = ", ".join(kinds)
        raise BadValue(f"track needs one of {listed}, not {words[0]}{proposal(words[0], kinds)}")
    kind = TrackKind(words[0])
    options = words[2:]
    reverse = options[2:] == ["reverse"]
    expected = ["weight", *options[1:2], *["reverse"] * reverse] if options else []
    if len(words) < 2 or len(options) == 1 or options != expected:
        raise BadValue(f"write track={kind} NAME or track={kind} NAME weight N [reverse]")
    name = words[1]
    offset = setting.value.index(name, len(words[0]))
    weight = _weight(options[1]) if options else 0
    if kind is TrackKind.INTERFACE:
        name = interface_name(name)
    elif kind in known.blocks and name not in known.blocks[kind]:
        near = proposal(name, known.blocks[kind])
        raise BadValue(f"there is no {kind}={name} block{near}", offset)
    elif kind is TrackKind.VIRTUAL:
        if name not in known.services:
            raise BadValue(
                f"there is no virtual={name} block{proposal(name, known.services)}", offset
            )
        name = known.services[name]
        if not weight:
            text = "a tracked virtual needs a weight (such as weight -40): without one, dead real"
            raise BadValue(f"{text} servers would put both directors out of service")
    return Track(kind, name, weight, reverse)


def _weight(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,3}", text) or not -253 <= int(text) <= 253:
        raise BadValue(f"a weight is a number from -253 to 253, not {text}")
    return int(text)


def report_unused(document: Document, routers: Iterable[RouterConfig]) -> None:
    """Warn of blocks that nothing tracks."""
    used = {(str(track.kind), track.name) for router in routers for track in router.tracks}
    for block in document.sections:
        name = block.head_text.strip('"')
        if block.kind in ("script", "process", "file") and (block.kind, name) not in used:
            text = f"no vrrp= block tracks this {block.kind}"
            end = "; it is not run" if block.kind == "script" else ""
            document.report.warn(block.head, text + end)
