"""lvsd and keepalived on one segment: each takes over from the other, in either role."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, Vip
from tests.lab.tree import ensure
from tests.netns.network import Network

pytestmark = [pytest.mark.interop, pytest.mark.netns]

CONFIG = """
global_defs {{ vrrp_version {version} }}
vrrp_instance VI_1 {{
    interface eth0
    state BACKUP
    virtual_router_id 51
    priority {priority}
    advert_int {interval}
    {authentication}
    virtual_ipaddress {{ {vip} dev eth0 }}
}}
"""
PASSWORD = "authentication {\n auth_type PASS\n auth_pass 1111\n }"


@pytest.fixture
def network(tmp_path) -> Iterator[Network]:
    with Network(tmp_path) as made:
        yield made


class Keepalived:
    """keepalived of the lab's tree, in the namespace of a director."""

    def __init__(self, network, director, **settings):
        self.director, self.folder = director, network.folder
        (self.folder / "keepalived.conf").write_text(CONFIG.format(**settings))
        tree = ensure().root
        script = (
            f"set -e; cd {tree}; mount --rbind /dev dev; mount -t proc proc proc;"
            "for d in run tmp; do mount -t tmpfs tmpfs $d; done;"
            f"cp {self.folder}/keepalived.conf run/k.conf;"
            "exec chroot . /usr/sbin/keepalived -n -l -P -D -G -f /run/k.conf -p /run/k.pid"
            " -r /run/kv.pid"
        )
        inside = ["ip", "netns", "exec", director.namespace]
        mounts = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
        self.log = (self.folder / "keepalived.log").open("w+")
        self.process = subprocess.Popen(
            [*inside, *mounts], stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def stop(self):
        """An orderly stop: it says priority 0."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=15)

    def said(self):
        return (self.folder / "keepalived.log").read_text()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=15)
        self.log.close()


@contextmanager
def keepalived(*words, **settings):
    running = Keepalived(*words, **settings)
    try:
        yield running
    finally:
        running.close()


CASES = {
    "v2": ({}, {"version": 2, "interval": 1, "authentication": ""}),
    "v2-password": (
        {"authpass": b"1111"},
        {"version": 2, "interval": 1, "authentication": PASSWORD},
    ),
    "v3": (
        {"version": 3, "advertint": 0.5},
        {"version": 3, "interval": 0.5, "authentication": ""},
    ),
    "v3-ipv6": (
        {"version": 3, "advertint": 0.5, "family": Family.INET6},
        {"version": 3, "interval": 0.5, "authentication": ""},
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request, network):
    ours, theirs = request.param
    vip = Vip(ip_address(network.vip), 32)
    if ours.get("family") is Family.INET6:
        vip = Vip(ip_address(network.vip6), 128)
    return ours | {"addresses": (vip,)}, theirs | {"vip": str(vip)}, str(vip.address)


def test_keepalived_takes_over_from_an_orderly_stop(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    first.start(network.router(priority=150, **ours))
    with keepalived(network, second, priority=100, **theirs) as peer:
        network.eventually(lambda: first.state() == "master" and first.holds(vip))
        network.eventually(lambda: "Entering BACKUP STATE" in peer.said())
        network.eventually(lambda: not second.holds(vip))
        probe = network.ping(vip)

        assert first.stop() == 0
        network.eventually(lambda: second.holds(vip))

        assert probe.longest_gap() < 0.1


def test_lvsd_takes_over_from_a_stopped_keepalived(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    with keepalived(network, first, priority=150, **theirs) as peer:
        network.eventually(lambda: first.holds(vip))
        second.start(network.router(priority=100, **ours))
        network.eventually(lambda: second.state() == "backup")

        peer.stop()
        network.eventually(lambda: second.state() == "master" and second.holds(vip))

    rejected = [n for name, n in second.states()[0]["counters"].items() if "rejected" in name]
    assert not any(rejected)


def test_a_better_keepalived_takes_the_vip_and_lvsd_yields(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    first.start(network.router(priority=100, **ours))
    network.eventually(lambda: first.state() == "master" and first.holds(vip))

    with keepalived(network, second, priority=150, **theirs):
        network.eventually(lambda: first.state() == "backup" and second.holds(vip))
        network.eventually(lambda: not first.holds(vip))


def test_a_better_lvsd_takes_the_vip_and_keepalived_yields(network, case):
    ours, theirs, vip = case
    first, second = network.pair()
    with keepalived(network, second, priority=100, **theirs):
        network.eventually(lambda: second.holds(vip))

        first.start(network.router(priority=150, **ours))

        network.eventually(lambda: first.state() == "master" and first.holds(vip))
        network.eventually(lambda: not second.holds(vip))
