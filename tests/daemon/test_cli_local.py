"""The commands that need no daemon: check, plan, help."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd import config
from lvsd.cli import local, main
from lvsd.core.model import Forwarding, Table
from lvsd.core.plan import describe
from lvsd.core.plan import plan as steps_between

GOOD = """\
checkinterval=5
virtual=192.168.195.200:80
\treal=192.168.195.134:80 gate
\treal=192.168.195.135:80 gate 3
\tservice=http
\trequest="test.html"
\treceive="fake"
\tscheduler=wlc
\tprotocol=tcp
"""
BAD = "foo=1\nvirtual=192.0.2.1:99999\n\tscheduler=wlcc\n"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "lvsd.conf"
    path.write_text(GOOD)
    return path


def test_check_of_a_good_file_says_what_is_in_it(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-c", str(good)]) == 0

    out = capsys.readouterr().out
    assert out == f"{good}: ok, 1 virtual service, 2 real servers, 0 virtual routers\n"


def test_check_prints_every_error_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lvsd.conf"
    path.write_text(BAD)

    assert main(["check", "-c", str(path)]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    for place in (f"{path}:1:1: error: ", f"{path}:2:", f"{path}:3:"):
        assert any(line.startswith(place) for line in lines)


def test_the_normal_form_loads_back_to_the_same(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--print", "-c", str(good)]) == 0

    normal = tmp_path / "normal.conf"
    normal.write_text(capsys.readouterr().out)
    first, second = config.load(str(good)), config.load(str(normal))
    assert (second.virtuals, second.routers) == (first.virtuals, first.routers)


def test_a_missing_file_is_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-c", str(tmp_path / "none.conf")]) == 1

    err = capsys.readouterr().err
    assert str(tmp_path / "none.conf") in err
    assert "error:" in err
    assert "Traceback" not in err


def test_a_plan_of_a_bad_file_prints_its_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lvsd.conf"
    path.write_text(BAD)

    assert main(["plan", "-c", str(path), "--socket", str(tmp_path / "none")]) == 1

    assert f"{path}:1:1: error: " in capsys.readouterr().err


def test_a_plan_without_services_needs_no_kernel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lvsd.conf"
    path.write_text("vrrp=VI_1\n\tinterface=lo\n\tvirtualrouterid=1\n\taddress=192.0.2.1\n")

    assert main(["plan", "-c", str(path), "--socket", str(tmp_path / "none")]) == 0

    assert capsys.readouterr().out.startswith("Nothing to do")


def steps(actual: Table, good: Path) -> list[str]:
    loaded = config.load(str(good))
    wished = local._wish(loaded, actual, frozenset({ip_address("192.168.195.135")}))
    return [describe(s) for s in steps_between(local._as_asked(actual, wished), wished, ())]


def table(good: Path) -> Table:
    """The kernel as it holds the good file with every real up."""
    loaded = config.load(str(good))
    wished = local._wish(loaded, {}, frozenset())
    return {
        key: replace(
            entry,
            destinations={
                name: replace(destination, weight=1 if name.address.packed[-1] == 134 else 3)
                for name, destination in entry.destinations.items()
            },
        )
        for key, entry in wished.items()
    }


def test_a_plan_on_an_empty_kernel_adds_reals_at_weight_0(good: Path) -> None:
    assert steps({}, good) == [
        "ipvsadm -A -t 192.168.195.200:80 -s wlc",
        "ipvsadm -a -t 192.168.195.200:80 -r 192.168.195.134:80 -g -w 0",
        "ipvsadm -a -t 192.168.195.200:80 -r 192.168.195.135:80 -g -w 0",
    ]


def test_a_plan_keeps_the_weights_found_in_the_kernel(good: Path) -> None:
    assert steps(table(good), good) == []


def test_a_destination_the_kernel_calls_local_is_no_change(good: Path) -> None:
    actual = {
        key: replace(
            entry,
            destinations={
                name: replace(destination, forwarding=Forwarding.LOCAL)
                for name, destination in entry.destinations.items()
            },
        )
        for key, entry in table(good).items()
    }

    assert steps(actual, good) == []


def test_help_explains_a_directive(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "checkinterval"]) == 0

    assert "checkinterval" in capsys.readouterr().out


def test_help_for_an_unknown_directive_is_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "chekinterval"]) == 1

    err = capsys.readouterr().err
    assert err.startswith("lvsd: ")
    assert "checkinterval" in err


def test_help_alone_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0

    assert "stepdown" in capsys.readouterr().out
