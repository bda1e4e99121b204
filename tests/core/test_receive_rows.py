"""keepalived's receive checks, row by row and in its order."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.packet import AUTH_PASS, Advertisement, Reason, checksum, encode
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    LinkChanged,
    Startup,
    State,
    VirtualRouter,
    VirtualRouters,
    receive,
    step,
)

from .vrrp_world import HIGH, KEY, OWN, VIP, VIP2, config

GROUP = ip_address("224.0.0.18")


def verdict(message: bytes, source=HIGH, destination=GROUP, ttl: int = 255, **changes):
    vr = VirtualRouter.initial(config(**changes), OWN)
    event = receive(vr, message, source=source, destination=destination, ttl=ttl)
    return event.reason if isinstance(event, AdvertRejected) else "accepted"


def good(**changes) -> Advertisement:
    return replace(Advertisement(2, 51, 200, 1.0, (VIP,)), **changes)


def octets(destination=GROUP, **changes) -> bytes:
    return encode(good(**changes), HIGH, destination)


def patched(message: bytes, offset: int, value: int) -> bytes:
    """One octet changed, the version 2 checksum made right."""
    blank = bytearray(message)
    blank[offset] = value
    blank[6:8] = bytes(2)
    blank[6:8] = checksum(bytes(blank)).to_bytes(2, "big")
    return bytes(blank)


SECRET = {"auth_type": AUTH_PASS, "authpass": b"1111"}
OTHER = {"auth_type": AUTH_PASS, "authpass": b"2222"}
CHECKS = {
    "1 authentication header of RFC 2338": (patched(octets(), 4, 2), {}, Reason.AUTH_TYPE),
    "2 length": (octets()[:-1], {}, Reason.LENGTH),
    "2 padding of the frame": (octets() + bytes(6), {}, "accepted"),
    "2 an address too many": (octets() + VIP2.packed, {}, Reason.LENGTH),
    "3 TTL": (octets(), {"ttl": 254}, Reason.TTL),
    "3 TTL of unicast": (
        octets(OWN),
        {"ttl": 64, "destination": OWN, "peers": (HIGH,)},
        "accepted",
    ),
    "4 version 3 for version 2": (octets(version=3), {}, Reason.VERSION),
    "4 version 2 for version 3": (octets(), {"version": 3}, Reason.VERSION),
    "5 trailer with an HMAC": (octets() + b"\x01" * 28, {}, Reason.LENGTH),
    "6 unknown authentication": (patched(octets(), 4, 7), {}, Reason.AUTH_TYPE),
    "6 a password where none is expected": (octets(**SECRET), {}, Reason.AUTH_TYPE),
    "7 the right password": (octets(**SECRET), {"authpass": b"1111"}, "accepted"),
    "7 another password": (octets(**SECRET), {"authpass": b"1112"}, Reason.AUTH),
    "8 version 2's interval": (octets(interval=2.0), {}, Reason.INTERVAL),
    "9 type": (patched(octets(), 0, 0x22), {}, Reason.TYPE),
    "10 version 3's interval": (octets(version=3, interval=2.5), {"version": 3}, "accepted"),
    "11 checksum": (octets()[:6] + b"\0\0" + octets()[8:], {}, Reason.CHECKSUM),
    "12 unicast for multicast": (octets(OWN), {"destination": OWN}, Reason.DESTINATION),
    "12 multicast for unicast": (octets(), {"peers": (HIGH,)}, Reason.DESTINATION),
    "13 an owner listens": (octets(), {"priority": 255}, "accepted"),
    "14 another address list": (octets(addresses=(VIP2,)), {}, "accepted"),
    "14 no address list": (octets(addresses=()), {}, "accepted"),
    "15 a stranger": (octets(OWN), {"destination": OWN, "peers": (VIP2,)}, Reason.SOURCE),
}


@pytest.mark.parametrize("row", CHECKS)
def test_each_receive_check_gives_its_verdict(row: str) -> None:
    message, changes, expected = CHECKS[row]

    assert verdict(message, **changes) == expected


def test_an_unknown_vrid_is_ignored_without_a_counter() -> None:
    routers, _ = VirtualRouters().configure([config()], {KEY: OWN}, 0.0)

    found = routers.receive("eth0", octets(vrid=52), source=HIGH, destination=GROUP, ttl=255)

    assert found is None


@pytest.mark.parametrize(
    ("changes", "events"),
    [
        ({}, ()),  # not started
        ({"startupdelay": 10.0}, (Startup(),)),  # its delay is running
        ({}, (Startup(), LinkChanged(False))),  # in fault
    ],
)
def test_who_takes_no_part_ignores_what_it_hears(changes, events) -> None:
    vr = VirtualRouter.initial(config(**changes), OWN)
    for event in events:
        vr, _ = step(vr, event, 0.0)

    after, effects = step(vr, AdvertReceived(HIGH, good()), 1.0)

    assert (after.state, after.master, effects) == (State.INITIALIZE, None, ())


def test_of_several_faults_the_one_that_keepalived_looks_for_first_is_counted() -> None:
    """An advert in which everything is wrong is put right fault by fault."""
    ours = {"authpass": b"1111", "peers": (VIP2,)}
    cured = [
        (Reason.LENGTH, patched(octets(version=3, interval=2.0), 0, 0x32)[:-1], GROUP, 254),
        (Reason.TTL, patched(octets(version=3, interval=2.0), 0, 0x32), GROUP, 254),
        (Reason.VERSION, patched(octets(version=3, interval=2.0), 0, 0x32), GROUP, 255),
        (Reason.AUTH_TYPE, wrong(octets(interval=2.0)), GROUP, 255),
        (Reason.AUTH, wrong(octets(interval=2.0, **OTHER)), GROUP, 255),
        (Reason.INTERVAL, wrong(octets(interval=2.0, **SECRET)), GROUP, 255),
        (Reason.TYPE, wrong(octets(**SECRET)), GROUP, 255),
        (Reason.CHECKSUM, octets(**SECRET)[:6] + b"\0\0" + octets(**SECRET)[8:], GROUP, 255),
        (Reason.DESTINATION, octets(**SECRET), GROUP, 255),
        (Reason.SOURCE, octets(OWN, **SECRET), OWN, 255),
    ]
    for reason, message, destination, ttl in cured:
        assert verdict(message, destination=destination, ttl=ttl, **ours) == reason


def wrong(message: bytes) -> bytes:
    """Another type, and the checksum of nothing."""
    return bytes((0x22,)) + message[1:6] + b"\0\0" + message[8:]
