"""What a client of the pair sees when a director goes, in every way a director can go.

IPVS and the connection sync are the kernel's own; the times are the protocol's. Where this runs
emulated, programs are some twenty times slower, which is allowed for and named.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab.cluster import Client, Cluster
from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

VIP = "10.77.0.100"
SLOWNESS = 0.6 if os.environ.get("LVSD_IN_VM") else 0.0
MASTER_DOWN = 3 * 1.0 + (256 - 100) / 256
LEASE = 2

CONFIG = f"""\
checkinterval=1
checktimeout=2
quiescent=yes
vrrp=VI_1
\tinterface=eth0
\tvirtualrouterid=51
\tpriority=dirA:150,dirB:100
\tadvertint=1
\taddress={VIP}
\tsyncdaemon=eth1 51
virtual={VIP}:80
\treal=10.77.0.21:80 gate
\treal=10.77.0.22:80 gate
\tservice=http
\trequest="/"
\treceive="rs"
\tscheduler=rr
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Topology(Layout.dr()) as lab:
        yield Cluster.build(lab, CONFIG).start()


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[tuple[Director, Director]]:
    """dirA master and dirB backup, whatever the test before has done to them."""
    first, second = cluster.directors
    yield first, second
    cluster.lab.join("dirA")
    if first.process is None or not first.process.alive():
        first.start()
    second.wait_judged()
    first.wait_judged()
    first.wait_state("master")
    second.wait_state("backup")


@pytest.fixture
def asking(cluster: Cluster, pair: object) -> Iterator[Client]:
    """A new connection every 20 ms, and four held open."""
    client = Client(cluster.lab, f"http://{VIP}/", "--interval", "20", "--hold", "4")
    client.answers(50)
    # The kernel has told the backup of a connection some packets after its start.
    wait_until(lambda: all(held.answers > 15 for held in client.held()), 30, "held ones are used")
    yield client
    client.stop()


def measured(client: Client, since: float, say: Callable[[str, object], None]) -> float:
    """The longest time without service since then, after fifty good answers."""
    client.answers(50)
    outage = client.longest_outage(since)
    say("longest time without service, s", f"{outage:.2f}")
    print(f"longest time without service {outage:.2f} s")
    return outage


def unbroken(client: Client) -> bool:
    return all(held.broken_at is None for held in client.held())


def test_an_orderly_stop_is_not_noticed(
    pair: tuple[Director, Director], asking: Client, record_property: pytest.RecordProperty
) -> None:
    first, second = pair
    at = time.monotonic()

    assert first.stop() == 0

    second.wait_state("master", 10)
    assert measured(asking, at, record_property) <= 0.1 + SLOWNESS
    assert not first.holds(VIP)
    assert unbroken(asking)


def test_the_guard_of_a_killed_main_process_hands_over(
    pair: tuple[Director, Director], asking: Client, record_property: pytest.RecordProperty
) -> None:
    first, second = pair
    at = time.monotonic()

    first.kill_main()

    second.wait_state("master", 10)
    wait_until(lambda: not first.holds(VIP), 5, "the guard has removed the VIP")
    assert measured(asking, at, record_property) <= 0.2 + SLOWNESS
    assert unbroken(asking)


def test_without_any_survivor_the_lease_ends_the_vip(
    pair: tuple[Director, Director], record_property: pytest.RecordProperty
) -> None:
    first, second = pair
    at = time.monotonic()

    first.kill_everything()

    wait_until(lambda: not first.holds(VIP), 10, "the kernel has removed the VIP", interval=0.01)
    gone = time.monotonic() - at
    record_property("VIP gone after, s", f"{gone:.2f}")
    assert gone <= LEASE + 1 + SLOWNESS
    second.wait_state("master", 10)


def test_a_cut_off_master_is_replaced_in_the_master_down_interval(
    cluster: Cluster,
    pair: tuple[Director, Director],
    asking: Client,
    record_property: pytest.RecordProperty,
) -> None:
    first, second = pair
    at = time.monotonic()

    cluster.lab.cut("dirA")

    second.wait_state("master", 15)
    assert measured(asking, at, record_property) <= MASTER_DOWN + 0.5 + SLOWNESS
    assert not first.holds(VIP)


def test_a_stopped_process_is_no_second_owner(pair: tuple[Director, Director]) -> None:
    first, second = pair
    assert first.process is not None

    first.process.send(signal.SIGSTOP)
    try:
        wait_until(lambda: not first.holds(VIP), LEASE + 1 + SLOWNESS, "the lease has ended")
        second.wait_state("master", 10)
    finally:
        first.process.send(signal.SIGCONT)

    first.wait_state("master")
    wait_until(lambda: not second.holds(VIP), 5, "one owner")


def test_changing_weights_breaks_no_connection(
    cluster: Cluster, pair: tuple[Director, Director], asking: Client
) -> None:
    first, second = pair

    first.command("drain", "10.77.0.21")
    wait_until(lambda: "10.77.0.21:80 -g -w 0" in first.ipvsadm(), 10, "drained")
    asking.answers(50)
    assert unbroken(asking)
    first.command("undrain", "10.77.0.21")
    cluster.reals[1].mode("500")
    first.wait_health("10.77.0.22:80", "down")
    asking.answers(50)
    cluster.reals[1].mode("ok")
    first.wait_health("10.77.0.22:80", "up")
    second.wait_health("10.77.0.22:80", "up")
    assert unbroken(asking)


def test_a_dead_child_is_replaced_and_nothing_moves(
    pair: tuple[Director, Director], asking: Client
) -> None:
    first, second = pair
    at = time.monotonic()
    child = max(first.children())

    os.kill(child, signal.SIGKILL)

    wait_until(lambda: first.children() and max(first.children()) != child, 30, "a new child")
    first.wait_judged()
    assert first.state == "master"
    assert second.state == "backup"
    asking.answers(50)
    assert not asking.failed(at)
    assert unbroken(asking)


def test_an_idle_reload_writes_nothing_and_delays_no_advert(
    pair: tuple[Director, Director], asking: Client
) -> None:
    first, second = pair
    before = first.log().count("table_changed")
    heard = second.status()["vrrp"][0]["counters"]["adverts_received"]
    at = time.monotonic()

    for _ in range(3):
        first.command("reload")

    assert first.log().count("table_changed") == before
    wait_until(
        lambda: second.status()["vrrp"][0]["counters"]["adverts_received"] >= heard + 3,
        10,
        "adverts go on",
    )
    took = time.monotonic() - at
    received = second.status()["vrrp"][0]["counters"]["adverts_received"] - heard
    assert received >= int(took) - 1
    assert second.state == "backup"
    assert not asking.failed(at)


def test_a_better_node_takes_over_only_with_a_judged_table(
    cluster: Cluster, pair: tuple[Director, Director]
) -> None:
    first, second = pair
    assert first.stop() == 0
    second.wait_state("master", 10)
    first.lab.exec_peer(first.node, ["ipvsadm", "-C"])
    cluster.reals[1].mode("hang")  # judged only after its time limit
    first.start()
    seen = []

    def master() -> bool:
        status = first.status()
        reals = [real for virtual in status.get("virtuals", []) for real in virtual["reals"]]
        state = next((router["state"] for router in status.get("vrrp", [])), "")
        seen.append((state, [real["health"] for real in reals]))
        return state == "master"

    wait_until(master, 60, "dirA is master", interval=0.05)
    cluster.reals[1].mode("ok")

    assert all("unknown" not in healths for state, healths in seen if state == "master")
    assert all("unknown" not in healths for state, healths in seen if state == "backup")
    assert "10.77.0.21:80 -g -w 1" in first.ipvsadm()
