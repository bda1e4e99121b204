"""Where ldirectord asks once for two services that are not asked alike.

It keeps one check of all real servers with the same identity, and timeouts, accounts, the method
and the failure count are no part of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lvsd.config.diagnostics import Diagnostic
from lvsd.config.document import Section
from lvsd.config.original.remarks import remark
from lvsd.core.model import CheckKind, RealServer, Virtual

#: Fields of a check that are no part of an identity, and what stands for none of them.
_APART: dict[str, Any] = {
    **dict.fromkeys(("login", "passwd", "database", "secret"), b""),
    "timeout": 0,
    "method": "",
}


def shared_checks(blocks: Sequence[tuple[Section, Virtual]]) -> Iterator[Diagnostic]:
    """One remark for each block that gets the check of another, and would not ask the same."""
    first: dict[object, tuple[Section, Virtual, RealServer]] = {}
    for section, virtual in blocks:
        for real in virtual.reals:
            if real.check.kind in (CheckKind.ON, CheckKind.OFF):
                continue
            key = _identity(section, virtual, real)
            other, service, asked = first.setdefault(key, (section, virtual, real))
            if other is not section and (words := _differing(virtual, real, service, asked)):
                line = other.opener.line if other.opener else 1
                text = f"it asks {real.name} once for this block and that of line {line}, with"
                yield remark(section.head, f"{text} the {words} of that one")
                break


def _identity(section: Section, virtual: Virtual, real: RealServer) -> object:
    """What makes two real servers one for it (`get_real_id_str`)."""
    check = replace(real.check, command=(), interval=0, attempts=1, **_APART)
    raw = (section.value(name) for name in ("request", "receive", "virtualhost", "checkcommand"))
    where = (virtual.key.protocol, real.key.port, real.weight, real.forwarding)
    return check, where, tuple(raw)


def _differing(virtual: Virtual, real: RealServer, service: Virtual, asked: RealServer) -> str:
    mine, its = real.check, asked.check
    words = [name for name in _APART if getattr(mine, name) != getattr(its, name)]
    words += ["address"] * (mine.command != its.command)
    words += ["failurecount"] * (virtual.fall != service.fall)
    named = {"method": "httpmethod", "address": "virtual's address"}
    return ", ".join(named.get(word, word) for word in words)
