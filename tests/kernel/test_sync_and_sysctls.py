"""What lvsd keeps in the kernel besides addresses: threads, settings, and the table itself.

One pair of directors on real IPVS; each test leaves it as it found it, the last one stops it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lvsd.control.client import request
from tests.lab.cluster import Client, Cluster
from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

VIP = "10.77.0.100"
#: A drift is seen within five seconds, and repaired at once.
REPAIR_TIME = 6.0
#: A thread with nothing but interface and ID given, as ipvsadm prints it.
PLAIN = r"mcast=eth1, syncid=51, maxlen=1472, group=224\.0\.0\.81, port=8848, ttl=1"
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


def wait_daemons(director: Director, pattern: str) -> None:
    """Wait until the kernel runs one thread, which ipvsadm prints so."""

    def right() -> bool:
        return bool(re.fullmatch(pattern, director.ipvsadm("-L", "--daemon").strip()))

    wait_until(right, 30, f"{director.node}: {pattern}", interval=0.3)


def with_syncdaemon(directors: Sequence[Director], value: str) -> None:
    """Reload with another value of syncdaemon=."""
    for director in directors:
        text = re.sub("syncdaemon=.*", f"syncdaemon={value}", director.config.read_text())
        director.config.write_text(text)
        assert request(str(director.socket), "POST", "/v1/reload")[0] == 200


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("eth0 51", "mcast=eth0, syncid=51,"),
        ("eth1 52", "mcast=eth1, syncid=52,"),
        ("eth1 51 maxlen 1100", "maxlen=1100,"),
        ("eth1 51 port 9000", "port=9000,"),
        ("eth1 51 ttl 3", "ttl=3)"),
        ("eth1 51 group 239.0.0.81", "group=239.0.0.81,"),
        ("eth1 51 group ff02::51", "group=ff02::51,"),
    ],
)
def test_a_changed_parameter_is_applied_by_a_reload(
    pair: tuple[Director, Director], value: str, expected: str
) -> None:
    told = [len(director.log()) for director in pair]

    with_syncdaemon(pair, value)

    for director, role in zip(pair, ("master", "backup"), strict=True):
        wait_daemons(director, rf"{role} sync daemon \(.*{re.escape(expected)}.*")
    for director, before in zip(pair, told, strict=True):
        wait_until(lambda d=director: d.status()["table"]["in_sync"], 20, "in sync")
        assert director.log()[before:].count("sync_started") == 1
    with_syncdaemon(pair, "eth1 51")
    for director, role in zip(pair, ("master", "backup"), strict=True):
        wait_daemons(director, rf"{role} sync daemon \({PLAIN}\)")


def test_with_both_each_director_sends_and_receives(pair: tuple[Director, Director]) -> None:
    with_syncdaemon(pair, "eth1 51 both")

    for director in pair:
        wait_threads(director, "master", "backup")
        wait_until(lambda d=director: len(d.status()["syncdaemons"]) == 2, 10, "both are shown")
    with_syncdaemon(pair, "eth1 51")
    wait_threads(pair[0], "master")
    wait_threads(pair[1], "backup")


def test_threads_that_somebody_stopped_or_started_are_put_right(
    pair: tuple[Director, Director],
) -> None:
    first, second = pair

    first.ipvsadm("--stop-daemon", "master")
    second.ipvsadm("--stop-daemon", "backup")
    second.ipvsadm("--start-daemon", "master", "--mcast-interface", "eth0", "--syncid", "9")

    wait_daemons(first, rf"master sync daemon \({PLAIN}\)")
    wait_daemons(second, rf"backup sync daemon \({PLAIN}\)")


def test_a_thread_follows_an_interface_that_was_made_again(
    pair: tuple[Director, Director],
) -> None:
    first, _ = pair
    made = ["link add sync0 type bridge", "addr add 10.80.0.1/24 dev sync0", "link set sync0 up"]
    first.lab.ip(first.node, made)
    with_syncdaemon([first], "sync0 51")
    wait_daemons(first, r"master sync daemon \(mcast=sync0, .*")
    told = len(first.log())

    first.lab.ip(first.node, ["link del sync0", *made])

    wait_until(lambda: "sync_started" in first.log()[told:], 20, "started again")
    wait_daemons(first, r"master sync daemon \(mcast=sync0, .*")
    with_syncdaemon([first], "eth1 51")
    wait_daemons(first, rf"master sync daemon \({PLAIN}\)")
    first.lab.ip(first.node, ["link del sync0"])


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
