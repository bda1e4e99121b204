"""The rules of version 3 on which RFC 5798 and RFC 9568 agree, beyond `rfc_rules`."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from lvsd.core.model import Family, RouterConfig, Vip
from lvsd.core.packet import (
    MULTICAST,
    PROTOCOL,
    TTL,
    Advertisement,
    PacketError,
    Reason,
    checksum,
    decode,
    encode,
    gratuitous_arp,
    unsolicited_na,
)
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    ChildLost,
    DeadlineReached,
    Startup,
    State,
    VirtualRouter,
    advertisement,
    effective_priority,
    faults,
    next_deadline,
    receive,
    skew_time,
    step,
)

from . import rfc_rules
from .rfc_bench import MAC
from .vrrp_world import HIGH, VIP, VIP2, Bench, kinds

__all__ = ["Version3Rules", "answers"]

GROUP4, GROUP6 = ip_address("224.0.0.18"), ip_address("ff02::12")
LINK_LOCAL, VIP6 = ip_address("fe80::1"), ip_address("fe80::100")
OWN6, GLOBAL6 = ip_address("fe80::5"), ip_address("2001:db8::100")
OVER_IPV6 = RouterConfig(
    *("VI_6", "eth0", 51, 100, (Vip(VIP6, 128),)), version=3, family=Family.INET6
)


def answers(effects) -> bool:
    return "SendAdvert" in kinds(effects)


class Version3Rules(rfc_rules.Rules):
    version = 3

    def accepted(self, message: bytes) -> bool:
        return isinstance(self.on_the_wire(message), AdvertReceived)

    def sums_with_pseudo_header(self, message: bytes) -> bool:
        tail = bytes((0, PROTOCOL)) + len(message).to_bytes(2, "big")
        return checksum(HIGH.packed + GROUP4.packed + tail + message) == 0

    # --- 5.1 IP fields -----------------------------------------------------------------------

    def test_5_1_1_1_over_ipv4_adverts_come_from_the_interfaces_primary_address(self) -> None:
        assert Bench(version=3).vr.source == ip_address("192.0.2.5")

    def test_5_1_1_2_the_ipv4_group_is_one_that_routers_must_not_forward(self) -> None:
        assert MULTICAST[Family.INET] == GROUP4
        assert GROUP4 in ip_network("224.0.0.0/24")

    def test_5_1_1_3_and_5_1_2_3_ttl_and_hop_limit_must_be_255(self) -> None:
        assert TTL == 255

    def test_5_1_1_3_another_ttl_must_be_discarded(self) -> None:
        assert self.on_the_wire(self.message(), ttl=254) == AdvertRejected(Reason.TTL)

    def test_5_1_1_3_and_5_1_2_3_departure_from_a_unicast_peer_any_ttl_is_taken(self) -> None:
        assert self.is_heard_from_a_peer_with_ttl(64)

    def test_5_1_2_1_over_ipv6_nothing_is_sent_without_a_link_local_address(self) -> None:
        vr = VirtualRouter.initial(OVER_IPV6, None)

        assert faults(vr) == ("interface eth0 has no IPv6 link-local address to send from",)

    def test_5_1_2_2_the_ipv6_group_is_one_that_routers_must_not_forward(self) -> None:
        assert MULTICAST[Family.INET6] == GROUP6
        assert GROUP6 in ip_network("ff02::/16")

    def test_5_1_2_3_another_hop_limit_must_be_discarded(self) -> None:
        message = encode(Advertisement(3, 6, 100, 1.0, (VIP6,)), LINK_LOCAL, GROUP6)

        with pytest.raises(PacketError) as caught:
            decode(message, source=LINK_LOCAL, destination=GROUP6, ttl=64)
        assert caught.value.reason is Reason.TTL

    def test_5_1_1_4_and_5_1_2_4_the_protocol_is_112(self) -> None:
        assert PROTOCOL == 112

    # --- 5.2 VRRP fields ---------------------------------------------------------------------

    def test_5_2_1_and_5_2_2_the_first_octet_is_version_3_type_1(self) -> None:
        assert self.message()[0] == 0x31

    @pytest.mark.parametrize("kind", [0, 2, 15])
    def test_5_2_2_an_unknown_type_must_be_discarded(self, kind: int) -> None:
        message = bytes((0x30 | kind,)) + self.message()[1:]

        assert self.on_the_wire(message) == AdvertRejected(Reason.TYPE)

    def test_5_2_4_the_owners_priority_must_be_255(self) -> None:
        assert effective_priority(Bench(version=3, priority=255).vr) == 255

    @pytest.mark.parametrize("base", [1, 100, 254])
    def test_5_2_4_a_backups_priority_must_be_within_1_and_254(self, base: int) -> None:
        assert self.priorities(base) <= set(range(1, 255))

    def test_5_2_4_departure_an_owner_without_its_checks_claims_no_more_than_1(self) -> None:
        bench = self.master(priority=255)
        bench.do(ChildLost(True))

        assert effective_priority(bench.vr) == 1

    def test_5_2_5_the_count_is_that_of_the_advertised_addresses(self) -> None:
        assert self.message(addresses=(VIP, VIP2))[3] == 2

    def test_5_2_6_the_reserved_bits_must_be_sent_as_zero(self) -> None:
        assert self.message(interval=40.95)[4] >> 4 == 0

    def test_5_2_6_the_reserved_bits_must_be_ignored(self) -> None:
        blank = bytearray(self.message(pseudo_header=False))
        blank[4] |= 0xF0
        blank[6:8] = bytes(2)
        blank[6:8] = checksum(bytes(blank)).to_bytes(2, "big")

        seen = self.on_the_wire(bytes(blank))

        assert isinstance(seen, AdvertReceived)
        assert seen.advert.interval == 1.0

    @pytest.mark.parametrize(("interval", "octets"), [(0.01, 1), (1.0, 100), (40.95, 4095)])
    def test_5_2_7_the_interval_is_12_bits_of_centiseconds(self, interval, octets) -> None:
        assert int.from_bytes(self.message(interval=interval)[4:6], "big") == octets

    def test_5_2_7_an_interval_of_zero_is_no_interval(self) -> None:
        assert self.on_the_wire(self.message(interval=0.0)) == AdvertRejected(Reason.INTERVAL)

    def test_5_2_8_over_ipv6_the_checksum_includes_a_pseudo_header(self) -> None:
        advert = Advertisement(3, 6, 100, 1.0, (VIP6,))
        message = encode(advert, LINK_LOCAL, GROUP6)
        tail = len(message).to_bytes(4, "big") + bytes((0, 0, 0, PROTOCOL))

        assert checksum(LINK_LOCAL.packed + GROUP6.packed + tail + message) == 0

    def test_5_2_8_over_ipv6_a_message_without_a_pseudo_header_is_discarded(self) -> None:
        advert = Advertisement(3, 51, 100, 1.0, (VIP6,), pseudo_header=False)
        vr = VirtualRouter.initial(OVER_IPV6, OWN6)

        seen = receive(
            vr, encode(advert, LINK_LOCAL, GROUP6), source=LINK_LOCAL, destination=GROUP6, ttl=255
        )

        assert seen == AdvertRejected(Reason.CHECKSUM)

    def test_5_2_9_the_addresses_follow_in_the_order_of_the_configuration(self) -> None:
        assert self.message(addresses=(VIP2, VIP))[8:] == VIP2.packed + VIP.packed

    def test_5_2_9_a_message_has_addresses_of_its_own_family_only(self) -> None:
        advert = Advertisement(3, 6, 100, 1.0, (VIP6,))
        message = encode(advert, LINK_LOCAL, GROUP6)

        with pytest.raises(PacketError):
            decode(message, source=HIGH, destination=GROUP4, ttl=255)

    def test_5_2_9_departure_over_ipv6_the_first_address_need_not_be_link_local(self) -> None:
        message = encode(Advertisement(3, 51, 100, 1.0, (GLOBAL6,)), LINK_LOCAL, GROUP6)
        vr = VirtualRouter.initial(replace(OVER_IPV6, addresses=(Vip(GLOBAL6, 128),)), OWN6)

        seen = receive(vr, message, source=LINK_LOCAL, destination=GROUP6, ttl=255)

        assert isinstance(seen, AdvertReceived)
        assert advertisement(vr, 100).addresses == (GLOBAL6,)

    # --- 6.1 Parameters ----------------------------------------------------------------------

    def test_6_1_the_skew_is_scaled_by_the_masters_interval(self) -> None:
        assert skew_time(3, 100, 0.5) == 156 / 256 * 0.5

    def test_6_1_a_backup_waits_for_three_intervals_of_the_master(self) -> None:
        bench = self.backup()

        bench.do(self.heard(200, interval=0.5), 2.0)

        assert next_deadline(bench.vr) == pytest.approx(2.0 + 1.5 + 156 / 256 * 0.5)

    # --- 6.4 States --------------------------------------------------------------------------

    def test_6_4_1_a_backup_begins_with_its_own_interval_as_the_masters(self) -> None:
        assert self.backup(advertint=0.25).vr.master_interval == 0.25

    def test_6_4_2_an_accepted_advert_sets_the_masters_interval(self) -> None:
        bench = self.backup()

        bench.do(self.heard(100, interval=2.0), 1.0)

        assert bench.vr.master_interval == 2.0

    def test_6_4_2_a_discarded_advert_does_not_set_the_masters_interval(self) -> None:
        bench = self.backup()

        bench.do(self.heard(99, interval=2.0), 1.0)

        assert bench.vr.master_interval == 1.0

    def test_6_4_2_priority_zero_is_skewed_by_the_masters_interval(self) -> None:
        bench = self.backup()
        bench.do(self.heard(200, interval=0.5), 1.0)

        bench.do(self.heard(0, interval=0.5), 2.0)

        assert next_deadline(bench.vr) == pytest.approx(2.0 + 156 / 256 * 0.5)

    def test_6_4_3_who_yields_takes_the_better_masters_interval(self) -> None:
        bench = self.master()
        now = bench.now

        bench.do(self.heard(200, interval=0.5), now)

        assert bench.state is State.BACKUP
        assert bench.vr.master_down_at == pytest.approx(now + 1.5 + 156 / 256 * 0.5)

    @pytest.mark.parametrize(("source", "state"), [("fe80::10", "backup"), ("fe80::4", "master")])
    def test_6_4_3_equal_priorities_compare_ipv6_addresses_as_numbers(self, source, state) -> None:
        vr, _ = step(VirtualRouter.initial(OVER_IPV6, OWN6), Startup(), 0.0)
        vr, _ = step(vr, DeadlineReached(), next_deadline(vr))
        assert vr.state is State.MASTER

        equal = AdvertReceived(ip_address(source), advertisement(vr, 100))
        vr, _ = step(vr, equal, 4.0)

        assert vr.state == state

    def test_6_4_2_over_ipv6_an_announcement_overrides_and_is_unsolicited(self) -> None:
        frame = unsolicited_na(MAC, VIP6, router=True)
        flags = frame[14 + 40 + 4]

        assert flags & 0x80  # router
        assert not flags & 0x40  # solicited
        assert flags & 0x20  # override
        assert frame[-24:-8] == VIP6.packed

    def test_6_4_2_departure_a_host_that_does_not_forward_claims_to_be_no_router(self) -> None:
        assert not unsolicited_na(MAC, VIP6, router=False)[14 + 40 + 4] & 0x80

    def test_6_4_3_departure_a_master_sends_no_router_advertisements(self) -> None:
        bench = self.master(lease=False)
        sent = {kind for _ in range(20) for kind in kinds(bench.deadline())}

        assert sent == {"SendAdvert", "Announce"}  # and an Announce is a neighbour advertisement

    # --- 7 Sending ---------------------------------------------------------------------------

    @pytest.mark.parametrize("interval", [0.01, 2.0, 40.95])
    def test_7_1_another_interval_is_no_reason_to_discard(self, interval: float) -> None:
        assert self.accepted(self.message(interval=interval))

    def test_7_1_another_address_list_is_told_and_no_reason_to_discard(self) -> None:
        said, wait = self.hears_another_list((VIP2,))

        assert said == ["AddressListDiffers"]
        assert wait == pytest.approx(3 + 156 / 256)

    def test_7_2_and_8_1_2_and_8_2_2_departure_announcements_carry_the_interfaces_own_mac(
        self,
    ) -> None:
        arp, na = gratuitous_arp(MAC, VIP), unsolicited_na(MAC, VIP6)

        assert arp[6:12] == arp[22:28] == MAC
        assert na[6:12] == na[-6:] == MAC
