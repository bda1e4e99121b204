"""INITIALIZE: starting, waiting for services and scripts, faults."""

from __future__ import annotations

import pytest

from lvsd.core.model import Track, TrackKind
from lvsd.core.vrrp import (
    Announce,
    DeadlineReached,
    LinkChanged,
    Reconfigured,
    SendAdvert,
    ServicesReady,
    SourceChanged,
    Startup,
    State,
    StateChanged,
    TrackChanged,
    faults,
    next_deadline,
    reported_state,
)

from .vrrp_world import HIGH, OWN, Bench, advert, backup, config, kinds

SCRIPT = Track(TrackKind.SCRIPT, "chk")


def test_nothing_happens_before_startup() -> None:
    bench = Bench()

    for event in (DeadlineReached(), LinkChanged(True), ServicesReady(True), advert(255)):
        assert bench.do(event) == ()
    assert (bench.state, next_deadline(bench.vr)) == (State.INITIALIZE, None)


def test_a_router_without_services_is_backup_at_once_with_full_patience() -> None:
    bench = Bench(now=7.0)

    effects = bench.do(Startup())

    assert effects == (StateChanged(State.INITIALIZE, State.BACKUP, "started"),)
    assert next_deadline(bench.vr) == 7.0 + 3.609375
    assert bench.do(Startup(), 8.0) == ()


def test_a_router_with_services_waits_for_the_childs_word() -> None:
    bench = Bench(has_services=True)

    bench.do(Startup())
    assert (bench.state, bench.vr.reason) == (State.INITIALIZE, "waiting for services")
    bench.do(ServicesReady(False), 1.0)
    assert bench.state is State.INITIALIZE
    bench.do(ServicesReady(True), 2.0)

    assert bench.state is State.BACKUP


def test_the_wait_for_services_ends_after_30_seconds() -> None:
    bench = Bench(has_services=True)
    bench.do(Startup())

    assert next_deadline(bench.vr) == 30.0
    bench.do(DeadlineReached(), 29.9)
    assert bench.state is State.INITIALIZE
    bench.deadline()

    assert bench.state is State.BACKUP


def test_an_explicit_startupdelay_is_waited_for_even_when_services_are_ready() -> None:
    bench = Bench(has_services=True, startupdelay=5.0)
    bench.do(ServicesReady(True))

    bench.do(Startup())
    assert bench.vr.reason == "waiting for startupdelay of 5 s"
    bench.deadline()

    assert (bench.now, bench.state) == (5.0, State.BACKUP)


def test_services_are_waited_for_beyond_a_short_startupdelay() -> None:
    bench = Bench(has_services=True, startupdelay=5.0)
    bench.do(Startup())

    bench.deadline()
    assert (bench.state, bench.vr.reason) == (State.INITIALIZE, "waiting for services")
    bench.deadline()

    assert (bench.now, bench.state) == (30.0, State.BACKUP)


def test_a_script_whose_failure_is_a_fault_is_waited_for() -> None:
    bench = Bench(tracks=(SCRIPT,))

    bench.do(Startup())
    assert bench.vr.reason == "waiting for script chk"
    bench.do(TrackChanged(SCRIPT, True), 1.0)

    assert bench.state is State.BACKUP


def test_an_owner_is_master_at_once() -> None:
    bench = Bench(priority=255)

    effects = bench.do(Startup())

    assert kinds(effects) == ["StateChanged", "SendAdvert", "StateChanged"]
    assert effects[1] == SendAdvert(255)
    assert bench.state is State.MASTER


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (LinkChanged(False), "interface eth0 is down"),
        (LinkChanged(False, exists=False), "interface eth0 does not exist"),
        (SourceChanged(None), "interface eth0 has no IPv4 address to send from"),
        (TrackChanged(SCRIPT, False), "script chk is down"),
    ],
)
def test_faults_keep_a_router_out_until_they_are_gone(event, words) -> None:
    bench = Bench(tracks=(SCRIPT,))
    bench.do(TrackChanged(SCRIPT, True))
    bench.do(event)

    bench.do(Startup())
    assert (bench.state, faults(bench.vr), bench.vr.reason) == (State.INITIALIZE, (words,), words)
    assert reported_state(bench.vr) == "fault"
    cure = (
        LinkChanged(True)
        if isinstance(event, LinkChanged)
        else SourceChanged(OWN)
        if isinstance(event, SourceChanged)
        else TrackChanged(SCRIPT, True)
    )
    bench.do(cure, 3.0)

    assert (bench.state, bench.vr.reason) == (State.BACKUP, "fault cleared")
    assert next_deadline(bench.vr) == 3.0 + 3.609375


def test_a_unicast_router_tells_its_own_address_after_a_fault() -> None:
    bench = backup(peers=(HIGH,))

    bench.do(LinkChanged(False), 1.0)
    effects = bench.do(LinkChanged(True), 2.0)

    assert Announce((OWN,), count=1) in effects


def test_the_ipv6_source_fault_names_the_link_local_address() -> None:
    bench = Bench(family=10, version=3)
    bench.do(SourceChanged(None))

    assert faults(bench.vr) == ("interface eth0 has no IPv6 link-local address to send from",)


# --- delayafterboot -------------------------------------------------------------------------


def test_nothing_begins_before_the_system_is_up_for_long_enough() -> None:
    bench = Bench(delayafterboot=60.0, has_services=True)

    bench.do(Startup(uptime=20.0))
    assert (bench.state, bench.vr.reason) == (
        State.INITIALIZE,
        "waiting until 60 s after boot",
    )
    bench.do(ServicesReady(True), 30.0)
    assert bench.state is State.INITIALIZE
    bench.deadline()

    assert (bench.state, bench.now) == (State.BACKUP, 40.0)


@pytest.mark.parametrize("uptime", [60.0, 1000.0, None])
def test_a_restart_on_a_running_system_does_not_wait(uptime) -> None:
    bench = Bench(delayafterboot=60.0)

    bench.do(Startup(uptime))

    assert bench.state is State.BACKUP


def test_the_longer_of_two_delays_counts() -> None:
    for uptime, end in ((0.0, 60.0), (50.0, 20.0)):
        bench = Bench(delayafterboot=60.0, startupdelay=20.0)
        bench.do(Startup(uptime))
        while bench.state is State.INITIALIZE:
            bench.deadline()
        assert bench.now == end


def test_a_reload_without_the_delay_ends_it() -> None:
    bench = Bench(delayafterboot=60.0)
    bench.do(Startup(0.0))

    bench.do(Reconfigured(config()), 1.0)

    assert bench.state is State.BACKUP


def test_a_reload_that_keeps_the_startupdelay_keeps_its_end() -> None:
    bench = Bench(startupdelay=20.0)
    bench.do(Startup())

    bench.do(Reconfigured(config(startupdelay=20.0, priority=50)), 1.0)
    bench.deadline()

    assert (bench.state, bench.now) == (State.BACKUP, 20.0)


def test_a_reload_that_keeps_the_delay_keeps_its_end() -> None:
    bench = Bench(delayafterboot=60.0)
    bench.do(Startup(20.0))

    bench.do(Reconfigured(config(delayafterboot=60.0, priority=50)), 1.0)
    bench.deadline()

    assert (bench.state, bench.now) == (State.BACKUP, 40.0)
