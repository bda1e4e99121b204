"""The documents agree with the code they describe."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lvsd import config
from lvsd.cli import _parser
from lvsd.control import status
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
    served = _Requests(typing.cast("typing.Any", types.SimpleNamespace()))._paths

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
