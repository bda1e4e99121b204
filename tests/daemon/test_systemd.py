"""What is said to the service manager, and what the unit promises."""

import configparser
import os
import signal
import socket
from pathlib import Path

import pytest

from lvsd.core.model import SCHEDULERS
from lvsd.daemon.guard import IGNORED
from lvsd.daemon.systemd import Systemd

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "lvsd.service"


@pytest.fixture
def manager(tmp_path):
    """A service manager's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(2)
        yield sock


def environ_of(manager, **more):
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_each_notification_is_one_datagram(manager):
    systemd = Systemd(environ_of(manager))

    systemd.ready("1 master")
    systemd.alive()

    assert manager.recv(1000) == b"READY=1\nSTATUS=1 master"
    assert manager.recv(1000) == b"WATCHDOG=1"
    systemd.close()


def test_a_reload_carries_the_monotonic_clock(manager):
    systemd = Systemd(environ_of(manager))

    systemd.reloading()

    first, second = manager.recv(1000).decode().splitlines()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    systemd.close()


def test_abstract_sockets_are_understood():
    name = f"lvsd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(2)
        systemd = Systemd({"NOTIFY_SOCKET": "@" + name})

        systemd.stopping()

        assert sock.recv(1000).startswith(b"STOPPING=1")
        systemd.close()


def test_a_manager_that_does_not_read_costs_notifications_and_no_time(manager):
    systemd = Systemd(environ_of(manager))

    for _ in range(5000):
        systemd.alive()

    assert systemd.dropped > 0
    systemd.close()


def test_without_a_manager_nothing_happens():
    systemd = Systemd({})

    systemd.ready("")
    systemd.close()

    assert systemd.dropped == 0
    assert systemd.watchdog == 0.0


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time(environ, interval):
    assert Systemd(environ).watchdog == interval


def test_the_variables_do_not_reach_child_processes(manager):
    environ = environ_of(manager, WATCHDOG_USEC="1", WATCHDOG_PID="1", PATH="/bin")

    Systemd(environ).close()

    assert environ == {"PATH": "/bin"}


def test_the_unit_lets_the_guard_outlive_the_main_process():
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]

    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert service["KillMode"] == "control-group"  # "mixed" kills the guard with main
    assert signal.Signals[service["WatchdogSignal"]] in IGNORED
    assert set(service["CapabilityBoundingSet"].split()) == {
        *("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"),
        "CAP_KILL",
    }
    assert service["ProtectKernelTunables"] == "no"  # /proc/sys/net stays writable


def test_every_scheduler_is_loaded_at_boot() -> None:
    lines = (SYSTEMD / "lvsd.modules-load.conf").read_text().splitlines()
    modules = [line for line in lines if not line.startswith("#")]
    assert modules == ["ip_vs", *(f"ip_vs_{name}" for name in SCHEDULERS)]
