"""Health: who is up after which results."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lvsd.core.health import Health, Status, adopted, always, observe, unknown


def after(health: Health, results: str, rise: int = 1, fall: int = 1) -> Health:
    for now, result in enumerate(results, 1):
        health = observe(health, result == "+", "said so", float(now), rise, fall)
    return health


def test_an_unknown_real_is_down_after_its_first_failure_whatever_fall_says() -> None:
    assert after(unknown(0), "-", fall=3).status is Status.DOWN


def test_an_unknown_real_is_up_after_its_first_pass_whatever_rise_says() -> None:
    assert after(unknown(0), "+", rise=3).status is Status.UP


def test_an_adopted_real_is_up_but_not_judged() -> None:
    assert adopted(0).up
    assert not adopted(0).judged


def test_an_adopted_real_goes_down_only_after_fall_failures() -> None:
    assert after(adopted(0), "--", fall=3).up
    assert after(adopted(0), "---", fall=3).status is Status.DOWN


def test_the_first_result_judges_even_when_it_changes_nothing() -> None:
    assert after(adopted(0), "-", fall=3).judged


def test_failures_count_only_when_they_are_consecutive() -> None:
    assert after(unknown(0), "+--+--", fall=3).up
    assert after(unknown(0), "+--+---", fall=3).status is Status.DOWN


def test_a_down_real_needs_rise_consecutive_passes() -> None:
    assert after(unknown(0), "-+-+", rise=2).status is Status.DOWN
    assert after(unknown(0), "-+-++", rise=2).up


def test_since_is_the_time_of_the_change_and_not_of_the_last_result() -> None:
    assert after(unknown(0), "+++").since_at == 1
    assert after(unknown(0), "++--", fall=2).since_at == 4


def test_a_real_that_goes_on_passing_is_the_same_object() -> None:
    health = after(unknown(0), "+")
    assert observe(health, True, "said so", 9, 1, 1) is health


def test_the_reason_of_a_soft_failure_is_shown() -> None:
    health = observe(after(unknown(0), "+"), False, "refused", 9, 1, 3)
    assert (health.up, health.reason, health.streak) == (True, "refused", 1)


def test_on_and_off_are_judged_without_a_question() -> None:
    assert always(True, 0).up
    assert always(True, 0).judged
    assert always(False, 0).status is Status.DOWN
    assert always(False, 0).judged


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_status_never_flips_faster_than_rise_and_fall(
    results: list[bool], rise: int, fall: int, known: bool
) -> None:
    health = adopted(0) if known else unknown(0)
    streak, last = 0, None
    for now, passed in enumerate(results, 1):
        streak = streak + 1 if passed is last else 1
        last = passed
        new = observe(health, passed, "", float(now), rise, fall)
        if new.status is not health.status and health.status is not Status.UNKNOWN:
            assert streak >= (rise if passed else fall)
            assert new.up is passed
        if streak >= max(rise, fall):
            assert new.up is passed
        health = new
