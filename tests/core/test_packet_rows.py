"""keepalived's messages, row by row: golden bytes, and damage that is counted."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, RouterConfig, Vip
from lvsd.core.packet import (
    Advertisement,
    PacketError,
    Reason,
    decode,
    encode,
)
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    Startup,
    VirtualRouter,
    advertisement,
    counters,
    effective_priority,
    receive,
    step,
)

from .vrrp_world import EXCLUDED, HIGH, OWN, VIP, VIP2, config

GROUP, GROUP6 = ip_address("224.0.0.18"), ip_address("ff02::12")
LINK_LOCAL, OWN6 = ip_address("fe80::9"), ip_address("fe80::5")
VIP6, VIP6_2 = ip_address("fe80::100"), ip_address("2001:db8::100")

V6 = RouterConfig(
    *("VI_6", "eth0", 51, 100, (Vip(VIP6, 128), Vip(VIP6_2, 128))),
    version=3,
    family=Family.INET6,
)
#: Row → (configuration, source, destination, the octets of its advert). A farewell has priority 0.
GOLDEN = {
    "v2": (
        config(),
        HIGH,
        GROUP,
        "213364010001b865c00002640000000000000000",
    ),
    "v2, the least priority": (
        config(priority=1),
        HIGH,
        GROUP,
        "2133010100011b66c00002640000000000000000",
    ),
    "v2, the owner": (
        config(priority=255),
        HIGH,
        GROUP,
        "2133ff0100011d65c00002640000000000000000",
    ),
    "v2, farewell": (
        config(),
        HIGH,
        GROUP,
        "2133000100011c66c00002640000000000000000",
    ),
    "v2, 255 s": (
        config(advertint=255.0),
        HIGH,
        GROUP,
        "2133640100ffb767c00002640000000000000000",
    ),
    "v2 PASS": (
        config(authpass=b"1111"),
        HIGH,
        GROUP,
        "2133640101015503c00002643131313100000000",
    ),
    "v2 PASS, cut to 8": (
        config(authpass=b"longer than 8"),
        HIGH,
        GROUP,
        "21336401010156a8c00002646c6f6e6765722074",
    ),
    "v2 PASS, farewell": (
        config(authpass=b"1111"),
        HIGH,
        GROUP,
        "213300010101b903c00002643131313100000000",
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
    "v2, unicast": (
        config(peers=(OWN,)),
        HIGH,
        OWN,
        "213364010001b865c00002640000000000000000",
    ),
    "v2 PASS, unicast": (
        config(authpass=b"1111", peers=(OWN,)),
        HIGH,
        OWN,
        "2133640101015503c00002643131313100000000",
    ),
    "v3": (
        config(version=3),
        HIGH,
        GROUP,
        "313364010064056ac0000264",
    ),
    "v3, farewell": (
        config(version=3),
        HIGH,
        GROUP,
        "313300010064696ac0000264",
    ),
    "v3, the least interval": (
        config(version=3, advertint=0.01),
        HIGH,
        GROUP,
        "31336401000105cdc0000264",
    ),
    "v3, 0.25 s": (
        config(version=3, advertint=0.25),
        HIGH,
        GROUP,
        "31336401001905b5c0000264",
    ),
    "v3, the longest interval": (
        config(version=3, advertint=40.95),
        HIGH,
        GROUP,
        "313364010ffff5cec0000264",
    ),
    "v3, two addresses in their order": (
        config(version=3, addresses=(Vip(VIP2, 32), Vip(VIP, 32))),
        HIGH,
        GROUP,
        "31336402006442ffc0000265c0000264",
    ),
    "v3, without the excluded": (
        config(version=3, excluded=(Vip(EXCLUDED, 32),)),
        HIGH,
        GROUP,
        "313364010064056ac0000264",
    ),
    "v3, unicast": (
        config(version=3, peers=(OWN,)),
        HIGH,
        OWN,
        "3133640100642377c0000264",
    ),
    "v3, checksum as v2": (
        config(version=3, v3checksumasv2=True),
        HIGH,
        GROUP,
        "313364010064a802c0000264",
    ),
    "v3, checksum as v2, unicast": (
        config(version=3, v3checksumasv2=True, peers=(OWN,)),
        HIGH,
        OWN,
        "313364010064a802c0000264",
    ),
    "v3 over IPv6": (
        V6,
        LINK_LOCAL,
        GROUP6,
        "3133640200643df5fe80000000000000000000000000010020010db8000000000000000000000100",
    ),
    "v3 over IPv6, farewell": (
        V6,
        LINK_LOCAL,
        GROUP6,
        "313300020064a1f5fe80000000000000000000000000010020010db8000000000000000000000100",
    ),
    "v3 over IPv6, without the excluded": (
        replace(V6, excluded=(Vip(EXCLUDED, 32),)),
        LINK_LOCAL,
        GROUP6,
        "3133640200643df5fe80000000000000000000000000010020010db8000000000000000000000100",
    ),
    "v3 over IPv6, unicast": (
        replace(V6, peers=(OWN6,)),
        LINK_LOCAL,
        OWN6,
        "3133640200643e84fe80000000000000000000000000010020010db8000000000000000000000100",
    ),
}
EVERY_ROW = pytest.mark.parametrize("row", GOLDEN)


def sent(row: str) -> bytes:
    conf, source, destination, _ = GOLDEN[row]
    vr = VirtualRouter.initial(conf, source)
    priority = 0 if "farewell" in row else effective_priority(vr)
    return encode(advertisement(vr, priority), source, destination)


def listening(row: str) -> VirtualRouter:
    """A peer of the row's sender, in BACKUP."""
    conf, source, _, _ = GOLDEN[row]
    peers = (source,) if conf.peers else ()
    priority = 100
    ours = OWN if conf.family is Family.INET else OWN6
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
