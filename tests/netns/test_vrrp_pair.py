"""Two main processes on one segment: election, hand-over, and death in every form.

Times are the issue's, from the client's side or from the holders' own.
"""

import os
import signal
import time
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, Vip

pytestmark = pytest.mark.netns


def master_and_backup(network, **changes):
    """A settled pair: the first director is master."""
    first, second = network.pair()
    config = network.router(**changes)
    first.start(replace(config, priority=150))
    second.start(replace(config, priority=100))
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    vip = str(config.addresses[0].address)
    network.eventually(lambda: first.holds(vip))
    return first, second


def test_the_higher_priority_becomes_master_and_alone_holds_the_vip(network):
    first, second = master_and_backup(network)

    assert first.holds()
    assert not second.holds()
    (entry,) = [e for e in first.entries() if e["local"] == network.vip]
    assert 0 < entry["valid_life_time"] <= 2  # under a lease
    assert first.stop() == 0
    assert second.stop() == 0


def test_an_orderly_stop_serves_until_relieved(network):
    first, second = master_and_backup(network)
    probe = network.ping()
    owners = network.own(first), network.own(second)

    assert first.stop() == 0
    network.eventually(lambda: second.state() == "master")
    network.eventually(second.holds)

    assert probe.longest_gap() < 0.1
    assert network.overlap(*(o.stop() for o in owners)) < 0.5
    assert not first.holds()
    assert "relieved" in first.log


def test_a_killed_main_is_handed_over_by_its_guard(network):
    first, second = master_and_backup(network)
    probe = network.ping()
    owners = network.own(first), network.own(second)

    os.kill(first.pid, signal.SIGKILL)
    network.eventually(lambda: second.state() == "master")
    network.eventually(lambda: not first.holds())

    assert probe.longest_gap() < 0.2
    assert network.overlap(*(o.stop() for o in owners)) < 1.3


def test_with_all_processes_killed_the_lease_removes_the_vip(network):
    first, second = master_and_backup(network)
    family = [first.pid, *first.children().values()]

    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that nobody reacts
        for pid in family:
            os.kill(pid, number)
    died_at = time.monotonic()
    network.eventually(lambda: not first.holds())

    assert time.monotonic() - died_at < 2 + 1
    network.eventually(lambda: second.state() == "master")
    network.eventually(second.holds)


def test_a_stopped_main_loses_its_vip_and_listens_before_it_speaks(network):
    first, second = master_and_backup(network)

    os.kill(first.pid, signal.SIGSTOP)
    network.eventually(lambda: not first.holds())
    network.eventually(lambda: second.state() == "master")
    owner = network.own(first)
    os.kill(first.pid, signal.SIGCONT)
    network.eventually(lambda: "backup" in [r["state"] for r in first.states()])

    # It preempts in its turn, but not before it has listened for a master-down interval.
    network.eventually(lambda: first.state() == "master")
    held_at = [at for at, held in owner.stop() if held]
    assert len(held_at) <= 1


def test_a_cut_cable_is_noticed_within_the_master_down_interval(network):
    first, second = master_and_backup(network)
    owner = network.own(second)

    network.plug(first, connected=False)
    cut_at = time.monotonic()
    network.eventually(second.holds)

    (taken_at,) = [at for at, held in owner.stop() if held]
    assert taken_at - cut_at < 3 + (256 - 100) / 256 + 0.5


def test_the_killed_child_is_restarted_and_nothing_moves(network):
    first, second = master_and_backup(network)
    probe = network.ping()
    before = {name: pid for name, pid in first.children().items() if name != "lvsd-guard"}

    os.kill(*before.values(), signal.SIGKILL)
    network.eventually(lambda: "child_returned" in first.log)

    assert probe.longest_gap() < 0.1
    assert first.state() == "master"
    assert second.state() == "backup"
    assert set(first.children().values()).isdisjoint(before.values())


def test_a_better_director_that_returns_takes_the_vip_back(network):
    first, second = master_and_backup(network)
    config = network.router(priority=150)
    first.stop()
    network.eventually(lambda: second.state() == "master")
    probe = network.ping()

    first.start(config)
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")

    assert probe.longest_gap() < 0.2
    assert not second.holds()


def test_ipv6_and_version_3_hand_over_as_well(network):
    vip = Vip(ip_address(network.vip6), 128)
    first, second = master_and_backup(
        network, family=Family.INET6, version=3, advertint=0.5, addresses=(vip,)
    )
    probe = network.ping(network.vip6)
    owners = network.own(first, network.vip6), network.own(second, network.vip6)

    os.kill(first.pid, signal.SIGKILL)
    network.eventually(lambda: second.state() == "master")
    network.eventually(lambda: not first.holds(network.vip6))

    assert probe.longest_gap() < 0.2
    assert network.overlap(*(o.stop() for o in owners)) < 1.3
    (entry,) = [e for e in second.entries() if e["local"] == network.vip6]
    assert entry["deprecated"]  # never a source address


def test_unicast_peers_elect_and_hand_over(network):
    first, second = network.pair()
    config = network.router()
    first.start(replace(config, priority=150, peers=(ip_address("10.77.0.2"),)))
    second.start(replace(config, priority=100, peers=(ip_address("10.77.0.1"),)))
    network.eventually(lambda: first.state() == "master" and second.state() == "backup")
    probe = network.ping()

    assert first.stop() == 0
    network.eventually(lambda: second.state() == "master")

    assert probe.longest_gap() < 0.1
