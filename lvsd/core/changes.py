"""What a reload changes, in words for the operator who asked for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from .director import virtual_name
from .model import (
    Check,
    Config,
    RealServer,
    RouterConfig,
    TrackFile,
    TrackProcess,
    TrackScript,
    Virtual,
)

_GLOBALS = ("autoreload", "logfile", "standbytable", "operators", "checkers", "paces")


def changes(old: Config, new: Config) -> tuple[str, ...]:
    """One line per difference, in the order of the configuration; empty when nothing differs."""
    return (*_virtuals(old, new), *_blocks(old, new), *_settings(old, new, _GLOBALS))


def _virtuals(old: Config, new: Config) -> Iterator[str]:
    before = {virtual.key: virtual for virtual in old.virtuals}
    after = {virtual.key: virtual for virtual in new.virtuals}
    for key, virtual in after.items():
        name = f"virtual {virtual_name(key)}"
        if key not in before:
            yield f"added {name}"
        elif before[key] != virtual:
            yield from _virtual(name, before[key], virtual)
    yield from (f"removed virtual {virtual_name(key)}" for key in before if key not in after)


def _virtual(name: str, old: Virtual, new: Virtual) -> Iterator[str]:
    for line in _settings(old.service, new.service, _fields(new.service)):
        yield f"{line} of {name}"
    for line in _settings(old, new, _fields(new, "service", "reals", "fallback")):
        yield f"{line} of {name}"
    before = {real.key: real for real in old.reals}
    after = {real.key: real for real in new.reals}
    for key, real in after.items():
        if key not in before:
            yield f"added real {real.name} to {name}"
        elif before[key] != real:
            yield from (
                f"{line} of real {real.name} in {name}" for line in _real(before[key], real)
            )
    yield from (f"removed real {key} from {name}" for key in before if key not in after)
    if old.fallback != new.fallback:
        yield f"changed fallback {_name(old.fallback)} → {_name(new.fallback)} of {name}"


def _real(old: RealServer, new: RealServer) -> Iterator[str]:
    yield from _settings(old, new, _fields(new, "check", "port", "checkport"))
    if old.check != new.check:
        words = ", ".join(_differing(old.check, new.check))
        yield f"changed check ({words})"


def _differing(old: Check, new: Check) -> list[str]:
    return [name for name in _fields(new) if getattr(old, name) != getattr(new, name)]


_Block = RouterConfig | TrackScript | TrackProcess | TrackFile


def _blocks(old: Config, new: Config) -> Iterator[str]:
    for kind, old_blocks, new_blocks in (
        ("vrrp", old.routers, new.routers),
        ("script", old.scripts, new.scripts),
        ("process", old.processes, new.processes),
        ("file", old.files, new.files),
    ):
        before: dict[str, _Block] = {b.name: b for b in old_blocks}
        after: dict[str, _Block] = {b.name: b for b in new_blocks}
        for name, block in after.items():
            if name not in before:
                yield f"added {kind} {name}"
            elif before[name] != block:
                changed = [
                    f for f in _fields(block) if getattr(before[name], f) != getattr(block, f)
                ]
                yield f"changed {', '.join(changed)} of {kind} {name}"  # names only: no secrets
        yield from (f"removed {kind} {name}" for name in before if name not in after)


def _settings(old: object, new: object, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"changed {name} {_plain(before)} → {_plain(after)}"


def _fields(value: object, *but: str) -> tuple[str, ...]:
    fields = dataclasses.fields(value)  # type: ignore[arg-type]  # always one of the model's
    return tuple(field.name for field in fields if field.name not in ("key", *but))


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(getattr(value, "word", value)) or "none"


def _name(real: RealServer | None) -> str:
    return "none" if real is None else real.name
