"""The receive checks: each failure has its reason, and the order is keepalived's."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, PeerTtl, Vip
from lvsd.core.packet import AUTH_PASS, Advertisement, Reason, encode
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    VirtualRouter,
    VirtualRouters,
    advertisement,
    destinations,
    hops,
    receive,
    step,
)

from .vrrp_world import HIGH, KEY, LOW, OWN, VIP, VIP2, backup, config

GROUP = ip_address("224.0.0.18")
GOOD = Advertisement(2, 51, 100, 1.0, (VIP,))


def heard(advert: Advertisement, *, source=HIGH, destination=GROUP, ttl=255, **changes):
    vr = VirtualRouter.initial(config(**changes), OWN)
    message = encode(advert, source, destination)
    return receive(vr, message, source=source, destination=destination, ttl=ttl)


def test_a_good_advert_is_received() -> None:
    assert heard(GOOD) == AdvertReceived(HIGH, GOOD)


def test_what_we_send_our_peer_accepts() -> None:
    for changes in (
        {},
        {"authpass": b"secret"},
        {"authpass": b"longer than eight"},
        {"version": 3, "advertint": 0.25},
    ):
        ours = VirtualRouter.initial(config(**changes), HIGH)

        assert isinstance(heard(advertisement(ours, 77), **changes), AdvertReceived)


def test_both_readings_of_the_version_3_checksum_are_accepted() -> None:
    for reading in (True, False):
        advert = replace(GOOD, version=3, pseudo_header=reading)

        assert heard(advert, version=3) == AdvertReceived(HIGH, advert)


@pytest.mark.parametrize(
    ("changes", "advert", "how", "reason"),
    [
        ({}, GOOD, {"ttl": 254}, Reason.TTL),
        ({"version": 3}, GOOD, {}, Reason.VERSION),
        ({}, replace(GOOD, version=3), {}, Reason.VERSION),
        ({"authpass": b"x"}, GOOD, {}, Reason.AUTH_TYPE),
        ({}, replace(GOOD, auth_type=AUTH_PASS, authpass=b"x"), {}, Reason.AUTH_TYPE),
        (
            {"authpass": b"right"},
            replace(GOOD, auth_type=AUTH_PASS, authpass=b"wrong"),
            {},
            Reason.AUTH,
        ),
        ({"advertint": 2.0}, GOOD, {}, Reason.INTERVAL),
        ({"vrid": 52}, GOOD, {}, Reason.VRID),
        ({"peers": (HIGH,)}, GOOD, {}, Reason.DESTINATION),
        ({}, GOOD, {"destination": OWN}, Reason.DESTINATION),
        ({"peers": (LOW,)}, GOOD, {"destination": OWN}, Reason.SOURCE),
        ({"peers": (LOW, OWN)}, GOOD, {"source": OWN, "destination": OWN}, Reason.SOURCE),
        ({"family": Family.INET6, "version": 3}, replace(GOOD, version=3), {}, Reason.FAMILY),
    ],
)
def test_each_mismatch_has_its_reason(changes, advert, how, reason) -> None:
    assert heard(advert, **how, **changes) == AdvertRejected(reason)


def test_a_differing_interval_or_address_list_is_accepted_in_version_3() -> None:
    advert = replace(GOOD, version=3, interval=0.5, addresses=(VIP2,))

    assert heard(advert, version=3) == AdvertReceived(HIGH, advert)


def test_earlier_checks_win() -> None:
    vr = VirtualRouter.initial(config(authpass=b"x", advertint=2.0, peers=(LOW,)), OWN)
    bad = bytearray(encode(GOOD, HIGH, GROUP))
    bad[6] ^= 0xFF  # checksum
    bad[0] = 0x22  # type

    def reason() -> Reason:
        event = receive(vr, bytes(bad), source=HIGH, destination=GROUP, ttl=255)
        assert isinstance(event, AdvertRejected)
        return event.reason

    assert reason() is Reason.AUTH_TYPE
    vr = replace(vr, config=replace(vr.config, authpass=b""))
    assert reason() is Reason.INTERVAL
    vr = replace(vr, config=replace(vr.config, advertint=1.0))
    assert reason() is Reason.TYPE
    bad[0] = 0x21
    assert reason() is Reason.CHECKSUM
    bad[6] ^= 0xFF
    assert reason() is Reason.DESTINATION


def test_our_own_address_among_the_peers_is_no_destination() -> None:
    vr = VirtualRouter.initial(config(peers=(LOW, OWN, HIGH)), OWN)

    assert destinations(vr) == (LOW, HIGH)


def test_a_message_finds_its_router_by_interface_vrid_and_family() -> None:
    routers, _ = VirtualRouters().configure([config(addresses=(Vip(VIP, 32),))], {KEY: OWN}, 0.0)
    message = encode(GOOD, HIGH, GROUP)

    def find(interface: str, message: bytes):
        return routers.receive(interface, message, source=HIGH, destination=GROUP, ttl=255)

    assert find("eth0", message) == (KEY, AdvertReceived(HIGH, GOOD))
    assert find("eth1", message) is None
    assert find("eth0", encode(replace(GOOD, vrid=52), HIGH, GROUP)) is None
    assert find("eth0", b"") is None
    assert find("eth0", message[:5]) == (KEY, AdvertRejected(Reason.LENGTH))


def after_hearing(vr, pseudo_header):
    """The router after an advert whose checksum covers the pseudo-header or not."""
    sent = replace(advertisement(vr, 200), pseudo_header=pseudo_header)
    message = encode(sent, HIGH, GROUP)
    event = receive(vr, message, source=HIGH, destination=GROUP, ttl=255)
    return step(vr, event, 1.0)[0]


@pytest.mark.parametrize("v3checksumasv2", [False, True])
def test_both_readings_of_the_checksum_are_accepted_and_remembered(v3checksumasv2) -> None:
    vr = backup(version=3, v3checksumasv2=v3checksumasv2).vr
    assert advertisement(vr, 100).pseudo_header is not v3checksumasv2

    assert vr.heard_pseudo_header is None
    assert after_hearing(vr, True).heard_pseudo_header is True
    assert after_hearing(vr, False).heard_pseudo_header is False


@pytest.mark.parametrize(("ttl", "near"), [(253, False), (254, True), (255, True)])
def test_a_peer_keeps_to_its_ttl_range(ttl, near) -> None:
    limits = (PeerTtl(LOW, 1, 1), PeerTtl(HIGH, 254, 255))
    changes = {"peers": (LOW, HIGH), "peer_ttls": limits}

    event = heard(GOOD, destination=OWN, ttl=ttl, **changes)

    assert event == (AdvertReceived(HIGH, GOOD) if near else AdvertRejected(Reason.TTL))
    assert heard(GOOD, destination=OWN, ttl=3, peers=(HIGH,)) == AdvertReceived(HIGH, GOOD)


def test_a_stranger_is_heard_where_the_source_is_not_checked() -> None:
    event = heard(GOOD, destination=OWN, peers=(LOW,), checkunicastsrc=False)

    assert event == AdvertReceived(HIGH, GOOD)


def test_only_unicast_has_a_ttl_of_its_own() -> None:
    assert hops(VirtualRouter.initial(config(unicastttl=5), OWN)) == 255
    assert hops(VirtualRouter.initial(config(unicastttl=5, peers=(LOW,)), OWN)) == 5
