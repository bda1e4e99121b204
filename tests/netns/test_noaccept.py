"""`noaccept`: the host behind the address is silent, and what the address needs goes on."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, Vip

pytestmark = pytest.mark.netns

#: A listener on every address of the namespace, and a client that says how its attempt went.
SERVER = """
import socket, sys
sock = socket.create_server(("::", 22), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    sock.accept()[0].close()
"""
CLIENT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 22), timeout=0.7)
    print("connected")
except TimeoutError:
    print("silence")
except OSError as error:
    print(error)
"""
TABLE = """
from lvsd.linux import nftables
nftables.FilterSocket().send(nftables.{})
"""


def inside(namespace, *words):
    return ["ip", "netns", "exec", namespace, *words]


@pytest.fixture
def one(network):
    """A director that holds an address of each family, with sshd's port open."""
    director = network.director(1)
    command = inside(director.namespace, sys.executable, "-c", SERVER)
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        yield director
    finally:
        server.kill()
        server.communicate()


def config(network, **changes):
    six = Vip(ip_address(network.vip6), 128)
    fields = {"version": 3, "advertint": 0.2, "excluded": (six,), "accept": False}
    return network.router(**fields | changes)


def master(network, director, router):
    director.start(router)
    network.eventually(lambda: director.state() == "master")
    network.eventually(lambda: director.holds(network.vip) and director.holds(network.vip6))


def attempt(network, address, namespace=""):
    command = inside(namespace or network.client, sys.executable, "-c", CLIENT, address)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def resolved(network, address):
    command = ["ip", "-n", network.client, "neigh", "show", address]
    return "lladdr" in subprocess.run(command, capture_output=True, text=True).stdout


def table(director):
    """Whether the kernel has our table."""
    try:
        director.python(TABLE.format("inquiry()"))
    except subprocess.CalledProcessError:
        return False
    return True


def test_the_host_is_silent_on_its_virtual_addresses_and_only_there(network, one):
    master(network, one, config(network))

    for vip, own in ((network.vip, "10.77.0.1"), (network.vip6, "fd77::1")):
        probe = network.ping(vip)
        assert attempt(network, vip) == "silence"
        assert not probe.replies()
        probe = network.ping(own)
        assert attempt(network, own) == "connected"
        assert probe.replies()
        assert resolved(network, vip)  # ARP and neighbour discovery go on
        assert attempt(network, vip, one.namespace) == "connected"  # the host itself may

    assert one.stop() == 0
    assert not table(one)


def test_an_owner_and_a_host_without_the_word_answer(network, one):
    master(network, one, config(network, priority=255))
    assert attempt(network, network.vip) == attempt(network, network.vip6) == "connected"
    assert not table(one)

    one.write(config(network, priority=254))
    one.process.send_signal(signal.SIGHUP)
    network.eventually(lambda: table(one))
    assert attempt(network, network.vip) == "silence"
    one.write(config(network, priority=254, accept=True))
    one.process.send_signal(signal.SIGHUP)
    network.eventually(lambda: not table(one))
    assert attempt(network, network.vip) == "connected"


def test_a_killed_main_leaves_no_table_and_no_moment_in_which_the_host_answers(network, one):
    master(network, one, config(network))
    probe = network.ping()

    os.kill(one.pid, signal.SIGKILL)
    network.eventually(lambda: not one.holds(network.vip))
    network.eventually(lambda: not table(one))

    assert not one.holds(network.vip6)
    assert not probe.replies()


def test_a_filter_emptied_by_others_is_made_again(network, one):
    master(network, one, config(network))
    one.python(TABLE.format("demolition()"))

    network.eventually(lambda: "noaccept_lost" in one.log)

    assert table(one)
    assert attempt(network, network.vip) == "silence"


def test_with_a_virtual_mac_the_host_is_silent_too(network, one):
    vip = Vip(ip_address(network.vip6), 128, "vrrp6.51")
    fields = {"family": Family.INET6, "addresses": (vip,), "usevmac": "vrrp6.51"}
    one.start(replace(config(network, excluded=()), **fields))
    network.eventually(lambda: one.state() == "master" and one.holds(network.vip6))

    assert attempt(network, network.vip6) == "silence"
    assert resolved(network, network.vip6)
