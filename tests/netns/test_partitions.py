"""The way between the two directors is cut or deaf: two masters, and one after it heals."""

import subprocess

import pytest

pytestmark = pytest.mark.netns

FAST = {"version": 3, "advertint": 0.5}


def settled(network):
    first, second = network.pair()
    first.start(network.router(priority=150, **FAST))
    second.start(network.router(priority=100, **FAST))
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    network.eventually(first.holds)
    return first, second


def drop_multicast(network, *, dropped):
    """Whether the switch loses what goes to a group."""
    for port in ("pd1", "pd2"):
        words = ["bridge", "-n", network.switch, "link", "set", "dev", port]
        flood = "off" if dropped else "on"
        subprocess.run([*words, "mcast_flood", flood], check=True)


def test_a_switch_that_drops_multicast_makes_two_masters_and_one_when_it_heals(network):
    first, second = settled(network)

    drop_multicast(network, dropped=True)
    network.eventually(lambda: second.state() == "master" and second.holds())
    assert first.state() == "master"
    probe = network.ping()

    drop_multicast(network, dropped=False)
    network.eventually(lambda: second.state() == "backup" and not second.holds())
    assert first.state() == "master"
    assert first.holds()
    assert probe.longest_gap() < 0.5


@pytest.mark.parametrize("which", [0, 1], ids=["of-the-master", "of-the-backup"])
def test_a_link_that_goes_down_leaves_one_holder_and_comes_back(network, which):
    pair = settled(network)
    broken, other = pair[which], pair[1 - which]
    port = "p" + broken.namespace.removeprefix(network.prefix)

    network.ip("-n", network.switch, "link", "set", port, "down")
    network.eventually(lambda: broken.state() == "fault" and not broken.holds())
    network.eventually(lambda: other.state() == "master" and other.holds())

    network.ip("-n", network.switch, "link", "set", port, "up")
    network.eventually(lambda: pair[0].state() == "master" and pair[0].holds())
    network.eventually(lambda: pair[1].state() == "backup" and not pair[1].holds())
