"""The wire forms: golden bytes, damage, and the frames that announce an address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRP, VRRPv3

from lvsd.core.packet import (
    AUTH_PASS,
    Advertisement,
    PacketError,
    Reason,
    announced_address,
    checksum,
    decode,
    encode,
    gratuitous_arp,
    unsolicited_na,
    vrid,
)

V4, GROUP4 = ip_address("192.0.2.1"), ip_address("224.0.0.18")
V6, GROUP6 = ip_address("fe80::1"), ip_address("ff02::12")
PEER4 = ip_address("192.0.2.2")
VIP4 = ip_address("192.0.2.10")
MAC = bytes.fromhex("020000000001")

PLAIN = Advertisement(2, 51, 100, 1.0, (VIP4,))
GOLDEN = {
    "v2": (PLAIN, V4, GROUP4, "213364010001b8bfc000020a0000000000000000"),
    "v2 with password": (
        replace(PLAIN, authpass=b"1111", auth_type=AUTH_PASS),
        V4,
        GROUP4,
        "213364010101555dc000020a3131313100000000",
    ),
    "v2 with two addresses": (
        replace(PLAIN, addresses=(VIP4, ip_address("198.51.100.7")), priority=255, interval=3.0),
        V4,
        GROUP4,
        "2133ff020003f380c000020ac63364070000000000000000",
    ),
    "v3 over IPv4": (
        Advertisement(3, 51, 100, 1.0, (VIP4,)),
        V4,
        GROUP4,
        "31336401006405ccc000020a",
    ),
    "v3 over IPv4 without pseudo-header": (
        Advertisement(3, 51, 100, 1.0, (VIP4,), pseudo_header=False),
        V4,
        GROUP4,
        "313364010064a85cc000020a",
    ),
    "v3 over IPv4, unicast": (
        Advertisement(3, 51, 0, 40.95, (VIP4,)),
        V4,
        PEER4,
        "313300010fff7841c000020a",
    ),
    "v3 over IPv6": (
        Advertisement(3, 7, 200, 0.5, (ip_address("fe80::10"), ip_address("2001:db8::1"))),
        V6,
        GROUP6,
        "3107c8020032dc49fe80000000000000000000000000001020010db8000000000000000000000001",
    ),
}
CASES = pytest.mark.parametrize("name", GOLDEN)


def reason_of(message: bytes, source=V4, destination=GROUP4, ttl=255) -> Reason:
    with pytest.raises(PacketError) as caught:
        decode(message, source=source, destination=destination, ttl=ttl)
    return caught.value.reason


@CASES
def test_golden_messages_encode_to_these_bytes_and_decode_to_themselves(name: str) -> None:
    advert, source, destination, golden = GOLDEN[name]

    message = encode(advert, source, destination)

    assert message.hex() == golden
    assert decode(message, source=source, destination=destination, ttl=255) == advert
    assert vrid(message) == advert.vrid


def test_version_2_is_what_scapy_sends() -> None:
    theirs = VRRP(vrid=51, priority=100, adv=1, addrlist=["192.0.2.10"], auth1=0, auth2=0)

    assert encode(PLAIN, V4, GROUP4) == bytes(theirs)


def test_version_3_checksums_are_what_scapy_sends_over_both_families() -> None:
    fields = {"vrid": 51, "priority": 100, "adv": 100}
    over4 = IP(src="192.0.2.1", dst="224.0.0.18") / VRRPv3(addrlist=["192.0.2.10"], **fields)
    over6 = IPv6(src="fe80::1", dst="ff02::12") / VRRPv3(addrlist=["fe80::10"], **fields)

    ours4 = encode(Advertisement(3, 51, 100, 1.0, (VIP4,)), V4, GROUP4)
    ours6 = encode(Advertisement(3, 51, 100, 1.0, (ip_address("fe80::10"),)), V6, GROUP6)

    assert ours4 == bytes(over4)[20:]
    assert ours6 == bytes(over6)[40:]


@CASES
def test_every_truncation_is_a_packet_error(name: str) -> None:
    advert, source, destination, _ = GOLDEN[name]
    message = encode(advert, source, destination)

    for length in range(len(message)):
        with pytest.raises(PacketError):
            decode(message[:length], source=source, destination=destination, ttl=255)


@CASES
def test_every_single_bit_flip_is_a_packet_error(name: str) -> None:
    advert, source, destination, _ = GOLDEN[name]
    message = encode(advert, source, destination)

    for bit in range(len(message) * 8):
        damaged = bytearray(message)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(PacketError):
            decode(bytes(damaged), source=source, destination=destination, ttl=255)


@given(st.binary(max_size=80), st.sampled_from([(V4, GROUP4), (V4, PEER4), (V6, GROUP6)]))
def test_arbitrary_bytes_end_in_a_packet_error_or_an_advertisement(message, ends) -> None:
    source, destination = ends
    try:
        advert = decode(message, source=source, destination=destination, ttl=255)
    except PacketError:
        return
    assert advert.version in (2, 3)
    assert 1 <= advert.vrid <= 255
    assert advert.interval > 0


@given(
    version=st.sampled_from([2, 3]),
    vrid=st.integers(1, 255),
    priority=st.integers(0, 255),
    hundredths=st.integers(1, 4095),
    addresses=st.lists(st.ip_addresses(v=4), max_size=20),
    password=st.binary(min_size=1, max_size=8).filter(lambda p: not p.endswith(b"\0")),
    pseudo_header=st.booleans(),
)
def test_what_is_encoded_is_decoded(
    version, vrid, priority, hundredths, addresses, password, pseudo_header
) -> None:
    if version == 2:
        interval, pseudo_header = float(hundredths % 255 + 1), True
    else:
        interval, password = hundredths / 100, b""
    auth_type = AUTH_PASS if password else 0
    advert = Advertisement(
        version, vrid, priority, interval, tuple(addresses), password, auth_type, pseudo_header
    )

    message = encode(advert, V4, GROUP4)

    assert decode(message, source=V4, destination=GROUP4, ttl=255) == advert


def resummed(message: bytes) -> bytes:
    """A version 2 message with its checksum made right."""
    blank = message[:6] + b"\0\0" + message[8:]
    return message[:6] + checksum(blank).to_bytes(2, "big") + message[8:]


def test_each_reason_is_found() -> None:
    good = encode(PLAIN, V4, GROUP4)

    assert reason_of(good[:7]) is Reason.LENGTH
    assert reason_of(good[:-8]) is Reason.LENGTH  # the RFC's version 2 without the trailer
    assert reason_of(good, ttl=254) is Reason.TTL
    assert reason_of(b"\x41" + good[1:]) is Reason.VERSION
    assert reason_of(good[:4] + b"\x02" + good[5:]) is Reason.AUTH_TYPE
    assert reason_of(good[:5] + b"\0" + good[6:]) is Reason.INTERVAL
    assert reason_of(good[:1] + b"\0" + good[2:]) is Reason.VRID
    assert reason_of(b"\x22" + good[1:]) is Reason.TYPE
    assert reason_of(good[:-1] + b"\x01") is Reason.CHECKSUM
    assert reason_of(good, destination=GROUP6) is Reason.FAMILY
    assert reason_of(bytes((0x21, 1, 1, 0, 0, 1, 0, 0)) + bytes(8), V6, GROUP6) is Reason.FAMILY
    assert vrid(b"\x21") is None


def test_a_checksum_with_pseudo_header_is_needed_over_ipv6() -> None:
    advert = Advertisement(3, 7, 100, 1.0, (V6,), pseudo_header=False)

    assert reason_of(encode(advert, V6, GROUP6), V6, GROUP6) is Reason.CHECKSUM


def test_a_low_ttl_is_accepted_from_a_unicast_peer() -> None:
    message = encode(PLAIN, V4, PEER4)

    assert decode(message, source=V4, destination=PEER4, ttl=64) == PLAIN


def test_zero_padding_to_the_minimum_frame_is_tolerated_and_nothing_else() -> None:
    good = encode(PLAIN, V4, GROUP4)

    assert decode(good + bytes(6), source=V4, destination=GROUP4, ttl=255) == PLAIN
    assert reason_of(good + bytes(7)) is Reason.LENGTH
    assert reason_of(good + b"\0\x01") is Reason.LENGTH


def test_authentication_octets_mean_nothing_without_authentication() -> None:
    noisy = resummed(encode(PLAIN, V4, GROUP4)[:-8] + b"whatever")

    assert decode(noisy, source=V4, destination=GROUP4, ttl=255) == PLAIN


def test_gratuitous_arp_is_a_broadcast_request_for_oneself() -> None:
    frame = gratuitous_arp(MAC, VIP4)

    seen = Ether(frame)
    assert (seen.dst, seen.src) == ("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01")
    assert (seen[ARP].op, seen[ARP].psrc, seen[ARP].pdst) == (1, "192.0.2.10", "192.0.2.10")
    assert announced_address(frame) == (MAC, VIP4)


@pytest.mark.parametrize("router", [False, True])
def test_unsolicited_na_overrides_and_tells_whether_we_route(router: bool) -> None:
    address = ip_address("2001:db8::1")

    frame = unsolicited_na(MAC, address, router)

    seen = Ether(frame)[ICMPv6ND_NA]
    assert (seen.R, seen.S, seen.O, seen.tgt) == (router, 0, 1, "2001:db8::1")
    assert Ether(frame)[IPv6].hlim == 255
    correct = seen.cksum
    del seen.cksum
    rebuilt = Ether(frame)
    del rebuilt[ICMPv6ND_NA].cksum
    assert Ether(bytes(rebuilt))[ICMPv6ND_NA].cksum == correct
    assert announced_address(frame) == (MAC, address)


def test_a_neighbour_advertisement_without_option_claims_its_ethernet_source() -> None:
    bare = Ether(src="02:00:00:00:00:01") / IPv6(src="fe80::9", dst="ff02::1") / ICMPv6ND_NA()
    bare[ICMPv6ND_NA].tgt = "2001:db8::1"

    assert announced_address(bytes(bare)) == (MAC, ip_address("2001:db8::1"))


def test_frames_that_claim_nothing_are_ignored() -> None:
    arp, na = gratuitous_arp(MAC, VIP4), unsolicited_na(MAC, ip_address("2001:db8::1"))
    probe = gratuitous_arp(MAC, ip_address("0.0.0.0"))

    for frame in (
        b"",
        arp[:20],
        arp[:14] + b"\0\x06" + arp[16:],
        arp[:12] + b"\x08\x00" + arp[14:],
        probe,
        na[:40],
        na[:-1],
        na[:14] + b"\x45" + na[15:],
        na[:21] + b"\x40" + na[22:],
        na[:60] + b"\x01" + na[61:],
    ):
        assert announced_address(frame) is None


@given(st.sampled_from(["arp", "na"]), st.data())
def test_damaged_frames_never_raise(kind: str, data) -> None:
    frame = bytearray(gratuitous_arp(MAC, VIP4) if kind == "arp" else unsolicited_na(MAC, V6))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))

    claim = announced_address(bytes(frame[: data.draw(st.integers(0, len(frame)))]))

    assert claim is None or len(claim[0]) == 6


def test_the_checksum_of_an_odd_number_of_octets_is_padded() -> None:
    assert checksum(b"\x01") == checksum(b"\x01\x00") == 0xFEFF
