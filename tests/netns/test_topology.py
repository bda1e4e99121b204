"""The topology builder: what it makes works, and nothing of it stays."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pytest

from tests.lab import client
from tests.lab.layout import Layout
from tests.lab.reaper import NAMESPACES
from tests.lab.topology import Topology, wait_until
from tests.lab.tree import CHECKOUT

Build = Callable[[Layout], Topology]

BUILDER = """
import sys, time
from tests.lab.topology import Layout, Topology
with Topology(Layout.dr()) as lab:
    sleeper = lab.spawn("rs1", ["sleep", "1000"])
    lab.serve("rs2")
    print(lab.prefix, sleeper.pid, flush=True)
    time.sleep(1000)
"""


def reaches(lab: Topology, node: str, address: str) -> bool:
    done = lab.exec_peer(node, ["ping", "-c", "1", "-W", "1", address], check=False)
    return done.returncode == 0


@pytest.mark.parametrize("address", ["10.77.0.11", "10.77.0.22", "fd77::12"])
def test_machines_reach_each_other(topology: Build, address: str) -> None:
    lab = topology(Layout.dr())
    assert reaches(lab, "client", address)


def test_the_vip_of_a_dr_real_does_not_answer_arp(topology: Build) -> None:
    lab = topology(Layout.dr())
    assert "10.77.0.100" in lab.addresses("rs1", "lo")
    assert not reaches(lab, "client", "10.77.0.100")


def test_a_client_behind_a_router_reaches_the_lan(topology: Build) -> None:
    lab = topology(
        Layout(
            client=("172.16.0.2/24",),
            directors=(("192.168.16.2/24",),),
            reals=(("192.168.16.11/24",),),
            vips=("192.168.16.99",),
            router=(("192.168.16.1/24",), ("172.16.0.1/24",)),
        )
    )
    assert reaches(lab, "client", "192.168.16.11")


def test_nat_reals_reach_the_client_through_the_director(topology: Build) -> None:
    lab = topology(Layout.nat())
    assert reaches(lab, "rs1", "10.77.0.2") is False, "the client knows no way to the reals"
    lab.ip("client", ["route add 10.78.0.0/24 via 10.77.0.11"])
    assert reaches(lab, "rs1", "10.77.0.2")


def test_a_cut_cable_takes_the_carrier_away(topology: Build) -> None:
    lab = topology(Layout.dr())

    def carrier() -> str:
        return (
            lab.inside("dirA", Path("/proc/net/dev").exists)
            and lab.exec("dirA", ["ip", "-o", "link", "show", "eth0"]).stdout
        )

    lab.cut("dirA")
    wait_until(lambda: "NO-CARRIER" in carrier())
    assert not reaches(lab, "client", "10.77.0.11")
    lab.join("dirA")
    wait_until(lambda: "NO-CARRIER" not in carrier())
    wait_until(lambda: reaches(lab, "client", "10.77.0.11"))


def test_the_client_sees_an_outage_and_who_answered(topology: Build) -> None:
    lab = topology(Layout.dr(reals=1))
    mode = lab.folder / "mode"
    server = lab.serve("rs1", "--mode-file", mode)
    asking = lab.ask("http://10.77.0.21/", "--hold", 2)
    wait_until(lambda: client.counts(client.requests(asking.log))["rs1"] > 5)
    mode.write_text("500")
    wait_until(lambda: client.outages(client.requests(asking.log)))
    mode.write_text("ok")
    before = len(client.requests(asking.log))
    wait_until(lambda: len(client.requests(asking.log)) > before + 5)
    server.kill()
    wait_until(lambda: all(held.broken_at for held in client.held(asking.log)))
    assert asking.stop() == 0
    seen = client.requests(asking.log)
    first, last = client.outages(seen)
    assert first.lost >= 1
    assert {request.error for request in seen} >= {None, "500", "refused"}
    assert last.end == seen[-1].at
    assert len(client.held(asking.log)) == 2


def test_a_builder_killed_leaves_neither_namespaces_nor_processes() -> None:
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert builder.stdout is not None
    with builder.stdout:
        prefix, pid = builder.stdout.readline().split()
    assert list(NAMESPACES.glob(f"{prefix}*"))
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    wait_until(lambda: not list(NAMESPACES.glob(f"{prefix}*")), what="namespaces are gone")
    wait_until(lambda: not Path("/proc", pid).exists(), what="the process is gone")
    wait_until(lambda: not list(Path(gettempdir()).glob(f"{prefix}*")), what="the folder is gone")


def test_a_test_killed_leaves_no_namespace_of_its_network(tmp_path: Path) -> None:
    words = f"""if True:
        from pathlib import Path
        from tests.netns.network import Network
        with Network(Path({str(tmp_path)!r})) as network:
            print(network.prefix, flush=True)
            input()
    """
    builder = subprocess.Popen(
        [sys.executable, "-c", words],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with builder:
        assert builder.stdout is not None
        prefix = builder.stdout.readline().strip()
        assert list(NAMESPACES.glob(f"{prefix}*"))
        builder.send_signal(signal.SIGKILL)
    wait_until(lambda: not list(NAMESPACES.glob(f"{prefix}*")), what="namespaces are gone")


def test_stopping_the_builder_leaves_nothing(topology: Build) -> None:
    with Topology(Layout.dr()) as lab:
        folder, prefix = lab.folder, lab.prefix
        sleeper = lab.spawn("dirA", ["sleep", "1000"])
    assert not sleeper.alive()
    assert not folder.exists()
    assert not list(NAMESPACES.glob(f"{prefix}*"))
