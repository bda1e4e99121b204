"""Section 6.4 of RFC 3768, RFC 5798 and RFC 9568: the states, once per version. See `rfc_rules`."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lvsd.core.model import Vip
from lvsd.core.packet import gratuitous_arp
from lvsd.core.vrrp import (
    Announce,
    DeadlineReached,
    NeighbourAnnounced,
    SendAdvert,
    ServicesReady,
    Shutdown,
    Startup,
    State,
    VipsBound,
    desired,
    next_deadline,
    skew_time,
)

from .rfc_bench import MAC, RuleBench
from .vrrp_world import EXCLUDED, HIGH, LOW, OWN, VIP, VIP2, Bench, kinds


class StateRules(RuleBench):
    """What a router does on its events."""

    # --- 6.4.1 Initialize --------------------------------------------------------------------

    def test_6_4_1_an_owner_sends_an_advert_announces_and_is_master(self) -> None:
        bench = Bench(version=self.version, priority=255)

        effects = bench.do(Startup())

        assert SendAdvert(255) in effects
        assert bench.state is State.MASTER
        assert bench.do(VipsBound())[0] == Announce((VIP,))
        assert bench.vr.adver_at == bench.now + 1.0

    def test_6_4_1_anybody_else_is_backup_and_waits_for_the_master_down_interval(self) -> None:
        bench = self.backup(priority=100)

        assert bench.state is State.BACKUP
        assert next_deadline(bench.vr) == pytest.approx(3 + 156 / 256)

    def test_6_4_1_departure_with_services_it_waits_until_they_are_judged(self) -> None:
        bench = Bench(version=self.version, priority=255, has_services=True)

        bench.do(Startup())
        assert (bench.state, desired(bench.vr)) == (State.INITIALIZE, ())

        bench.do(ServicesReady(True))
        assert bench.state is State.MASTER

    # --- 6.4.2 Backup ------------------------------------------------------------------------

    def test_6_4_2_a_backup_must_not_answer_for_or_accept_what_is_sent_to_the_address(self) -> None:
        assert desired(self.backup().vr) == ()  # unbound: the kernel neither answers nor accepts

    def test_6_4_2_a_shutdown_cancels_the_timer_and_ends_in_initialize(self) -> None:
        bench = self.backup()

        assert "SendAdvert" not in kinds(bench.do(Shutdown()))
        assert bench.state is State.INITIALIZE
        assert next_deadline(bench.vr) is None

    def test_6_4_2_when_the_timer_fires_it_adverts_announces_and_is_master(self) -> None:
        bench = self.backup()

        effects = bench.deadline()

        assert effects[0] == SendAdvert(100)
        assert bench.state is State.MASTER
        assert bench.do(VipsBound())[0] == Announce((VIP,))
        assert bench.vr.adver_at == bench.now + 1.0

    def test_6_4_2_nothing_is_announced_before_the_kernel_holds_the_address(self) -> None:
        bench = self.backup(advertint=2.0, lease=False)
        bench.deadline()

        assert "Announce" not in kinds(bench.deadline())  # the second advert
        assert bench.do(VipsBound())[0] == Announce((VIP,))

    def test_6_4_2_every_address_is_announced_the_excluded_too(self) -> None:
        bench = self.backup(addresses=(Vip(VIP, 32), Vip(VIP2, 32)), excluded=(Vip(EXCLUDED, 32),))
        bench.deadline()

        assert bench.do(VipsBound())[0] == Announce((VIP, VIP2, EXCLUDED))

    def test_6_4_2_an_announcement_over_ipv4_is_a_broadcast_for_the_address_itself(self) -> None:
        frame = gratuitous_arp(MAC, VIP)
        sender, target = frame[28:32], frame[38:42]

        assert frame[:6] == b"\xff" * 6
        assert sender == target == VIP.packed

    def test_6_4_2_departure_in_a_sync_group_it_waits_for_the_other_members(self) -> None:
        bench = self.backup(syncgroup="G1")

        assert "SendAdvert" not in kinds(bench.deadline())
        assert bench.state is State.BACKUP

    def test_6_4_2_priority_zero_sets_the_timer_to_skew_time(self) -> None:
        bench = self.backup()

        bench.do(self.heard(0), 2.0)

        assert next_deadline(bench.vr) == 2.0 + skew_time(self.version, 100, 1.0)

    @pytest.mark.parametrize("theirs", [100, 101, 255])
    def test_6_4_2_an_equal_or_higher_priority_resets_the_timer(self, theirs: int) -> None:
        bench = self.backup()

        bench.do(self.heard(theirs), 2.0)

        assert next_deadline(bench.vr) == pytest.approx(2.0 + 3 + 156 / 256)

    def test_6_4_2_without_preemption_any_priority_resets_the_timer(self) -> None:
        bench = self.backup(preempt=False)

        bench.do(self.heard(1), 2.0)

        assert next_deadline(bench.vr) == pytest.approx(2.0 + 3 + 156 / 256)

    def test_6_4_2_with_preemption_a_lower_priority_is_discarded(self) -> None:
        bench = self.backup()

        bench.do(self.heard(99), 2.0)

        assert next_deadline(bench.vr) == pytest.approx(3 + 156 / 256)

    def test_6_4_2_departure_preemption_may_be_delayed(self) -> None:
        bench = self.backup(preemptdelay=10.0)

        bench.do(self.heard(99), 2.0)

        assert next_deadline(bench.vr) == pytest.approx(2.0 + 3 + 156 / 256)

    # --- 6.4.3 Master ------------------------------------------------------------------------

    def test_6_4_3_a_master_must_answer_for_the_address(self) -> None:
        assert [vip.address for vip in desired(self.master().vr)] == [VIP]

    def test_6_4_3_departure_a_master_that_is_no_owner_accepts_what_is_sent_to_the_address(
        self,
    ) -> None:
        # Accept_Mode is on: a bound address is accepted, which a director of IPVS lives by.
        assert desired(self.master(priority=100).vr) == desired(self.master(priority=255).vr)

    def test_6_4_3_a_shutdown_sends_priority_zero(self) -> None:
        assert self.master().do(Shutdown())[0] == SendAdvert(0)

    def test_6_4_3_departure_a_stopping_master_serves_until_it_is_relieved(self) -> None:
        bench = self.master()

        bench.do(Shutdown())

        assert desired(bench.vr)
        bench.deadline()
        assert (bench.state, desired(bench.vr)) == (State.INITIALIZE, ())

    def test_6_4_3_when_the_timer_fires_it_adverts_and_sets_it_again(self) -> None:
        bench = self.master()
        at = bench.vr.adver_at

        assert SendAdvert(100) in bench.do(DeadlineReached(), at)
        assert bench.vr.adver_at == at + 1.0

    def test_6_4_3_priority_zero_is_answered_and_sets_the_timer(self) -> None:
        bench = self.master()
        now = bench.now + 0.25

        assert SendAdvert(100) in bench.do(self.heard(0), now)
        assert (bench.state, bench.vr.adver_at) == (State.MASTER, now + 1.0)

    @pytest.mark.parametrize(("theirs", "source"), [(101, LOW), (101, HIGH), (100, HIGH)])
    def test_6_4_3_a_higher_priority_or_an_equal_one_from_a_higher_address_makes_a_backup(
        self, theirs: int, source
    ) -> None:
        bench = self.master()
        now = bench.now + 0.25

        bench.do(self.heard(theirs, source), now)

        assert (bench.state, bench.vr.adver_at) == (State.BACKUP, None)
        assert bench.vr.master_down_at == pytest.approx(now + 3 + 156 / 256)

    def test_6_4_3_departure_one_that_yields_serves_until_the_better_one_announces(self) -> None:
        bench = self.master()
        bench.do(self.heard(200))
        assert (bench.state, [vip.address for vip in desired(bench.vr)]) == (State.BACKUP, [VIP])

        bench.do(NeighbourAnnounced(VIP))

        assert desired(bench.vr) == ()

    @pytest.mark.parametrize(("theirs", "source"), [(101, LOW), (100, HIGH)])
    def test_6_4_3_departure_a_last_advert_goes_to_the_better_master(
        self, theirs: int, source
    ) -> None:
        effects = self.master().do(self.heard(theirs, source))

        assert effects == (SendAdvert(100),)
        assert self.master(higherpriosendadvert=False).do(self.heard(theirs, source)) == ()

    @pytest.mark.parametrize(("theirs", "source"), [(99, HIGH), (100, LOW)])
    def test_6_4_3_a_lower_bidder_does_not_end_the_mastership(self, theirs: int, source) -> None:
        bench = self.master()

        bench.do(self.heard(theirs, source))

        assert bench.state is State.MASTER

    def test_6_4_3_equal_priorities_compare_addresses_as_numbers(self) -> None:
        # As text, 192.0.2.10 would be lower than 192.0.2.5, our own.
        bench = self.master()

        bench.do(self.heard(100, ip_address("192.0.2.10")))

        assert str(OWN) == "192.0.2.5"
        assert bench.state is State.BACKUP
