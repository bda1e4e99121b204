"""What lvsd keeps in the kernel besides addresses: threads, settings, and the table itself.

One pair of directors on real IPVS; each test leaves it as it found it, the last one stops it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cluster import Client, Cluster
from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

VIP = "10.77.0.100"
#: A drift is seen within five seconds, and repaired at once.
REPAIR_TIME = 6.0
EXPIRE, THRESHOLD = "expire_quiescent_template", "sync_threshold"

CONFIG = f"""\
checkinterval=1
checktimeout=3
quiescent=yes
vrrp=VI_1
\tinterface=eth0
\tvirtualrouterid=51
\tpriority=dirA:150,dirB:100
\tadvertint=1
\taddress={VIP}
\tsyncdaemon=eth1 51
virtual={VIP}:80
\treal=10.77.0.21:80 gate 2
\treal=10.77.0.22:80 gate 2
\tchecktype=connect
\tscheduler=rr
\tpersistent=300
\tnetmask=255.255.255.0
"""


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """What the settings were before lvsd came, on dirA."""
    return {}


@pytest.fixture(scope="module")
def cluster(before: dict[str, str]) -> Iterator[Cluster]:
    with Topology(Layout.dr()) as lab:
        built = Cluster.build(lab, CONFIG)
        before.update({name: setting(built.directors[0], name) for name in (EXPIRE, THRESHOLD)})
        yield built.start()


@pytest.fixture
def pair(cluster: Cluster) -> tuple[Director, Director]:
    first, second = cluster.directors
    return first, second


def setting(director: Director, name: str) -> str:
    """A sysctl of IPVS in the director's namespace."""
    path = Path(f"/proc/sys/net/ipv4/vs/{name}")
    return " ".join(director.lab.inside(director.node, path.read_text).split())


def threads(director: Director) -> list[str]:
    """The roles of the synchronisation threads, as ipvsadm knows them."""
    shown = director.ipvsadm("-L", "--daemon")
    return re.findall(r"^(\w+) sync daemon .*mcast=eth1, syncid=51", shown, re.MULTILINE)


def wait_threads(director: Director, *roles: str) -> None:
    what = f"{director.node} runs {roles}"
    wait_until(lambda: threads(director) == list(roles), 30, what, interval=0.3)


def table(director: Director) -> list[str]:
    return director.ipvsadm("-Sn").splitlines()


def lvsd(director: Director, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lvsd", *words, "--socket", str(director.socket)]
    return director.lab.exec(director.node, command, check=False)


def test_the_sync_threads_follow_the_roles(pair: tuple[Director, Director]) -> None:
    first, second = pair
    second.wait_state("backup")
    wait_threads(first, "master")
    wait_threads(second, "backup")
    assert first.status()["syncdaemons"] == [{"role": "master", "interface": "eth1", "syncid": 51}]

    assert lvsd(first, "stepdown").returncode == 0

    second.wait_state("master")
    wait_threads(first, "backup")
    wait_threads(second, "master")

    assert lvsd(first, "stepdown", "--undo").returncode == 0

    first.wait_state("master")
    wait_threads(first, "master")
    wait_threads(second, "backup")


def test_settings_are_set_for_what_needs_them(
    pair: tuple[Director, Director], before: dict[str, str]
) -> None:
    assert before == {EXPIRE: "0", THRESHOLD: "3 50"}
    for director in pair:
        wait_until(lambda d=director: setting(d, EXPIRE) == "1", 20, EXPIRE)
        wait_until(lambda d=director: setting(d, THRESHOLD) == "2 50", 20, THRESHOLD)


def test_the_flags_read_as_ipvsadm_prints_them(pair: tuple[Director, Director]) -> None:
    first, _ = pair
    words = f"TCP  {VIP}:80 rr persistent 300 mask 255.255.255.0"
    assert words in map(str.rstrip, first.ipvsadm("-Ln").splitlines())
    assert words in map(str.rstrip, first.command("status").splitlines())


def test_a_cleared_table_is_repaired_and_a_foreign_service_stays(
    pair: tuple[Director, Director],
) -> None:
    first, _ = pair
    whole = table(first)
    foreign = f"-A -t {VIP}:9999 -s lc"

    first.ipvsadm("-C")
    first.ipvsadm("-A", "-t", f"{VIP}:9999", "-s", "lc")
    cleared_at = time.monotonic()

    wait_until(lambda: set(whole) <= set(table(first)), 30, "the table is back")
    assert time.monotonic() - cleared_at < REPAIR_TIME
    wait_until(lambda: first.status()["table"]["foreign"], 20, "the foreign service is shown")
    assert first.status()["table"]["foreign"] == [f"TCP {VIP}:9999 lc"]
    assert first.status()["table"]["in_sync"] is True
    assert set(table(first)) == {*whole, foreign}
    assert "table_repaired" in first.log()
    first.ipvsadm("-D", "-t", f"{VIP}:9999")


def test_a_reload_does_exactly_what_plan_has_said(pair: tuple[Director, Director]) -> None:
    first, _ = pair
    held = table(first)
    text = first.config.read_text()
    first.config.write_text(
        text.replace("10.77.0.21:80 gate 2", "10.77.0.21:80 gate 7").replace("=rr", "=wlc")
    )

    planned = lvsd(first, "plan")

    assert planned.returncode == 3
    steps = re.findall(r"ipvsadm .*", planned.stdout)
    assert steps == [
        f"ipvsadm -E -t {VIP}:80 -s wlc -p 300 -M 255.255.255.0",
        f"ipvsadm -e -t {VIP}:80 -r 10.77.0.21:80 -g -w 7",
    ]
    assert table(first) == held
    told = len(first.log())

    assert lvsd(first, "reload").returncode == 0

    wait_until(lambda: first.log()[told:].count("table_changed") >= 2, 20, "the steps")
    wait_until(lambda: first.status()["table"]["in_sync"], 20, "in sync")
    assert re.findall(r'table_changed step="(.*)"', first.log()[told:]) == steps
    assert any("-r 10.77.0.21:80 -g -w 7" in line for line in table(first))
    assert lvsd(first, "plan").returncode == 0
    first.config.write_text(text)
    assert lvsd(first, "reload").returncode == 0
    wait_until(lambda: table(first) == held, 20, "the old table")


def test_drain_waits_for_the_last_connection(pair: tuple[Director, Director]) -> None:
    first, _ = pair
    client = Client(first.lab, f"http://{VIP}/", "--interval", "1000", "--hold", "3")
    real = client.answers(1)[0].real
    address = {"rs1": "10.77.0.21", "rs2": "10.77.0.22"}[str(real)]
    wait_until(lambda: first.real(f"{address}:80").get("active", 0) >= 3, 30, "connections")
    words = ["drain", address, "--wait", "--socket", str(first.socket)]

    waiting = first.lab.spawn("dirA", [sys.executable, "-m", "lvsd", *words])
    waiting.wait_for(r"[1-9] active connections")
    assert waiting.alive()
    client.stop()

    waiting.wait_for("no active connections")
    assert waiting.wait() == 0
    assert lvsd(first, "undrain", address).returncode == 0


def test_a_stop_puts_everything_back(
    pair: tuple[Director, Director], before: dict[str, str]
) -> None:
    for director in pair:
        assert director.stop() == 0
        assert threads(director) == []
        assert table(director) == []
        assert {name: setting(director, name) for name in before} == before
