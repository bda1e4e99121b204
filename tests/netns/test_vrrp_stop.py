"""Ends of a lone master, and what the loss of its helpers means."""

import os
import signal
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.core.model import Family, Vip

pytestmark = pytest.mark.netns


def lone_master(network, **changes):
    one = network.director(1)
    config = network.router(**{"version": 3, "advertint": 0.2} | changes)
    one.start(config)
    vip = str(config.addresses[0].address)
    network.eventually(lambda: one.state() == "master" and one.holds(vip))
    return one


def test_the_child_is_told_to_stop_only_after_the_vip_is_gone(network):
    one = lone_master(network)

    assert one.stop() == 0

    assert not one.holds()
    assert one.states()[0]["counters"]["priority_zero_sent"] >= 1
    lines = (one.folder / "routers.said").read_text().splitlines()
    assert '"stop"' in lines[-1]
    assert '"state": "initialize"' in lines[-2]


def test_a_second_signal_hurries(network):
    one = lone_master(network, version=2, advertint=1.0)
    one.process.send_signal(signal.SIGTERM)
    network.eventually(lambda: "stopping" in one.log)
    asked_at = time.monotonic()

    one.process.send_signal(signal.SIGTERM)

    assert one.process.wait(timeout=5) == 0
    assert time.monotonic() - asked_at < 0.6
    assert not one.holds()


def test_a_killed_guard_is_replaced_and_the_new_one_hands_over(network):
    one = lone_master(network, version=2, advertint=1.0, lease=False)  # the guard or nobody
    first = one.children()["lvsd-guard"]

    os.kill(first, signal.SIGKILL)
    network.eventually(lambda: one.children().get("lvsd-guard") not in (None, first))
    os.kill(one.pid, signal.SIGKILL)
    killed_at = time.monotonic()

    assert one.holds()
    network.eventually(lambda: not one.holds(), timeout=5)
    assert time.monotonic() - killed_at > 0.8  # it has served until its limit
    assert "guard_lost" in one.log
    assert "guard_replaced" in one.log


def test_a_replaced_guard_is_released_by_an_orderly_stop(network):
    one = lone_master(network)
    first = one.children()["lvsd-guard"]
    os.kill(first, signal.SIGKILL)
    network.eventually(lambda: one.children().get("lvsd-guard") not in (None, first))
    second = one.children()["lvsd-guard"]

    assert one.stop() == 0

    assert not one.holds()
    assert not Path(f"/proc/{second}").exists()


def test_a_guard_that_dies_again_and_again_is_replaced_ever_more_slowly(network):
    one = lone_master(network)
    killed = []

    for _ in range(3):
        network.eventually(lambda: one.children().get("lvsd-guard") not in (None, *killed))
        killed.append(one.children()["lvsd-guard"])
        os.kill(killed[-1], signal.SIGKILL)
    third_at = time.monotonic()
    network.eventually(lambda: one.log.count("guard_replaced") == 3)

    assert time.monotonic() - third_at > 1.5
    assert one.stop() == 0
    assert not one.holds()


def test_a_child_beyond_recovery_lowers_the_priority_until_it_is_back(network):
    first, second = network.pair()
    config = network.router(version=3, advertint=0.2)
    first.start(config)
    network.eventually(lambda: first.state() == "master")
    (first.folder / "routers.crash").touch()
    (child,) = [pid for name, pid in first.children().items() if name != "lvsd-guard"]

    os.kill(child, signal.SIGKILL)
    network.eventually(lambda: "failures=4" in first.log, timeout=20)
    second.start(config)
    network.eventually(lambda: second.state() == "master", timeout=10)
    network.eventually(lambda: not first.holds() and second.holds())


def test_an_error_in_a_callback_ends_main_at_once_and_the_guard_hands_over(network):
    one = lone_master(network, lease=False)  # the guard or nobody

    (one.folder / "routers.faulty").touch()

    assert one.process.wait(timeout=5) == 1
    network.eventually(lambda: not one.holds(), timeout=2)
    (line,) = [line for line in one.log.splitlines() if "crashed" in line]
    assert "a fault made on purpose" in one.log
    assert "critical" in line


def test_adverts_that_the_kernel_refuses_are_said_once_and_counted(network):
    vip = Vip(ip_address(network.vip6), 128)
    one = lone_master(network, family=Family.INET6, addresses=(vip,))
    rule = ("-n", one.namespace, "-6", "rule")
    network.ip(*rule, "add", "pref", "2", "lookup", "local")

    network.ip(*rule, "add", "pref", "1", "to", "ff02::12", "prohibit")
    network.ip(*rule, "del", "pref", "0")

    network.eventually(lambda: "advert_failed" in one.log)

    def counted():
        os.kill(one.pid, signal.SIGHUP)  # has the states told again
        return one.states()[0]["counters"]["send_errors"] > 2

    network.eventually(counted)
    assert one.log.count("advert_failed") == 1
    assert "Permission denied" in one.log
