"""What a reload changes, line by line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lvsd.core.changes import changes
from lvsd.core.model import (
    CheckKind,
    Config,
    Identity,
    Pace,
    TrackFile,
    TrackProcess,
    TrackScript,
)

from .farm import config, real, router, virtual

V = "virtual tcp 192.0.2.1:80"
SORRY = real(9, kind=CheckKind.ON)
SCRIPT = TrackScript("disk", ("/bin/true",))
PROCESS = TrackProcess("web", ("nginx",))
FILE = TrackFile("load", "/run/load")


def lines(old: Config, new: Config) -> tuple[str, ...]:
    """What is said, after a look at the way back: it has as many lines."""
    assert len(changes(new, old)) == len(changes(old, new))
    return changes(old, new)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"quiescent": False}, f"changed quiescent yes → no of {V}"),
        ({"persistent": 60}, f"changed timeout 0 → 60 of {V}"),
        ({"fallback": SORRY}, f"changed fallback none → {SORRY.name} of {V}"),
    ],
)
def test_what_changed_of_a_virtual_is_named(policy, told) -> None:
    assert told in lines(config(virtual(real(4))), config(virtual(real(4), **policy)))


def test_another_check_is_told_by_what_differs() -> None:
    other = real(4, request=b"/alive", timeout=2.0)
    assert lines(config(virtual(real(4))), config(virtual(other))) == (
        f"changed check (timeout, request) of real 198.51.100.4:80 in {V}",
    )


@pytest.mark.parametrize(
    ("field", "block", "kind", "change"),
    [
        ("routers", router(), "vrrp VI_1", {"priority": 50, "scriptuser": Identity("nobody")}),
        ("scripts", SCRIPT, "script disk", {"rise": 2, "user": Identity("nobody", "daemon")}),
        ("processes", PROCESS, "process web", {"quorum": 2}),
        ("files", FILE, "file load", {"path": "/run/other"}),
    ],
)
def test_blocks_are_added_changed_and_removed(field, block, kind, change) -> None:
    without, with_it = config(), config(**{field: (block,)})
    changed = config(**{field: (replace(block, **change),)})

    assert lines(without, with_it) == (f"added {kind}",)
    assert lines(with_it, changed) == (f"changed {', '.join(change)} of {kind}",)
    assert lines(changed, without) == (f"removed {kind}",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"autoreload": True}, "changed autoreload no → yes"),
        ({"logfile": "/var/log/lvsd"}, "changed logfile none → /var/log/lvsd"),
        ({"operators": ("ann", "bob")}, "changed operators none → ann,bob"),
        ({"paces": (Pace((), 0.01), Pace(("eth0", "eth1"), 1.5, 2.0))},
         "changed paces none → all 0.01/0,eth0 eth1 1.5/2"),
    ],
)  # fmt: skip
def test_globals_are_told_with_both_values(change, told) -> None:
    assert lines(config(), config(**change)) == (told,)


def test_what_stays_is_not_mentioned() -> None:
    old = config(virtual(real(4)), routers=(router(),), scripts=(SCRIPT,), files=(FILE,))
    assert lines(old, replace(old, scripts=(replace(SCRIPT, fall=3),))) == (
        "changed fall of script disk",
    )
