"""What ldirectord does unasked, for all services of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lvsd.config.diagnostics import Diagnostic, Place
from lvsd.config.original.remarks import remark
from lvsd.core.model import CheckKind, Config, Virtual


def habits(config: Config, path: str) -> Iterator[Diagnostic]:
    """What follows from how it works, for the services of this file."""
    place = Place(path)
    checked = [v for v in config.virtuals if any(_asked(real.check.kind) for real in v.reals)]
    if checked:
        text = "at start and reload each new or dead real server gets its full weight for a moment"
        yield remark(place, text)
        slowest = sum(real.check.timeout for v in checked for real in v.reals)
        text = f"it checks one server after another: with all dead a pass takes {slowest:.0f} s"
        yield remark(place, text)
    if config.autoreload:
        text = "after a reload that failed, no check result counts until the next good one"
        yield remark(place, text)
    if any(real.check.kind is CheckKind.HTTPS for v in checked for real in v.reals):
        text = "its https checks fail on a certificate that the system does not trust"
        yield remark(place, text)
    shared = _shared(checked)
    if shared:
        text = f"servers checked for several services count each failure more than once: {shared}"
        yield remark(place, text)


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
