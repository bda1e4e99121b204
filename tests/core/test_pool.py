"""Pools: what the kernel shall hold for one virtual."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsd.core.health import Status
from lvsd.core.model import (
    CheckKind,
    Destination,
    DestinationKey,
    RealServer,
    ServiceEntry,
    Virtual,
)
from lvsd.core.pool import (
    Admin,
    Finding,
    Pool,
    administer,
    effective_weight,
    examine,
    form,
    in_service,
    weights,
)
from tests.core.farm import entry, held, real, real_key, virtual

FALLBACK = real(99, kind=CheckKind.ON)


def judged(v: Virtual, results: str) -> Pool:
    """The pool after one result per real: `+` passed, `-` failed."""
    return tell(form(v, 0.0), results)


def tell(pool: Pool, results: str, now: float = 1.0) -> Pool:
    findings = [
        Finding(r.key, result == "+", "said so")
        for r, result in zip(pool.virtual.reals, results, strict=True)
        if result in "+-"
    ]
    return examine(pool, findings, now)


def test_a_new_real_enters_at_weight_0_and_is_raised_by_its_first_pass() -> None:
    pool = form(virtual(real(4, 5)), 0.0)
    assert held(pool.entry) == {4: 0}
    assert held(tell(pool, "+").entry) == {4: 5}


def test_a_failed_real_is_quiescent_at_weight_0() -> None:
    assert held(judged(virtual(real(4), real(5)), "+-").entry) == {4: 1, 5: 0}


def test_without_quiescent_a_failed_real_leaves_the_table() -> None:
    assert held(judged(virtual(real(4), real(5), quiescent=False), "+-").entry) == {4: 1}


def test_a_drained_real_stays_at_weight_0_without_quiescent_and_even_when_it_fails() -> None:
    pool = judged(virtual(real(4), real(5), quiescent=False), "++")
    pool = administer(pool, {real_key(5): Admin.DRAIN})
    assert held(pool.entry) == {4: 1, 5: 0}
    assert held(tell(pool, "+-").entry) == {4: 1, 5: 0}


def test_a_disabled_real_leaves_the_table_and_comes_back_when_enabled() -> None:
    pool = administer(judged(virtual(real(4), real(5)), "++"), {real_key(5): Admin.DISABLED})
    assert held(pool.entry) == {4: 1}
    assert held(administer(pool, {real_key(5): Admin.ENABLED}).entry) == {4: 1, 5: 1}


def test_a_configured_weight_of_0_is_legal_and_never_counts_as_live() -> None:
    pool = judged(virtual(real(4, 0), fallback=FALLBACK), "+")
    assert pool.health[real_key(4)].up
    assert held(pool.entry) == {4: 0, 99: 1}


def test_the_fallback_enters_with_weight_1_when_the_last_real_fails_and_leaves_with_the_first() -> (
    None
):
    v = virtual(real(4), real(5), fallback=replace(FALLBACK, weight=7))
    pool = judged(v, "--")
    assert held(pool.entry) == {4: 0, 5: 0, 99: 1}
    assert held(tell(pool, " +").entry) == {4: 0, 5: 1}


def test_the_fallback_stays_out_until_every_real_was_judged() -> None:
    pool = tell(form(virtual(real(4), real(5), fallback=FALLBACK), 0.0), "- ")
    assert not pool.judged
    assert held(pool.entry) == {4: 0, 5: 0}


def test_a_fallback_found_in_the_table_stays_until_every_real_was_judged() -> None:
    v = virtual(real(4), real(5), fallback=FALLBACK)
    pool = form(v, 0.0, found=entry(v, r4=0, r5=0, r99=1))
    assert held(tell(pool, "+ ").entry) == {4: 1, 5: 0, 99: 1}
    assert held(tell(pool, "+-").entry) == {4: 1, 5: 0}


def test_draining_every_real_brings_the_fallback() -> None:
    pool = judged(virtual(real(4), fallback=FALLBACK), "+")
    assert held(administer(pool, {real_key(4): Admin.DRAIN}).entry) == {4: 0, 99: 1}


def test_adoption_keeps_a_weight_and_takes_0_as_unknown() -> None:
    v = virtual(real(4, 3), real(5, 3), fall=2)
    pool = form(v, 0.0, found=entry(v, r4=3, r5=0))
    assert held(pool.entry) == {4: 3, 5: 0}
    assert pool.health[real_key(5)].status is Status.UNKNOWN
    assert held(tell(pool, "-+").entry) == {4: 3, 5: 3}


def test_what_is_found_in_service_stays_the_very_entry() -> None:
    """Identity tells the applier that there is nothing to do."""
    v = virtual(real(4, 3), real(5, 2))
    found = in_service(v)
    assert held(found) == {4: 3, 5: 2}
    assert form(v, 0.0, found=found).entry is found


def test_a_check_that_is_on_is_up_at_once_and_one_that_is_off_never() -> None:
    pool = form(virtual(real(4, kind=CheckKind.ON), real(5, kind=CheckKind.OFF)), 0.0)
    assert pool.judged
    assert held(pool.entry) == {4: 1, 5: 0}


def test_quorum_with_hysteresis_comes_later_and_goes_later() -> None:
    v = virtual(*(real(n) for n in range(1, 6)), quorum=3, hysteresis=1)
    ups = []
    pool = judged(v, "-----")
    for results in ("+++--", "++++-", "+++--", "++---", "+----", "+++--"):
        pool = tell(pool, results)
        ups.append(pool.up)
    assert ups == [False, True, True, True, False, False]


def test_a_pool_without_a_live_real_is_down_whatever_the_hysteresis() -> None:
    pool = judged(virtual(real(4), quorum=1, hysteresis=5), "-")
    assert not pool.up


def test_thresholds_travel_with_the_destination() -> None:
    r = replace(real(4), u_threshold=100, l_threshold=50)
    (d,) = judged(virtual(r), "+").entry.destinations.values()
    assert (d.u_threshold, d.l_threshold) == (100, 50)


@pytest.mark.parametrize(("failfast", "weight"), [(True, 0), (False, 1)])
def test_one_that_is_gone_is_down_at_once_only_where_that_is_wished(
    failfast: bool, weight: int
) -> None:
    pool = judged(virtual(real(4), fall=3, watch=True, failfast=failfast), "+")

    pool = examine(pool, [Finding(real_key(4), False, "refused", gone=True)], 2.0)

    assert held(pool.entry) == {4: weight}


def test_a_failure_of_another_kind_counts_as_ever_with_failfast() -> None:
    pool = judged(virtual(real(4), fall=3, watch=True, failfast=True), "+")

    assert held(tell(pool, "-").entry) == {4: 1}


def test_results_that_say_nothing_new_leave_the_same_pool() -> None:
    pool = judged(virtual(real(4), real(5)), "+-")
    assert tell(pool, "+-") is pool


def test_a_soft_failure_keeps_the_same_entry() -> None:
    pool = judged(virtual(real(4), fall=3), "+")
    soft = tell(pool, "-")
    assert soft is not pool
    assert soft.entry is pool.entry


@pytest.mark.parametrize("quiescent", [True, False])
def test_unchanged_reals_keep_their_health_over_a_reload(quiescent: bool) -> None:
    old = virtual(real(4), real(5), quiescent=quiescent)
    before = judged(old, "+-")
    after = form(replace(old, reals=(*old.reals, real(6))), 5.0, before=before)
    assert after.health[real_key(4)] is before.health[real_key(4)]
    assert held(after.entry) == ({4: 1, 5: 0, 6: 0} if quiescent else {4: 1, 6: 0})


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["+", "-", "drain", "undrain", "disable"])),
        max_size=40,
    ),
    st.booleans(),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_a_weight_is_0_exactly_when_the_real_is_not_up_or_not_enabled(
    happenings: list[tuple[int, str]], quiescent: bool, rise: int, fall: int
) -> None:
    reals = tuple(real(n, n + 1) for n in range(4))
    v = virtual(*reals, fallback=FALLBACK, quiescent=quiescent, rise=rise, fall=fall)
    pool = form(v, 0.0)
    words = {"drain": Admin.DRAIN, "undrain": Admin.ENABLED, "disable": Admin.DISABLED}
    for index, what in happenings:
        if what in words:
            pool = administer(pool, {reals[index].key: words[what]})
        else:
            pool = examine(pool, [Finding(reals[index].key, what == "+", "")], 1.0)
        weights = {key: d.weight for key, d in pool.entry.destinations.items()}
        for r in reals:
            admin = pool.admin.get(r.key, Admin.ENABLED)
            live = pool.health[r.key].up and admin is Admin.ENABLED
            assert weights.get(r.key, 0) == (r.weight if live else 0)
            assert effective_weight(r, pool.health[r.key], admin) == weights.get(r.key, 0)
        if pool.judged:
            assert (FALLBACK.key in weights) is not pool.up
        assert pool.entry == ServiceEntry(v.service, dict(pool.entry.destinations))
        assert all(isinstance(d, Destination) for d in pool.entry.destinations.values())


def test_a_finding_about_somebody_else_says_nothing() -> None:
    pool = judged(virtual(real(4)), "+")
    assert examine(pool, [Finding(real_key(9), False, "refused")], 2.0) is pool


def test_the_weights_of_all_reals_are_known_in_or_out_of_the_table() -> None:
    pool = judged(virtual(real(4, 3), real(5, 2), quiescent=False), "+-")
    assert weights(pool) == {real_key(4): 3, real_key(5): 0}
    assert weights(administer(pool, {real_key(4): Admin.DISABLED})) == {
        real_key(4): 0,
        real_key(5): 0,
    }


@pytest.mark.parametrize("kind", [CheckKind.ON, CheckKind.OFF])
def test_a_real_that_is_never_asked_keeps_its_age_over_a_reload(kind) -> None:
    v = virtual(real(4, kind=kind))
    pool = form(virtual(real(4, 2, kind)), 9.0, before=form(v, 1.0))
    assert pool.health[real_key(4)].since_at == 1.0


@given(
    st.lists(st.lists(st.tuples(st.integers(4, 7), st.booleans()), max_size=4), max_size=12),
    st.booleans(),
    st.sampled_from([None, FALLBACK, real(4)]),
    st.sampled_from([{}, {real_key(5): Admin.DRAIN}, {real_key(6): Admin.DISABLED}]),
    st.integers(1, 3),
)
def test_what_is_revised_is_what_would_be_worked_out_afresh(
    batches: list[list[tuple[int, bool]]],
    quiescent: bool,
    fallback: RealServer | None,
    words: dict[DestinationKey, Admin],
    quorum: int,
) -> None:
    policy = {"quiescent": quiescent, "fallback": fallback, "quorum": quorum, "fall": 2}
    pool = form(virtual(real(4), real(5, 2), real(6), **policy), 0.0, admin=words)
    for at, batch in enumerate(batches):
        pool = examine(pool, [Finding(real_key(n), passed, "") for n, passed in batch], float(at))
        assert administer(pool, {}) == pool
