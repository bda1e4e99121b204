"""RFC 3768 (VRRP version 2), sections 5 to 7: a test for every rule. See `rfc_rules`."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lvsd.core.model import Family, RouterConfig
from lvsd.core.packet import (
    AUTH_PASS,
    MULTICAST,
    PROTOCOL,
    TTL,
    Reason,
    checksum,
    gratuitous_arp,
)
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    ChildLost,
    destinations,
    effective_priority,
    skew_time,
)

from . import rfc_rules
from .rfc_bench import MAC
from .vrrp_world import VIP, VIP2, Bench, kinds


def resummed(message: bytes) -> bytes:
    blank = message[:6] + b"\0\0" + message[8:]
    return message[:6] + checksum(blank).to_bytes(2, "big") + message[8:]


class TestRfc3768(rfc_rules.Rules):
    version = 2

    # --- 5.2 IP fields, 5.3 VRRP fields ------------------------------------------------------

    def test_5_2_1_adverts_come_from_the_primary_address_of_the_interface(self) -> None:
        assert Bench().vr.source == ip_address("192.0.2.5")

    def test_5_2_2_the_group_is_one_that_routers_must_not_forward(self) -> None:
        assert MULTICAST[Family.INET] == ip_address("224.0.0.18")
        assert MULTICAST[Family.INET] in ip_network("224.0.0.0/24")
        assert destinations(Bench().vr) == (MULTICAST[Family.INET],)

    def test_5_2_3_the_ttl_must_be_255(self) -> None:
        assert TTL == 255

    def test_5_2_3_a_message_with_another_ttl_must_be_discarded(self) -> None:
        assert self.on_the_wire(self.message(), ttl=254) == AdvertRejected(Reason.TTL)

    def test_5_2_3_departure_from_a_unicast_peer_any_ttl_is_taken(self) -> None:
        assert self.is_heard_from_a_peer_with_ttl(64)

    def test_5_2_4_the_protocol_is_112(self) -> None:
        assert PROTOCOL == 112

    def test_5_3_1_and_5_3_2_the_first_octet_is_version_2_type_1(self) -> None:
        assert self.message()[0] == 0x21

    @pytest.mark.parametrize("kind", [0, 2, 15])
    def test_5_3_2_an_unknown_type_must_be_discarded(self, kind: int) -> None:
        message = resummed(bytes((0x20 | kind,)) + self.message()[1:])

        assert self.on_the_wire(message) == AdvertRejected(Reason.TYPE)

    def test_5_3_3_the_vrid_is_the_second_octet_and_never_0(self) -> None:
        assert self.message()[1] == 51
        nought = resummed(self.message()[:1] + b"\0" + self.message()[2:])
        assert self.on_the_wire(nought) == AdvertRejected(Reason.VRID)

    def test_5_3_4_the_owners_priority_must_be_255(self) -> None:
        assert effective_priority(Bench(priority=255).vr) == 255

    @pytest.mark.parametrize("base", [1, 100, 254])
    def test_5_3_4_a_backups_priority_must_be_within_1_and_254(self, base: int) -> None:
        assert self.priorities(base) <= set(range(1, 255))

    def test_5_3_4_departure_an_owner_without_its_checks_claims_no_more_than_1(self) -> None:
        bench = self.master(priority=255)
        bench.do(ChildLost(True))

        assert effective_priority(bench.vr) == 1

    def test_5_3_5_the_count_is_that_of_the_advertised_addresses(self) -> None:
        assert self.message(addresses=(VIP, VIP2))[3] == 2

    @pytest.mark.parametrize("kind", [2, 3, 255])
    def test_5_3_6_an_unknown_authentication_must_be_discarded(self, kind: int) -> None:
        good = self.message()
        message = resummed(good[:4] + bytes((kind,)) + good[5:])

        assert self.on_the_wire(message) == AdvertRejected(Reason.AUTH_TYPE)

    @pytest.mark.parametrize("ours", [b"", b"secret"])
    def test_5_3_6_an_authentication_that_is_not_ours_must_be_discarded(self, ours: bytes) -> None:
        password = {} if ours else {"auth_type": AUTH_PASS, "authpass": b"1111"}

        seen = self.on_the_wire(self.message(**password), authpass=ours)

        assert seen == AdvertRejected(Reason.AUTH_TYPE)

    def test_5_3_6_departure_the_password_of_rfc_2338_is_still_spoken(self) -> None:
        secret = {"auth_type": AUTH_PASS, "authpass": b"1111"}
        wrong = {"auth_type": AUTH_PASS, "authpass": b"2222"}

        assert isinstance(
            self.on_the_wire(self.message(**secret), authpass=b"1111"), AdvertReceived
        )
        seen = self.on_the_wire(self.message(**wrong), authpass=b"1111")
        assert seen == AdvertRejected(Reason.AUTH)

    def test_5_3_7_the_interval_is_in_seconds_and_1_by_default(self) -> None:
        plain = RouterConfig("VI_1", "eth0", 51, 100, ())

        assert plain.advertint == 1.0
        assert self.message(interval=3.0)[5] == 3

    def test_5_3_8_the_checksum_covers_the_message_from_its_first_octet(self) -> None:
        assert checksum(self.message()) == 0

    def test_5_3_9_the_addresses_follow_in_the_order_of_the_configuration(self) -> None:
        assert self.message(addresses=(VIP2, VIP))[8:16] == VIP2.packed + VIP.packed

    def test_5_3_10_the_authentication_data_should_be_zero(self) -> None:
        assert self.message()[-8:] == bytes(8)

    def test_5_3_10_the_authentication_data_should_be_ignored(self) -> None:
        noisy = resummed(self.message()[:-8] + b"whatever")

        assert isinstance(self.on_the_wire(noisy), AdvertReceived)

    # --- 6.1 Parameters, 6.2 timers ----------------------------------------------------------

    @pytest.mark.parametrize("interval", [1.0, 10.0])
    def test_6_1_the_skew_does_not_depend_on_the_interval(self, interval: float) -> None:
        assert skew_time(2, 100, interval) == 156 / 256

    # --- 7.1 Receiving, 7.2 transmitting -----------------------------------------------------

    @pytest.mark.parametrize("interval", [2.0, 255.0])
    def test_7_1_another_interval_must_be_discarded(self, interval: float) -> None:
        seen = self.on_the_wire(self.message(interval=interval))

        assert seen == AdvertRejected(Reason.INTERVAL)

    def test_7_2_and_8_2_departure_announcements_carry_the_interfaces_own_mac(self) -> None:
        frame = gratuitous_arp(MAC, VIP)

        assert frame[6:12] == frame[22:28] == MAC

    def test_7_1_departure_another_address_list_is_accepted_and_said(self) -> None:
        said, wait = self.hears_another_list((VIP2,))

        assert said == ["AddressListDiffers"]
        assert wait == pytest.approx(3 + 156 / 256)  # as long as after any master's advert

    # --- 6.4.3, where version 2 differs ------------------------------------------------------

    def test_6_4_3_departure_a_lower_bidder_is_answered_instead_of_discarded(self) -> None:
        bench = self.master()

        assert "SendAdvert" in kinds(bench.do(self.heard(99)))
