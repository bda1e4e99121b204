"""`garpinterval=`, `gnainterval=` and `garpgroup=INTERFACE... [garpinterval S] [gnainterval S]`."""

from __future__ import annotations

from collections.abc import Iterator

from lvsd.config import directives
from lvsd.config.diagnostics import BadValue
from lvsd.config.document import Document, Setting
from lvsd.config.rows import G
from lvsd.config.values import decimal, interface_name
from lvsd.core.model import Pace

_WORDS = ("garpinterval", "gnainterval")


def build_paces(document: Document) -> tuple[Pace, ...]:
    """The pace of all interfaces, if there is one, and those of groups."""
    common = Pace((), *(document.globals.value(word, 0.0) for word in _WORDS))
    paces = [common] if common != Pace() else []
    grouped: set[str] = set()
    for setting in document.globals.repeated.get("garpgroup", []):
        try:
            pace = _group(setting, common)
            if again := grouped.intersection(pace.interfaces):
                raise BadValue(f"interface {min(again)} is in another garpgroup already")
        except BadValue as problem:
            document.report.error(setting.place.at(problem.offset), problem.text)
            continue
        grouped.update(pace.interfaces)
        paces.append(pace)
    return tuple(paces)


def _group(setting: Setting, common: Pace) -> Pace:
    """One line. A group goes by the common pace where it does not say otherwise."""
    names: list[str] = []
    given = {word: getattr(common, word) for word in _WORDS}
    words = iter(setting.value.split())
    for word in words:
        if word in _WORDS:
            given[word] = _seconds(word, next(words, ""))
        elif (name := interface_name(word)) in names:
            raise BadValue(f"interface {name} is listed twice")
        else:
            names.append(name)
    if not names:
        raise BadValue("garpgroup= needs the names of interfaces")
    return Pace(tuple(names), given["garpinterval"], given["gnainterval"])


def _seconds(word: str, value: str) -> float:
    row = directives.directive(word, G)
    assert row is not None
    return decimal(value, row, lambda text: None)


def render_paces(paces: tuple[Pace, ...]) -> Iterator[str]:
    """The lines of the normal form."""
    for pace in paces:
        values = [(word, f"{getattr(pace, word):.9f}".rstrip("0").rstrip(".")) for word in _WORDS]
        if pace.interfaces:
            told = [f"{word} {value}" for word, value in values]
            yield f"garpgroup={' '.join((*pace.interfaces, *told))}\n"
        else:
            yield from (f"{word}={value}\n" for word, value in values)
