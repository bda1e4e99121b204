"""Connections survive a failover between lvsd and keepalived, which copy them to each other.

dirA runs lvsd, dirB keepalived 2.2.7 with the same table; the kernels' synchronisation threads
talk over eth1. A client holds connections open and asks on them all the time; a director that did
not know such a connection would answer with a reset. Each test starts with lvsd as master.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.lab.cluster import Client, Cluster
from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Process, Topology, wait_until

VIP = "10.77.0.100"
HELD = 3

LVSD = f"""\
checkinterval=1
checktimeout=3
quiescent=yes
vrrp=VI_1
\tinterface=eth0
\tvirtualrouterid=51
\tpriority=150
\tadvertint=1
\taddress={VIP}
\tsyncdaemon=eth1 51
virtual={VIP}:80
\treal=10.77.0.21:80 gate
\treal=10.77.0.22:80 gate
\tchecktype=connect
\tscheduler=rr
"""
KEEPALIVED = f"""\
global_defs {{
    vrrp_version 2
    lvs_sync_daemon eth1 VI_1 id 51
}}
vrrp_instance VI_1 {{
    interface eth0
    state BACKUP
    virtual_router_id 51
    priority 100
    advert_int 1
    virtual_ipaddress {{
        {VIP} dev eth0
    }}
}}
virtual_server {VIP} 80 {{
    delay_loop 1
    lb_algo rr
    lb_kind DR
    protocol TCP
    real_server 10.77.0.21 80 {{
        TCP_CHECK {{
            connect_timeout 3
        }}
    }}
    real_server 10.77.0.22 80 {{
        TCP_CHECK {{
            connect_timeout 3
        }}
    }}
}}
"""


class Keepalived:
    """keepalived with VRRP and checkers on dirB."""

    node = "dirB"

    def __init__(self, lab: Topology) -> None:
        self.lab = lab
        config = lab.folder / "keepalived.conf"
        config.write_text(KEEPALIVED)
        words = ["/usr/sbin/keepalived", "-n", "-l", "-D", "-G", "-f", str(config)]
        for option, name in (("-p", "main"), ("-r", "vrrp"), ("-c", "checkers")):
            words += [option, str(lab.folder / f"keepalived-{name}.pid")]
        self.process: Process = lab.spawn_peer(self.node, words)

    @property
    def state(self) -> str:
        """The state it entered last, "" before the first."""
        entered = re.findall(r"Entering (\w+) STATE", self.process.text())
        return entered[-1].lower() if entered else ""

    def ipvsadm(self, *options: str) -> str:
        """What ipvsadm prints on its director."""
        return self.lab.exec_peer(self.node, ["ipvsadm", *options]).stdout


Side = Director | Keepalived


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Director, Keepalived]]:
    with Topology(Layout.dr()) as lab:
        cluster = Cluster.build(lab, [LVSD]).start()
        ours = cluster.directors[0]
        theirs = Keepalived(lab)
        settled(master=ours, backup=theirs)
        wait_until(lambda: table(theirs) == table(ours), 30, "the same table", interval=0.3)
        yield ours, theirs


@pytest.fixture
def client(sides: tuple[Director, Keepalived]) -> Iterator[list[Client]]:
    """The client, once a test has started it; lvsd is master again afterwards."""
    started: list[Client] = []
    yield started
    for each in started:
        each.stop()
    ours, theirs = sides
    ours.command("stepdown", "--undo")
    settled(master=ours, backup=theirs)


def table(side: Side) -> set[str]:
    return set(side.ipvsadm("-Sn").splitlines())


def threads(side: Side) -> list[str]:
    """The roles of the synchronisation threads."""
    shown = side.ipvsadm("-L", "--daemon")
    return re.findall(r"^(\w+) sync daemon .*mcast=eth1, syncid=51", shown, re.MULTILINE)


def settled(master: Side, backup: Side) -> None:
    """Wait until both have these states, and the threads their roles."""
    for side, role in ((master, "master"), (backup, "backup")):
        wait_until(lambda s=side, r=role: s.state == r, 60, f"{side.node} is {role}", interval=0.1)
        what = f"the {role} thread alone on {side.node}"
        wait_until(lambda s=side, r=role: threads(s) == [r], 30, what, interval=0.3)
        if isinstance(side, Director):
            expected = [{"role": role, "interface": "eth1", "syncid": 51}]
            wait_until(lambda s=side, e=expected: s.status()["syncdaemons"] == e, 20, what)


def connections(side: Side) -> set[tuple[str, str]]:
    """Client's end and real server of every established connection the kernel knows."""
    shown = side.ipvsadm("-L", "-n", "-c")
    pattern = rf"^TCP +\S+ +ESTABLISHED +(10\.77\.0\.2:\d+) +{re.escape(VIP)}:80 +(\S+)"
    return set(re.findall(pattern, shown, re.MULTILINE))


def open_through(side: Side) -> tuple[Client, set[tuple[str, str]]]:
    """A client, and its held connections as the director knows them.

    A director that was told of an earlier client's connections may not have been told of their end.
    """
    before = connections(side)
    client = Client(side.lab, f"http://{VIP}/", "--interval", "3600000", "--hold", str(HELD))
    wait_until(lambda: len(connections(side) - before) == HELD, 30, "connections", interval=0.3)
    return client, connections(side) - before


def goes_on(client: Client) -> None:
    """Wait until every held connection has had more answers, none being broken."""
    before = [held.answers for held in client.held()]
    assert len(before) == HELD

    def more() -> bool:
        fates = client.held()
        assert all(held.broken_at is None for held in fates), fates
        return all(held.answers >= old + 5 for held, old in zip(fates, before, strict=True))

    wait_until(more, 30, "answers on every held connection")


def test_a_connection_made_through_lvsd_is_known_to_keepalived_and_survives_both_ways(
    sides: tuple[Director, Keepalived], client: list[Client]
) -> None:
    ours, theirs = sides
    held, known = open_through(ours)
    client.append(held)
    wait_until(lambda: known <= connections(theirs), 30, "keepalived's kernel knows them")

    ours.command("stepdown")

    settled(master=theirs, backup=ours)
    goes_on(held)
    assert known <= connections(theirs)

    ours.command("stepdown", "--undo")

    settled(master=ours, backup=theirs)
    goes_on(held)
    assert known <= connections(ours)


def test_a_connection_made_through_keepalived_is_known_to_lvsd_and_survives(
    sides: tuple[Director, Keepalived], client: list[Client]
) -> None:
    ours, theirs = sides
    ours.command("stepdown")
    settled(master=theirs, backup=ours)
    held, known = open_through(theirs)
    client.append(held)
    wait_until(lambda: known <= connections(ours), 30, "lvsd's kernel knows them", interval=0.3)

    ours.command("stepdown", "--undo")

    settled(master=ours, backup=theirs)
    goes_on(held)
    assert known <= connections(ours)
