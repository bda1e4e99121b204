"""What lowers a priority, and who is told: tracked scripts and virtuals, notify programs.

A whole pair of daemons without IPVS. dirA has 150, dirB 140, so dirB takes over when dirA has lost
more than ten.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

VIP = "10.77.0.100"
Pair = tuple[Director, Director]
Start = Callable[[str], Pair]


@pytest.fixture
def start(topology: Callable[[Layout], Topology]) -> Iterator[Start]:
    """Starts a pair with more lines in the vrrp block and, behind a `%%`, in the whole file.

    `$` stands for a folder of each director's own.
    """
    lab = topology(Layout.dr())
    with contextlib.ExitStack() as stack:

        def pair(lines: str) -> Pair:
            for node in ("rs1", "rs2"):
                lab.serve(node)
            for node in ("dirA", "dirB"):
                folder(lab, node).mkdir()
                (folder(lab, node) / "fine").touch()
            first, second = (
                Director(lab, node, config(lines, folder(lab, node)), table="none").start()
                for node in ("dirA", "dirB")
            )
            stack.callback(lambda: [d.stop() for d in (first, second) if d.process])
            first.wait_judged()
            second.wait_judged()
            first.wait_state("master")
            second.wait_state("backup")
            return first, second

        yield pair


def folder(lab: Topology, node: str) -> Path:
    return lab.folder / f"own-{node}"


def config(lines: str, own: Path) -> str:
    members, _, blocks = lines.partition("%%")
    text = f"""\
checkinterval=1
checktimeout=1
vrrp=VI_1
\tinterface=eth0
\tvirtualrouterid=51
\tversion=3
\tadvertint=0.1
\tpriority=dirA:150,dirB:140
\taddress={VIP}
{members}
virtual={VIP}:80
\treal=10.77.0.21:80 gate
\treal=10.77.0.22:80 gate
\tchecktype=connect
{blocks}
"""
    return text.replace("$", str(own))


def router(director: Director) -> dict[str, object]:
    return dict(director.status()["vrrp"][0])


@pytest.mark.root
def test_a_failing_script_costs_its_weight_and_mastership(start: Start) -> None:
    first, second = start(
        "\ttrack=script chk weight -20\n%%"
        "script=chk\n\tcommand=/usr/bin/test -e $/fine\n"
        "\tinterval=0.1\n\ttimeout=2\n\trise=2\n\tfall=2\n"
    )
    assert router(first)["effective_priority"] == 150
    flag = folder(first.lab, "dirA") / "fine"

    flag.unlink()

    second.wait_state("master", 10)
    first.wait_state("backup", 10)
    assert (router(first)["priority"], router(first)["effective_priority"]) == (150, 130)
    assert second.holds(VIP)
    assert not first.holds(VIP)
    assert "script_down script=chk" in first.log()

    flag.touch()

    first.wait_state("master", 10)
    second.wait_state("backup", 10)
    assert router(first)["effective_priority"] == 150


def test_who_sees_too_few_live_reals_hands_over_to_who_sees_them(start: Start) -> None:
    first, second = start(f"\ttrack=virtual {VIP}:80 weight -60\n")

    for real in ("10.77.0.21", "10.77.0.22"):
        first.lab.exec("dirA", ["ip", "route", "add", "unreachable", real])

    first.wait_health("10.77.0.21:80", "down", 10)
    second.wait_state("master", 10)
    first.wait_state("backup", 10)
    assert router(first)["effective_priority"] == 90
    assert router(second)["effective_priority"] == 140
    assert second.real("10.77.0.21:80")["health"] == "up"

    first.lab.exec("dirA", ["ip", "route", "del", "unreachable", "10.77.0.21"])

    first.wait_state("master", 10)


def test_a_farm_that_is_dead_for_both_moves_nothing(start: Start) -> None:
    first, second = start(f"\ttrack=virtual {VIP}:80 weight -60\n")

    for node in ("rs1", "rs2"):
        next(p for p in first.lab.processes if p.node == node).kill()

    wait_until(lambda: router(first)["effective_priority"] == 90, 10, "dirA has noticed")
    wait_until(lambda: router(second)["effective_priority"] == 80, 10, "dirB has noticed")
    first.wait_state("master", 10)
    second.wait_state("backup", 10)


def program(path: Path, text: str, mode: int = 0o755) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)


def told(director: Director) -> list[str]:
    path = folder(director.lab, director.node) / "told"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.root
def test_notify_programs_are_told_as_keepalived_tells_them_one_at_a_time(
    start: Start, tmp_path: Path
) -> None:
    script = tmp_path / "notify"
    busy = 'mkdir "$1.busy" || echo "two at once" >> "$1"; sleep 0.3; rmdir "$1.busy"'
    program(script, f'{busy}\necho "$# $2 $3 $4 $5" >> "$1"')
    first, second = start(f"\tnotify={script} $/told\n")
    wait_until(lambda: told(first)[-1:] == ["5 INSTANCE VI_1 MASTER 150"], 10, "dirA is told")
    wait_until(lambda: told(second)[-1:] == ["5 INSTANCE VI_1 BACKUP 140"], 10, "dirB is told")

    first.command("stepdown")

    wait_until(lambda: told(first)[-1:] == ["5 INSTANCE VI_1 BACKUP 150"], 10, "dirA is told")
    wait_until(lambda: told(second)[-1:] == ["5 INSTANCE VI_1 MASTER 140"], 10, "dirB is told")
    assert second.stop() == 0
    assert told(second)[-1] == "5 INSTANCE VI_1 STOP 140"
    assert "two at once" not in told(first) + told(second)


def test_a_notify_program_that_hangs_holds_up_nothing(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "notify"
    program(script, "exec sleep 1000")
    first, second = start(f"\tnotify={script}\n")

    assert first.stop() == 0

    second.wait_state("master", 10)
    assert not first.holds(VIP)


def test_programs_that_others_may_write_are_refused(start: Start, tmp_path: Path) -> None:
    script, ran = tmp_path / "notify", tmp_path / "ran"
    program(script, f"echo x >> {ran}", 0o777)
    first, _ = start(
        f"\tnotify={script}\n\ttrack=script chk weight -5\n%%script=chk\n\tcommand={script}\n"
    )

    for event in ("notify_failed", "script_down"):
        line = rf"{event} .*: {script} is writable by others"
        wait_until(lambda line=line: re.search(line, first.log()), 10, line)
    assert not ran.exists()


def test_a_director_process_that_dies_neither_moves_the_vip_nor_the_time(start: Start) -> None:
    first, second = start("")
    before = first.status()

    child = max(first.children())
    os.kill(child, signal.SIGKILL)

    wait_until(lambda: "child_returned" in first.log(), 20, "the child is back")
    wait_until(lambda: first.status().get("director") == "up", 20, "the child answers")
    first.wait_judged()
    after = first.status()
    assert after["since"] == before["since"]
    assert after["vrrp"][0]["since"] == pytest.approx(before["vrrp"][0]["since"], abs=0.1)
    assert second.state == "backup"


def test_the_logfile_has_the_words_of_both_processes(start: Start) -> None:
    first, _ = start("%%logfile=$/log\n")
    log = folder(first.lab, "dirA") / "log"

    for line in ("info router_changed .* state=master", "info vips_bound", "info director_started"):
        wait_until(lambda line=line: re.search(line, log.read_text()), 10, line)

    for event in ("router_changed", "vips_bound"):
        assert log.read_text().count(event) == first.log().count(event)


def test_a_drain_survives_a_stop_and_a_start(start: Start) -> None:
    first, _ = start("")
    first.command("drain", "10.77.0.21")
    assert first.real("10.77.0.21:80")["effective_weight"] == 0

    assert first.stop() == 0
    first.start()
    first.wait_judged()

    real = first.real("10.77.0.21:80")
    assert (real["admin"], real["effective_weight"]) == ("drain", 0)
    first.command("undrain", "10.77.0.21")
    real = first.real("10.77.0.21:80")
    assert (real["admin"], real["effective_weight"]) == ("enabled", 1)
