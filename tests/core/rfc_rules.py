"""The rules that RFC 3768, RFC 5798 and RFC 9568 share, with the same section numbers.

Each RFC's test file inherits `Rules` for its version and adds what is its own. A test is named
after the section and the rule; one that says `departure` states what lvsd does instead, and
`docs/vrrp.md` gives the reason. `docs/rfc.md` lists every rule with its tests.
"""

from __future__ import annotations

import pytest

from lvsd.core.model import RouterConfig, Vip
from lvsd.core.packet import TTL, Reason, encode
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    Startup,
    State,
    VirtualRouters,
    advertisement,
    destinations,
    hops,
    next_deadline,
)

from .rfc_bench import GROUP
from .rfc_states import StateRules
from .vrrp_world import HIGH, KEY, LOW, OWN, VIP, VIP2, Bench, config


class Rules(StateRules):
    """Sections 6.1 and 7, once per version; the states are in `rfc_states`."""

    # --- 6.1 Parameters ----------------------------------------------------------------------

    def test_6_1_unless_told_otherwise_a_router_advertises_each_second_and_preempts(self) -> None:
        plain = RouterConfig("VI_1", "eth0", 51, 100, (), version=self.version)

        assert (plain.advertint, plain.preempt, plain.downtimeradverts) == (1.0, True, 3)

    @pytest.mark.parametrize("priority", [1, 100, 254])
    def test_6_1_a_backup_waits_for_three_intervals_and_its_skew(self, priority: int) -> None:
        bench = self.backup(priority=priority)

        assert next_deadline(bench.vr) == 3 * 1.0 + (256 - priority) / 256

    def test_6_1_departure_another_number_of_missed_adverts_may_be_configured(self) -> None:
        bench = self.backup(downtimeradverts=5)

        assert next_deadline(bench.vr) == 5 * 1.0 + 156 / 256

    def test_6_1_the_owner_preempts_whatever_preempt_mode_says(self) -> None:
        bench = Bench(version=self.version, priority=255, preempt=False)

        bench.do(Startup())

        assert bench.state is State.MASTER

    # --- 7.1 Receiving -----------------------------------------------------------------------

    def test_7_1_a_good_message_is_received(self) -> None:
        assert isinstance(self.on_the_wire(self.message()), AdvertReceived)

    @pytest.mark.parametrize("ttl", [0, 1, 64, 254])
    def test_7_1_it_must_verify_that_the_ttl_is_255(self, ttl: int) -> None:
        assert self.on_the_wire(self.message(), ttl=ttl) == AdvertRejected(Reason.TTL)

    @pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 15])
    def test_7_1_it_must_verify_the_version(self, version: int) -> None:
        message = bytes((version << 4 | 1,)) + self.message()[1:] + bytes(8)
        whole = message[: 12 + (8 if version == 2 else 0)]  # as long as that version's
        seen = self.on_the_wire(whole)

        if version != self.version:
            assert seen == AdvertRejected(Reason.VERSION)
        else:
            assert isinstance(seen, AdvertReceived)

    def test_7_1_it_must_verify_that_the_message_is_complete(self) -> None:
        whole = self.message()

        for length in range(len(whole)):
            assert self.on_the_wire(whole[:length]) == AdvertRejected(Reason.LENGTH)

    def test_7_1_it_must_verify_the_checksum(self) -> None:
        good = self.message()
        damaged = good[:6] + bytes((good[6] ^ 1,)) + good[7:]

        assert self.on_the_wire(damaged) == AdvertRejected(Reason.CHECKSUM)

    def test_7_1_it_must_verify_that_the_vrid_is_configured_on_the_interface(self) -> None:
        routers, _ = VirtualRouters().configure([config(version=self.version)], {KEY: OWN}, 0.0)

        def heard(interface: str, vrid: int) -> bool:
            ends = {"source": HIGH, "destination": GROUP, "ttl": 255}
            return routers.receive(interface, self.message(vrid=vrid), **ends) is not None

        assert heard("eth0", 51)
        assert not heard("eth0", 52)
        assert not heard("eth1", 51)
        assert self.on_the_wire(self.message(vrid=52)) == AdvertRejected(Reason.VRID)

    def test_7_1_departure_an_owner_hears_adverts_too(self) -> None:
        # Two owners are a mistake that must not last: the higher address stays.
        assert isinstance(self.on_the_wire(self.message(), priority=255), AdvertReceived)
        bench = self.master(priority=255)
        bench.do(self.heard(255, HIGH))
        assert bench.state is State.BACKUP

    def test_7_1_a_discarded_message_changes_nothing_but_its_counter(self) -> None:
        bench = self.backup()
        before = bench.vr

        assert bench.do(AdvertRejected(Reason.CHECKSUM), 2.0) == ()

        assert next_deadline(bench.vr) == next_deadline(before)
        assert bench.vr.counters["rejected_checksum"] == 1

    # --- 7.2 Transmitting --------------------------------------------------------------------

    def test_7_2_the_fields_come_from_the_virtual_routers_configuration(self) -> None:
        bench = Bench(
            version=self.version, vrid=7, advertint=2.0, addresses=(Vip(VIP2, 32), Vip(VIP, 32))
        )

        sent = advertisement(bench.vr, 42)

        assert (sent.version, sent.vrid, sent.priority) == (self.version, 7, 42)
        assert (sent.interval, sent.addresses) == (2.0, (VIP2, VIP))

    def test_7_2_the_checksum_is_right_for_whoever_hears_it(self) -> None:
        sent = encode(advertisement(Bench(version=self.version).vr, 42), HIGH, GROUP)

        assert isinstance(self.on_the_wire(sent), AdvertReceived)

    def test_7_2_they_come_from_the_interfaces_address_and_go_to_the_group(self) -> None:
        vr = Bench(version=self.version).vr

        assert vr.source == OWN  # wire.py and the decoder test: as the IP header has it
        assert (destinations(vr), hops(vr)) == ((GROUP,), TTL)

    def test_7_2_departure_with_peers_they_go_to_each_of_them_instead(self) -> None:
        vr = Bench(version=self.version, peers=(LOW, OWN, HIGH)).vr

        assert destinations(vr) == (LOW, HIGH)
