"""The lab keeps its promises: IPVS is there, the peers are there, DR traffic arrives."""

import subprocess
from collections.abc import Callable

import pytest

from tests.lab import client
from tests.lab.layout import Layout
from tests.lab.topology import Process, Topology, wait_until

Build = Callable[[Layout], Topology]
PORT = 80


def start_reals(lab: Topology) -> None:
    for node in lab.layout.nodes:
        if node.startswith("rs"):
            lab.serve(node, "--port", PORT)


def ask(lab: Topology, address: str) -> Process:
    host = f"[{address}]" if ":" in address else address
    return lab.ask(f"http://{host}/", "--interval", 100, "--timeout", 3000)


def both_answer(asking: Process) -> bool:
    counts = client.counts(client.requests(asking.log))
    return min(counts["rs1"], counts["rs2"]) > 5


def balance(lab: Topology, vip: str, reals: list[str], forwarding: str) -> None:
    """One ipvsadm on dirA, which also takes the VIP."""
    at = f"[{vip}]" if ":" in vip else vip
    lines = [f"-A -t {at}:{PORT} -s rr"]
    for real in reals:
        to = f"[{real}]" if ":" in real else real
        lines.append(f"-a -t {at}:{PORT} -r {to}:{PORT} {forwarding} -w 1")
    lab.exec("dirA", ["ipvsadm", "-R"], input="\n".join(lines) + "\n")
    # Deprecated, or IPVS would take the VIP as the source of the tunnel to the reals.
    address = f"{vip}/128 preferred_lft 0" if ":" in vip else f"{vip}/32"
    lab.ip("dirA", [f"addr add {address} dev eth0"])


def test_the_kernel_has_ipvs() -> None:
    table = subprocess.run(["ipvsadm", "-Ln"], capture_output=True, text=True, check=True).stdout
    assert table.startswith("IP Virtual Server version 1.2.1 (size=4096)")


@pytest.mark.parametrize(
    ("command", "version"),
    [
        (["keepalived", "--version"], "Keepalived v2.2.7"),
        (["/usr/lib/frr/vrrpd", "--version"], "vrrpd version 8.4.4"),
        (["ldirectord", "--version"], "Linux Director v1.186-ha"),
        (["ipvsadm", "--version"], "ipvsadm v1.31"),
    ],
)
def test_the_peer_runs(topology: Build, command: list[str], version: str) -> None:
    lab = topology(Layout.dr(reals=0))
    done = lab.exec_peer("dirA", command, check=False)
    assert version in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("vip", "reals"),
    [("10.77.0.100", ["10.77.0.21", "10.77.0.22"]), ("fd77::100", ["fd77::21", "fd77::22"])],
)
@pytest.mark.parametrize("method", ["dr", "tun"])
def test_balanced_requests_reach_both_reals(
    topology: Build, method: str, vip: str, reals: list[str]
) -> None:
    lab = topology(Layout.dr() if method == "dr" else Layout.tun())
    start_reals(lab)
    balance(lab, vip, reals, "-g" if method == "dr" else "-i")
    asking = ask(lab, vip)
    wait_until(lambda: both_answer(asking), 30, "both reals answer")
    assert asking.stop() == 0


def test_masqueraded_requests_reach_both_reals(topology: Build) -> None:
    lab = topology(Layout.nat())
    start_reals(lab)
    balance(lab, "10.77.0.100", ["10.78.0.21", "10.78.0.22"], "-m")
    asking = ask(lab, "10.77.0.100")
    wait_until(lambda: both_answer(asking), 30, "both reals answer")
    assert asking.stop() == 0
