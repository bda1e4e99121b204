"""Where a block is taken as it says, and ldirectord took it otherwise: one warning each.

Whoever changes over has a file that worked in the other way, perhaps for years.
"""

from __future__ import annotations

from lvsd.config.diagnostics import Report
from lvsd.config.document import Section
from lvsd.core.model import CheckKind, RealServer, Virtual


def warn_of_fixes(section: Section, virtual: Virtual, report: Report) -> None:
    """Warn of what a block's check and fallback are now, and were not."""
    mark = virtual.key.address is None
    if mark and virtual.fallback and not {"fallback", "fallback6"} & section.settings.keys():
        text = "the global fallback is used for this mark too (with ldirectord it never was)"
        report.warn(section.head, text)
    for real in virtual.reals:
        if text := _fixed(real):
            place = section.place("service")
            if real.check.kind is CheckKind.EXTERNAL:
                place = section.place("checkcommand")
            report.warn(place, text)


def _fixed(real: RealServer) -> str:
    check = real.check
    if check.kind in (CheckKind.POP, CheckKind.POPS) and not check.login:
        return "without login= the greeting decides (with ldirectord the check always passes)"
    if check.kind is CheckKind.FTP and not check.receive:
        return (
            "without receive= nothing is fetched: the login decides (with ldirectord the check"
            " always passes)"
        )
    if check.kind is CheckKind.DNS and not check.receive:
        return "without receive= any record will do (with ldirectord the check never passes)"
    if check.kind is CheckKind.EXTERNAL:
        return "death by a signal is a failure (with ldirectord the check passes)"
    return ""
