"""RFC 9568 (VRRP version 3, revised), sections 5 to 7: a test for every rule. See `rfc_rules`."""

from __future__ import annotations

import pytest

from lvsd.core.vrrp import desired

from . import version3_rules


class TestRfc9568(version3_rules.Version3Rules):
    """What RFC 9568 has beyond RFC 5798, or otherwise."""

    def test_5_2_5_departure_an_advert_without_addresses_is_heard(self) -> None:
        said, wait = self.hears_another_list(())

        assert said == ["AddressListDiffers"]
        assert wait == pytest.approx(3 + 156 / 256)

    def test_5_2_8_over_ipv4_the_checksum_may_be_sent_without_a_pseudo_header(self) -> None:
        message = self.message(pseudo_header=False)

        assert not self.sums_with_pseudo_header(message)
        assert self.accepted(message)

    def test_5_2_8_departure_over_ipv4_a_pseudo_header_is_included_unless_told_otherwise(
        self,
    ) -> None:
        assert self.sums_with_pseudo_header(self.message())
        assert self.accepted(self.message())

    def test_6_4_3_a_lower_bidder_is_answered_at_once(self) -> None:
        bench = self.master()

        assert version3_rules.answers(bench.do(self.heard(99)))

    def test_6_4_3_departure_the_answer_may_be_turned_off(self) -> None:
        bench = self.master(lowerprionoadvert=True)

        assert not version3_rules.answers(bench.do(self.heard(99)))

    def test_6_4_3_an_answered_lower_bidder_sets_the_timer(self) -> None:
        bench = self.master()
        now = bench.now + 0.25

        bench.do(self.heard(99), now)

        assert bench.vr.adver_at == now + 1.0

    def test_6_4_3_a_lower_bidder_does_not_take_the_addresses(self) -> None:
        bench = self.master()

        bench.do(self.heard(1))

        assert desired(bench.vr)
