"""What keeps packets from the host, against a packet filter that obeys or refuses."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import RouterConfig, Vip
from lvsd.daemon.screen import LOOK_INTERVAL, Screen
from lvsd.linux import KernelError, nftables

ONE, TWO = ip_address("192.0.2.1"), ip_address("2001:db8::1")
OPEN = RouterConfig("VI", "eth0", 51, 100, (Vip(ONE, 32),))
SILENT = replace(OPEN, accept=False)


class Filter:
    """Answers with `refusal`, an error number; remembers what was asked."""

    refusal = 0
    asked: tuple[bytes, ...] = ()

    def send(self, messages):
        type(self).asked = (*self.asked, messages)
        if self.refusal:
            raise KernelError(self.refusal, "nf_tables: no")

    def close(self):
        """Nothing to give back."""


@pytest.fixture
def kernel(monkeypatch):
    made = type("Fresh", (Filter,), {})
    monkeypatch.setattr(nftables, "FilterSocket", made)
    return made


def settle(screen, config, *wished, departing=(), now=0.0):
    screen.fit([config], now)
    screen.cover(wished, now)
    screen.uncover(lambda: departing, now)


def test_without_the_word_or_for_an_owner_nothing_is_asked(kernel):
    for config in (OPEN, replace(SILENT, priority=255)):
        screen = Screen()
        settle(screen, config)
        assert screen.remains() == ()
    assert kernel.asked == ()


def test_an_address_is_covered_before_it_is_bound_and_until_it_is_gone(kernel):
    screen = Screen()
    settle(screen, SILENT)
    assert kernel.asked == (nftables.establishment(),)
    screen.cover([ONE], 0.0)
    assert kernel.asked[1:] == (nftables.elements([ONE], present=True),)
    screen.uncover(lambda: (), 0.0)
    settle(screen, SILENT, ONE)
    settle(screen, SILENT, departing=[ONE])
    assert len(kernel.asked) == 2

    settle(screen, SILENT)

    assert kernel.asked[2:] == (nftables.elements([ONE], present=False),)


def test_a_reload_without_the_word_uncovers_what_stays_bound_and_removes_the_table(kernel):
    screen = Screen()
    settle(screen, SILENT, ONE)

    settle(screen, OPEN)

    assert kernel.asked[-1] == nftables.demolition()
    assert (screen.remains(), screen.deadline()) == ((), None)


def test_a_table_that_is_gone_is_made_again_with_its_addresses(kernel):
    screen = Screen()
    settle(screen, SILENT, ONE, TWO)
    assert screen.deadline() == LOOK_INTERVAL
    kernel.refusal = errno.ENOENT
    screen.fit([SILENT], LOOK_INTERVAL)
    kernel.refusal, kernel.asked = 0, ()

    settle(screen, SILENT, ONE, TWO, now=2 * LOOK_INTERVAL)

    assert kernel.asked[-1] == nftables.elements([ONE, TWO], present=True)
    assert screen.problem == ""


def test_a_refusal_is_shown_and_tried_again_later(kernel):
    kernel.refusal = errno.EOPNOTSUPP
    screen = Screen()
    settle(screen, SILENT, ONE)
    settle(screen, SILENT, ONE, now=1.0)
    assert screen.problem == "nf_tables: no"
    assert len(kernel.asked) == 1

    kernel.refusal = 0
    settle(screen, SILENT, ONE, now=LOOK_INTERVAL)

    assert screen.problem == ""
    assert kernel.asked[-1] == nftables.elements([ONE], present=True)


def test_the_guard_is_given_what_removes_the_table(kernel):
    screen = Screen()
    settle(screen, SILENT, ONE)
    assert screen.remains() == ((nftables.FAMILY, nftables.demolition()),)

    screen.put_away()

    assert kernel.asked[-1] == nftables.demolition()
    assert screen.remains() == ()
