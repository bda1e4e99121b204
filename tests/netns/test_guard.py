"""The guard on its own: quiet while all is well, quick when main is gone."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvsd.daemon import guard

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parents[2]

# A main that only holds one VIP and tells its guard, then does what its argument says.
MAIN = """
import os, signal, sys, time
from lvsd.daemon import guard as guard_process
guard = guard_process.fork()
import socket
from ipaddress import ip_address
from lvsd.core.model import Vip
from lvsd.linux import bpf, rtnl
index = socket.if_nametoindex("eth0")
vip = Vip(ip_address("10.77.0.100"), 32)
kernel = rtnl.AddressSocket()
assert kernel.send([rtnl.new_address(vip, index, 30)]) == [0]
ward = guard_process.Ward(
    interface="eth0", index=index, neighbours="eth0", family=2, mac=bytes.fromhex("020000770001"),
    farewells=(guard_process.Packet(ip_address("224.0.0.18").packed, b"", bytes(20)),),
    deletions=(rtnl.delete_address(vip, index).message,),
    vips=(vip.address.packed,),
    filters=((bpf.ETH_P_ARP, bpf.assemble(bpf.arp_filter([vip.address]))),),
    advert_filter=bpf.assemble(bpf.vrrp_filter([51], ipv4=True)),
    group=ip_address("224.0.0.18").packed, limit=float(sys.argv[2]),
)
assert guard.update((ward,))
if sys.argv[1] == "handover":
    guard.handover(time.monotonic() + 1.0)
print(guard.pid, flush=True)
if sys.argv[1] == "release":
    guard.release()
    sys.exit(0)
signal.pause()
"""


def start(network, director, verb, limit):
    command = ["ip", "netns", "exec", director.namespace, sys.executable, "-c", MAIN]
    process = subprocess.Popen(
        [*command, verb, str(limit)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process.stdout as said:
        return process, int(said.readline())


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def announce(network, kind):
    """Somebody else, on the client, claims the VIP."""
    network.ip("-n", network.client, "address", "replace", f"{network.vip}/32", "dev", "eth0")
    command = ["ip", "netns", "exec", network.client, sys.executable, "-c", kind]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


ARP = """
import socket
from ipaddress import ip_address
from lvsd.core.packet import gratuitous_arp
mac = open("/sys/class/net/eth0/address").read().strip()
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.sendto(gratuitous_arp(bytes.fromhex(mac.replace(":", "")), ip_address("10.77.0.100")),
            ("eth0", 0))
"""
ADVERT = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.0.200"))
sock.sendto(bytes([0x21, 51, 100, 1, 0, 1, 0, 0]) + bytes(12), ("224.0.0.18", 0))
"""


def test_an_orderly_end_leaves_the_vip_alone(network):
    one = network.director(1)

    main, guard = start(network, one, "release", 0.2)

    assert main.wait(timeout=5) == 0
    assert not alive(guard)
    assert one.holds()


def test_after_mains_death_the_vip_serves_until_the_limit_and_goes(network):
    one = network.director(1)
    main, guard = start(network, one, "wait", 0.5)

    main.kill()
    died_at = time.monotonic()
    assert one.holds()
    network.eventually(lambda: not one.holds())

    assert 0.4 < time.monotonic() - died_at < 0.9
    network.eventually(lambda: not alive(guard))
    main.wait()


@pytest.mark.parametrize("relief", [ARP, ADVERT], ids=["announcement", "advert"])
def test_a_peer_that_takes_over_relieves_at_once(network, relief):
    one = network.director(1)
    main, guard = start(network, one, "wait", 30)

    main.kill()
    main.wait()
    # The guard opens its ears within milliseconds; an announcement may come before, so repeat it.
    network.eventually(lambda: (announce(network, relief), not one.holds())[1])

    network.eventually(lambda: not alive(guard))


def test_it_ignores_the_signals_meant_for_main(network):
    one = network.director(1)
    main, guard = start(network, one, "wait", 0.1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGVTALRM):
        os.kill(guard, number)

    assert Path(f"/proc/{guard}/comm").read_text() == "lvsd-guard\n"
    assert os.getpgid(guard) != os.getpgid(main.pid)
    assert alive(guard)
    main.kill()
    main.wait()
    network.eventually(lambda: not one.holds())


def test_a_handover_keeps_it_quiet_until_the_deadline(network):
    one = network.director(1)
    main, _ = start(network, one, "handover", 0.1)

    main.kill()
    died_at = time.monotonic()
    main.wait()
    network.eventually(lambda: not one.holds())

    assert 0.9 < time.monotonic() - died_at < 1.6


def test_mains_end_of_the_pair_is_the_first_that_the_kernel_releases():
    """Descriptors go from the highest down, and the packet sockets below take 10 ms each."""
    ours, theirs = guard._pair()
    packets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) for _ in range(3)]

    assert all(ours.fileno() > packet.fileno() for packet in packets)
    for sock in (ours, theirs, *packets):
        sock.close()
