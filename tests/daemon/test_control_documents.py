"""The documents agree with the code they describe."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from lvsd import config
from lvsd.cli import _parser
from lvsd.control import render, status
from lvsd.control.server import _Requests
from lvsd.core.model import RouterConfig
from lvsd.core.vrrp import timers

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*")))


def section(title: str) -> str:
    """The part of docs/status.md under the heading `title`."""
    text = (ROOT / "docs" / "status.md").read_text()
    return re.split(r"^## ", text.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.M)[0]


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Top level", status.Status),
        ("config", status.ConfigStatus),
        ("vrrp", status.RouterStatus),
        ("virtuals", status.VirtualStatus),
        ("reals", status.RealStatus),
        ("table", status.TableStatus),
    ],
)
def test_status_md_has_every_key_and_no_other(title: str, kind: type[msgspec.Struct]) -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", section(title), flags=re.M)
    documented = {key for row in rows for key in re.findall(r"`(\w+)`", row)}

    assert documented == set(kind.__struct_fields__)


def test_status_md_has_every_path() -> None:
    table = section("The other paths")
    served = _Requests(cast(Any, types.SimpleNamespace()))._paths

    for path, methods in served.items():
        for method in methods:
            assert f"`{method} {path}`" in table


def test_commands_md_has_every_command() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    actions = [a for a in _parser()._actions if a.choices and a.metavar == "COMMAND"]
    (commands,) = [a.choices for a in actions]
    assert commands is not None

    for name in commands:
        assert f"| `lvsd {name}" in text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]

    missing = [link for link in links if not ((ROOT / document).parent / link).exists()]

    assert missing == []


def indented(text: str) -> Iterator[str]:
    """The blocks of a Markdown text that are indented by four blanks, unindented."""
    for block in re.findall(r"(?:^(?:    .*)?\n)+", text, flags=re.M):
        yield "\n".join(line[4:] for line in block.strip("\n").splitlines())


def test_the_readme_s_configuration_loads_without_a_warning() -> None:
    (text,) = [b for b in indented((ROOT / "README.md").read_text()) if b.startswith("check")]

    loaded = config.loads(text.encode(), "lvsd.conf", node="dir1", interfaces=[])

    assert loaded.warnings == ()
    assert [r.priority for r in loaded.routers] == [150]
    assert [len(v.reals) for v in loaded.virtuals] == [2]


def test_the_readme_shows_statuses_as_they_are_printed() -> None:
    now = 1000.0
    common: dict[str, Any] = {"forwarding": "gate", "weight": 5, "latency": 0.01, "check": "http"}
    up: dict[str, Any] = {
        "effective_weight": 5,
        "health": "up",
        "admin": "enabled",
        "reason": "",
        "since": 0.0,
    }
    down = {"effective_weight": 0, "health": "down", "reason": "refused", "since": now - 21}
    drained = {"effective_weight": 0, "admin": "drain", "deadline": now + 299}

    def shown(first: dict[str, Any], second: dict[str, Any]) -> str:
        reals = [
            status.RealStatus(real="192.168.1.4:80", **{**common, **up, **first}),
            status.RealStatus(real="192.168.1.5:80", **{**common, **up, **second}),
        ]
        virtual = status.VirtualStatus(
            virtual="192.168.1.1:80",
            protocol="tcp",
            scheduler="rr",
            up=True,
            fallback=None,
            reals=reals,
        )
        router = status.RouterStatus(
            name="VI_1",
            interface="eth0",
            vrid=51,
            family="inet",
            version=2,
            state="master",
            reason="no advert for 3.4 s",
            since=now - 30,
            priority=150,
            effective_priority=150,
            master="192.168.1.2",
            addresses=["192.168.1.1/32"],
            counters={},
        )
        document = status.Status(
            version="0.1.0",
            pid=304,
            since=now - 36,
            host="dir1",
            config=status.ConfigStatus(
                path="/etc/lvsd/lvsd.conf", sha256="38a85f49dc66" + 52 * "0", loaded=now - 35
            ),
            vrrp=[router],
            virtuals=[virtual],
            syncdaemons=[status.SyncDaemonStatus(role="master", interface="eth1", syncid=51)],
        )
        text = render.status(json.loads(msgspec.json.encode(document)), now)
        return "\n".join(line.rstrip() for line in text.splitlines())

    blocks = [*indented((ROOT / "README.md").read_text())]
    assert "$ lvsd status\n" + shown({}, {}) in blocks
    rows = shown(down, drained).splitlines()
    start = rows.index("TCP  192.168.1.1:80 rr")
    assert "\n".join(rows[start : start + 3]) in blocks


def test_safety_md_computes_leases_and_take_overs_as_the_core_does() -> None:
    text = (ROOT / "docs" / "safety.md").read_text()
    rows = re.findall(r"^\| ([\d.]+) s[^|]*\| (\d+) s \| (.*) \|$", text, flags=re.M)
    assert len(rows) == 4

    for interval, lease, waits in rows:
        router = RouterConfig("VI_1", "eth0", 51, 100, (), advertint=float(interval))
        assert timers.lease_seconds(router) == int(lease)
        for wait, version in re.findall(r"([\d.]+) s(?: \(version (\d)\))?", waits):
            which = int(version or (3 if float(interval) < 1 else 2))
            patience = timers.master_down_interval(which, 100, float(interval))
            assert f"{patience:.1f}" == wait
