"""Skew, master-down interval and lease, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsd.core.vrrp import lease_seconds, master_down_interval, relief_timeout, skew_time

from .vrrp_world import config


@pytest.mark.parametrize(
    ("version", "priority", "interval", "seconds"),
    [
        (2, 100, 1.0, 3.609375),
        (2, 100, 10.0, 30.609375),  # the skew of version 2 does not grow with the interval
        (2, 255, 1.0, 3.00390625),
        (3, 100, 0.1, 0.3609375),
        (3, 1, 1.0, 3.99609375),
    ],
)
def test_master_down_intervals_are_keepaliveds(version, priority, interval, seconds) -> None:
    assert master_down_interval(version, priority, interval) == pytest.approx(seconds)


def test_skew_is_scaled_by_the_interval_in_version_3_only() -> None:
    assert skew_time(2, 128, 4.0) == 0.5
    assert skew_time(3, 128, 4.0) == 2.0


@pytest.mark.parametrize(
    ("advertint", "lease"), [(0.01, 2), (0.5, 2), (1.0, 2), (1.5, 3), (2.0, 5), (5.0, 14)]
)
def test_leases(advertint: float, lease: int) -> None:
    assert lease_seconds(config(version=3, advertint=advertint)) == lease


def test_no_lease_when_the_operator_wants_none() -> None:
    assert lease_seconds(config(lease=False)) is None


@given(st.integers(1, 4095))
def test_the_lease_is_the_largest_that_ends_before_a_peers_patience(hundredths: int) -> None:
    lease = lease_seconds(config(version=3, advertint=hundredths / 100))

    assert lease == max(2, hundredths * 3 // 100 - 1)


def test_relief_is_waited_for_as_long_as_the_longest_skew() -> None:
    assert relief_timeout(config(advertint=5.0)) == 1.0
    assert relief_timeout(config(version=3, advertint=5.0)) == 5.0


@pytest.mark.parametrize(("adverts", "lease"), [(1, 2), (2, 2), (4, 3), (10, 9), (100, 99)])
def test_patience_and_lease_follow_downtimeradverts(adverts: int, lease: int) -> None:
    assert lease_seconds(config(downtimeradverts=adverts)) == lease
    assert master_down_interval(2, 100, 1.0, adverts) == adverts + 156 / 256
