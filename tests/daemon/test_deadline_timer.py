"""The deadline of the VRRP loop: kept by the kernel, never early, one at a time."""

import select
import time

import pytest

from lvsd.linux.timer import DeadlineTimer

#: Far longer than anything here takes.
LATER = 3600.0


@pytest.fixture
def timer():
    made = DeadlineTimer()
    yield made
    made.close()


def readable(timer, timeout):
    return bool(select.select([timer], [], [], timeout)[0])


def test_it_wakes_at_its_deadline_and_not_before(timer):
    deadlines = [time.monotonic() + 0.0031 * n for n in range(1, 11)]

    for at in deadlines:
        timer.arm(at)
        assert readable(timer, 10)
        assert time.monotonic() >= at
        timer.expired()


def test_a_deadline_in_the_past_is_due_at_once(timer):
    timer.arm(time.monotonic() - 5)
    assert readable(timer, 0)


def test_time_zero_is_a_deadline_and_does_not_stop_it(timer):
    timer.arm(0.0)
    assert readable(timer, 0)


def test_an_earlier_deadline_replaces_a_later_one(timer):
    timer.arm(time.monotonic() + LATER)
    timer.arm(time.monotonic())
    assert readable(timer, 10)


def test_a_stopped_timer_stays_quiet(timer):
    timer.arm(time.monotonic())
    assert readable(timer, 10)
    timer.arm(None)
    assert not readable(timer, 0)


def test_an_expiry_is_told_once_and_the_same_deadline_can_be_set_again(timer):
    at = time.monotonic()
    timer.arm(at)
    assert readable(timer, 10)
    timer.expired()
    assert not readable(timer, 0)

    timer.arm(at)
    assert readable(timer, 0)


def test_a_deadline_set_anew_between_wake_up_and_callback_is_kept(timer):
    timer.arm(time.monotonic())
    assert readable(timer, 10)
    at = time.monotonic() + LATER
    timer.arm(at)

    timer.expired()

    assert timer.at == at
