"""The finer words of a `vrrp=` block: those whose field in RouterConfig has the same name.

Only what needs a rule of its own stands here as code; the rest is the table's bounds and the
defaults of the model. The normal form names a word where it differs from its default.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from lvsd.config.diagnostics import Report
from lvsd.config.document import Section
from lvsd.config.vmac import vmac
from lvsd.core.model import Family, RouterConfig

_WORDS = (
    "downtimeradverts",
    "garpmasterrepeat",
    "garpmasterdelay",
    "garpmasterrefresh",
    "garpmasterrefreshrepeat",
    "v3checksumasv2",
    "lowerprionoadvert",
    "higherpriosendadvert",
    "unicastttl",
    "checkunicastsrc",
    "delayafterboot",
    "interfacedowndelay",
    "interfaceupdelay",
    "vmacxmitbase",
    "notifymaster",
    "notifybackup",
    "notifyfault",
    "notifystop",
    "notifymasterrxlowerpri",
)
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RouterConfig)}
#: Words that follow another one unless they are given.
_FOLLOWERS = {
    "garplowerpriorepeat": "garpmasterrepeat",
    "garplowerpriodelay": "garpmasterdelay",
}


def tuning(section: Section, version: int, family: Family, report: Report) -> dict[str, Any]:
    """The fields of a RouterConfig that these words set."""
    if section.value("v3checksumasv2") and (version, family) != (3, Family.INET):
        text = "v3checksumasv2 is for version 3 over IPv4: elsewhere the checksum has one reading"
        report.error(section.place("v3checksumasv2"), text)
    _patient(section, report)
    found = {word: section.value(word, _DEFAULTS[word]) for word in _WORDS}
    followers = {word: section.value(word, found[lead]) for word, lead in _FOLLOWERS.items()}
    return found | followers | vmac(section, family, report)


def _patient(section: Section, report: Report) -> None:
    """A master whose link is down must not outstay its peers' patience."""
    delay = section.value("interfacedowndelay", 0.0)
    adverts, interval = section.value("downtimeradverts", 3), section.value("advertint", 1.0)
    if delay and delay >= (adverts - 1) * interval:
        text = f"interfacedowndelay must be below {(adverts - 1) * interval:g} s,"
        text += " (downtimeradverts - 1) x advertint: by then a peer takes over"
        report.error(section.place("interfacedowndelay"), text)


def tuned(router: RouterConfig) -> list[tuple[str, Any]]:
    """The words to write, with their values as the model has them."""
    members = [(word, getattr(router, word)) for word in (*_WORDS, "usevmac", "accept")]
    told = [(word, value) for word, value in members if value != _DEFAULTS[word]]
    for word, lead in _FOLLOWERS.items():
        if getattr(router, word) != getattr(router, lead):
            told.append((word, getattr(router, word)))
    return told
