"""`noaccept` beside IPVS, with a virtual MAC: the host is silent and its service answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from tests.lab.cluster import Client, Cluster
from tests.lab.layout import Layout
from tests.lab.topology import Topology

VIP, MAC = "10.77.0.100", "00:00:5e:00:01:33"

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
\tusevmac
\tnoaccept
virtual={VIP}:80
\treal=10.77.0.21:80 gate
\treal=10.77.0.22:80 gate
\tchecktype=connect
\tscheduler=rr
"""

#: How an attempt to connect to a port of the address ends.
ATTEMPT = f"""
import socket, sys
try:
    socket.create_connection(("{VIP}", int(sys.argv[1])), timeout=3)
    print("connected")
except TimeoutError:
    print("silence")
except OSError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Topology(Layout.dr()) as lab:
        yield Cluster.build(lab, CONFIG).start()


def attempt(lab: Topology, node: str, port: int) -> str:
    return lab.exec(node, [sys.executable, "-c", ATTEMPT, str(port)]).stdout.strip()


def neighbour(lab: Topology) -> str:
    """The MAC by which the client knows the address."""
    shown = lab.exec("client", ["ip", "-j", "neigh", "show", VIP]).stdout
    return next((str(entry.get("lladdr")) for entry in json.loads(shown)), "")


def test_the_service_answers_where_the_host_is_silent(cluster: Cluster) -> None:
    first, second = cluster.directors
    first.wait_state("master")
    second.wait_state("backup")
    first.wait_judged()
    cluster.lab.serve("dirA", "--port", 22)
    client = Client(cluster.lab, f"http://{VIP}/", "--interval", "20")
    client.answers(30)

    assert attempt(cluster.lab, "client", 22) == "silence"
    assert neighbour(cluster.lab) == MAC

    assert attempt(cluster.lab, "dirA", 22) == "connected"
    first.stop()
    client.answers(30)
    client.stop()
    assert neighbour(cluster.lab) == MAC
