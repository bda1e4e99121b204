"""The rules that RFC 3768, RFC 5798 and RFC 9568 share, with the same section numbers.

Each RFC's test file inherits `Rules` for its version and adds what is its own. A test is named
after the section and the rule; one that says `departure` states what lvsd does instead, and
`docs/vrrp.md` gives the reason.
"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from lvsd.core.packet import Advertisement, Reason, encode
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    Announce,
    DeadlineReached,
    SendAdvert,
    Shutdown,
    Startup,
    State,
    VipsBound,
    desired,
    next_deadline,
    receive,
    skew_time,
)

from .vrrp_world import HIGH, LOW, OWN, VIP, Bench, advert, backup, config, kinds, master

GROUP = ip_address("224.0.0.18")


class Rules:
    """Sections 6.4 and 7.1, once per version."""

    version: int

    # --- what the rules are tried on ---------------------------------------------------------

    def heard(self, priority: int, source=HIGH, interval: float = 1.0) -> AdvertReceived:
        """An advert of this version."""
        return advert(priority, source, interval, version=self.version)

    def backup(self, **changes) -> Bench:
        """A BACKUP of this version."""
        return backup(version=self.version, **changes)

    def master(self, **changes) -> Bench:
        """A MASTER of this version; an owner is one at once."""
        if changes.get("priority") == 255:
            bench = Bench(version=self.version, **changes)
            bench.do(Startup())
            bench.do(VipsBound())
            return bench
        return master(version=self.version, **changes)

    def on_the_wire(self, message: bytes, source=HIGH, ttl: int = 255, **changes):
        """What a router makes of a message."""
        vr = Bench(version=self.version, **changes).vr
        return receive(vr, message, source=source, destination=GROUP, ttl=ttl)

    def message(self, **changes) -> bytes:
        """A good message."""
        fields = {"version": self.version, "vrid": 51, "priority": 100, "interval": 1.0}
        return encode(Advertisement(**{**fields, "addresses": (VIP,), **changes}), HIGH, GROUP)

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

        assert "SendAdvert" not in kinds(bench.do(self.heard(theirs, source), now))
        assert (bench.state, bench.vr.adver_at) == (State.BACKUP, None)
        assert next_deadline(bench.vr) == pytest.approx(now + 3 + 156 / 256)

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

    # --- 7.1 Receiving -----------------------------------------------------------------------

    def test_7_1_a_good_message_is_received(self) -> None:
        assert isinstance(self.on_the_wire(self.message()), AdvertReceived)

    @pytest.mark.parametrize("ttl", [0, 1, 64, 254])
    def test_7_1_it_must_verify_that_the_ttl_is_255(self, ttl: int) -> None:
        assert self.on_the_wire(self.message(), ttl=ttl) == AdvertRejected(Reason.TTL)

    @pytest.mark.parametrize("version", [0, 1, 4, 15])
    def test_7_1_it_must_verify_the_version(self, version: int) -> None:
        message = bytes((version << 4 | 1,)) + self.message()[1:] + bytes(8)
        good = self.on_the_wire(message[:20])

        assert isinstance(good, AdvertRejected)
        assert good.reason in (Reason.VERSION, Reason.LENGTH)

    def test_7_1_it_must_verify_that_the_message_is_complete(self) -> None:
        whole = self.message()

        for length in range(len(whole)):
            assert self.on_the_wire(whole[:length]) == AdvertRejected(Reason.LENGTH)

    def test_7_1_it_must_verify_the_checksum(self) -> None:
        good = self.message()
        damaged = good[:6] + bytes((good[6] ^ 1,)) + good[7:]

        assert self.on_the_wire(damaged) == AdvertRejected(Reason.CHECKSUM)

    def test_7_1_it_must_verify_that_the_vrid_is_configured(self) -> None:
        other = self.message(vrid=52)

        assert self.on_the_wire(other) == AdvertRejected(Reason.VRID)

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

    def test_7_1_departure_another_address_list_is_accepted_and_said(self) -> None:
        bench = self.backup()
        other = AdvertReceived(
            HIGH, Advertisement(self.version, 51, 200, 1.0, (ip_address("192.0.2.77"),))
        )

        effects = bench.do(other, 2.0)

        assert kinds(effects) == ["AddressListDiffers"]
        assert next_deadline(bench.vr) == pytest.approx(2.0 + 3 + 156 / 256)

    # --- 7.2 Transmitting --------------------------------------------------------------------

    def test_7_2_what_is_sent_is_what_is_configured(self) -> None:
        sent = self.on_the_wire(self.message(priority=7))

        assert isinstance(sent, AdvertReceived)
        assert sent.advert.vrid == config().vrid
        assert (sent.advert.priority, sent.advert.addresses) == (7, (VIP,))
