"""RFC 5798 (VRRP version 3), sections 5 to 7: a test for every rule. See `rfc_rules`."""

from __future__ import annotations

from . import version3_rules


class TestRfc5798(version3_rules.Version3Rules):
    """RFC 9568 says the same but for what stands here."""

    def test_5_2_8_over_ipv4_the_checksum_includes_a_pseudo_header(self) -> None:
        assert self.sums_with_pseudo_header(self.message(pseudo_header=True))

    def test_6_4_3_departure_a_lower_bidder_is_answered_instead_of_discarded(self) -> None:
        bench = self.master()

        assert version3_rules.answers(bench.do(self.heard(99)))

    def test_7_1_departure_a_message_without_pseudo_header_is_accepted_too(self) -> None:
        assert self.accepted(self.message(pseudo_header=False))
