"""keepalived's frames and receive checks, row by row: golden bytes, and damage that is counted."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, RouterConfig, Vip
from lvsd.core.packet import (
    AUTH_PASS,
    Advertisement,
    PacketError,
    Reason,
    checksum,
    decode,
    encode,
)
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    Startup,
    State,
    VirtualRouter,
    VirtualRouters,
    advertisement,
    counters,
    effective_priority,
    receive,
    step,
)

from .vrrp_world import EXCLUDED, HIGH, KEY, OWN, VIP, VIP2, config

GROUP, GROUP6 = ip_address("224.0.0.18"), ip_address("ff02::12")
LINK_LOCAL = ip_address("fe80::9")
VIP6, VIP6_2 = ip_address("fe80::100"), ip_address("2001:db8::100")

V6 = RouterConfig(
    *("VI_6", "eth0", 51, 100, (Vip(VIP6, 128), Vip(VIP6_2, 128))),
    version=3,
    family=Family.INET6,
)
#: Row → (configuration, source, destination, the octets of its advert).
GOLDEN = {
    "v2": (config(), HIGH, GROUP, "213364010001b865c00002640000000000000000"),
    "v2, the least priority": (
        config(priority=1),
        HIGH,
        GROUP,
        "2133010100011b66c00002640000000000000000",
    ),
    "v2 PASS": (config(authpass=b"1111"), HIGH, GROUP, "2133640101015503c00002643131313100000000"),
    "v2 PASS, cut to 8": (
        config(authpass=b"longer than 8"),
        HIGH,
        GROUP,
        "21336401010156a8c00002646c6f6e6765722074",
    ),
    "v2, two addresses in their order": (
        config(addresses=(Vip(VIP2, 32), Vip(VIP, 32))),
        HIGH,
        GROUP,
        "213364020001f5fec0000265c00002640000000000000000",
    ),
    "v2, without the excluded": (
        config(excluded=(Vip(EXCLUDED, 32),)),
        HIGH,
        GROUP,
        "213364010001b865c00002640000000000000000",
    ),
    "v2, unicast": (config(peers=(OWN,)), HIGH, OWN, "213364010001b865c00002640000000000000000"),
    "v3": (config(version=3), HIGH, GROUP, "313364010064056ac0000264"),
    "v3, 0.25 s": (config(version=3, advertint=0.25), HIGH, GROUP, "31336401001905b5c0000264"),
    "v3, unicast": (config(version=3, peers=(OWN,)), HIGH, OWN, "3133640100642377c0000264"),
    "v3, checksum as v2": (
        config(version=3, v3checksumasv2=True),
        HIGH,
        GROUP,
        "313364010064a802c0000264",
    ),
    "v3 over IPv6": (
        V6,
        LINK_LOCAL,
        GROUP6,
        "3133640200643df5fe80000000000000000000000000010020010db8000000000000000000000100",
    ),
}
EVERY_ROW = pytest.mark.parametrize("row", GOLDEN)


def sent(row: str) -> bytes:
    conf, source, destination, _ = GOLDEN[row]
    vr = VirtualRouter.initial(conf, source)
    return encode(advertisement(vr, effective_priority(vr)), source, destination)


def listening(row: str) -> VirtualRouter:
    """A peer of the row's sender, in BACKUP."""
    conf, source, _, _ = GOLDEN[row]
    peers = (source,) if conf.peers else ()
    priority = 100
    ours = OWN if conf.family is Family.INET else ip_address("fe80::5")
    vr = VirtualRouter.initial(replace(conf, peers=peers, priority=priority), ours)
    return step(vr, Startup(), 0.0)[0]


@EVERY_ROW
def test_the_octets_of_each_row_are_golden(row: str) -> None:
    assert sent(row).hex() == GOLDEN[row][3]


@EVERY_ROW
def test_each_row_is_heard_by_a_peer(row: str) -> None:
    _, source, destination, _ = GOLDEN[row]

    heard = receive(listening(row), sent(row), source=source, destination=destination, ttl=255)

    assert isinstance(heard, AdvertReceived)


def counted(row: str, message: bytes) -> Reason:
    """The reason under which a damaged message was counted; it must change nothing else."""
    _, source, destination, _ = GOLDEN[row]
    vr = listening(row)
    event = receive(vr, message, source=source, destination=destination, ttl=255)
    assert isinstance(event, AdvertRejected), message.hex()
    after, effects = step(vr, event, 1.0)
    assert effects == ()
    assert counters(after)[f"rejected_{event.reason}"] == 1
    assert replace(after, counters=vr.counters) == replace(vr, counters=vr.counters)
    return event.reason


@EVERY_ROW
def test_every_truncation_is_counted(row: str) -> None:
    message = sent(row)

    for length in range(2, len(message)):  # shorter ones have no VRID and find no router
        assert counted(row, message[:length]) is Reason.LENGTH


@EVERY_ROW
def test_every_bit_flip_is_counted(row: str) -> None:
    message = sent(row)

    for bit in range(len(message) * 8):
        damaged = bytearray(message)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        counted(row, bytes(damaged))


def test_a_flip_that_is_right_in_the_other_reading_is_a_matter_of_the_senders_address() -> None:
    """Both readings of the v3 checksum differ by the sum of the pseudo-header.

    Where that sum is a power of two, a bit of that weight may flip from 0 to 1 and the message is
    right in the other reading. That is the price of accepting both; here 224.0.0.18, protocol,
    length and the source 10.0.21.114 add up to 1.
    """
    source = ip_address("10.0.21.114")
    advert = Advertisement(3, 51, 100, 1.0, (VIP,))
    message = encode(advert, source, GROUP)
    accepted = []
    for bit in range(len(message) * 8):
        damaged = bytearray(message)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        try:
            seen = decode(bytes(damaged), source=source, destination=GROUP, ttl=255)
        except PacketError:
            continue
        accepted.append((bit, seen.pseudo_header))

    assert accepted
    assert all(bit % 16 == 15 and not pseudo_header for bit, pseudo_header in accepted)


# --- the receive checks, in keepalived's order -----------------------------------------------


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


def test_who_has_not_started_ignores_what_it_hears() -> None:
    vr = VirtualRouter.initial(config(), OWN)

    after, effects = step(vr, AdvertReceived(HIGH, good()), 1.0)

    assert (after.state, after.master, effects) == (State.INITIALIZE, None, ())
