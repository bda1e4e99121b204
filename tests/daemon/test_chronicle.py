"""What a neighbour's adverts make a director say: once a minute, whatever it sends."""

from __future__ import annotations

from typing import Any

import pytest

from lvsd.core.packet import Reason
from lvsd.core.vrrp import (
    AddressListDiffers,
    AdvertReceived,
    AdvertRejected,
    Effect,
    Event,
    VirtualRouter,
)
from lvsd.daemon.chronicle import COMPLAINT_INTERVAL, Chronicle
from tests.core.vrrp_world import HIGH, KEY, LOW, OWN, VIP, VIP2, Bench, advert, backup, master


class Listener:
    """An observer that keeps what it is told, and the clock."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, Any]]] = []
        self.now = 1000.0
        self.chronicle = Chronicle(self, lambda: self.now)

    def routers_changed(self) -> None:
        """Not of interest here."""

    def router_event(self, event: str, fields: dict[str, Any], level: str = "info") -> None:
        self.heard.append((event, level, fields))

    def stepdown_finished(self, key: object, error: str) -> None:
        """Not of interest here."""

    def event(self, event: Event, vr: VirtualRouter) -> None:
        """What the routers tell the chronicle of an event, told on at once."""
        self.chronicle.event(KEY, event, vr)
        self.chronicle.tell()

    def effect(self, effect: Effect, vr: VirtualRouter) -> None:
        """The same of an effect."""
        self.chronicle.effect(KEY, vr, effect)
        self.chronicle.tell()

    def names(self) -> list[str]:
        return [event for event, _, _ in self.heard]


@pytest.fixture
def listener() -> Listener:
    return Listener()


def test_another_interval_is_told_with_both_values(listener: Listener) -> None:
    vr = backup(version=3).vr

    listener.event(advert(200, interval=0.25, version=3), vr)

    ((event, level, fields),) = listener.heard
    assert (event, level) == ("interval_differed", "warning")
    assert (fields["source"], fields["theirs"], fields["ours"]) == (str(HIGH), "0.25 s", "1 s")


@pytest.mark.parametrize(("ours", "theirs", "told"), [(255, 255, 1), (255, 254, 0), (254, 255, 0)])
def test_a_second_owner_is_told_by_the_first(listener: Listener, ours, theirs, told) -> None:
    listener.event(advert(theirs), Bench(priority=ours).vr)

    assert listener.names().count("second_owner_heard") == told


@pytest.mark.parametrize(("source", "told"), [(OWN, 1), (HIGH, 0)])
def test_an_advert_from_the_own_address_is_told(listener: Listener, source, told) -> None:
    listener.event(advert(100, source), master().vr)

    assert listener.names().count("own_address_heard") == told


def test_an_advert_as_it_should_be_is_no_news(listener: Listener) -> None:
    listener.event(advert(200), backup().vr)

    assert listener.heard == []


@pytest.mark.parametrize(
    "news",
    [
        lambda listener, source: listener.event(
            AdvertReceived(source, advert(255, interval=2.0).advert), backup().vr
        ),
        lambda listener, source: listener.event(
            AdvertRejected(Reason.CHECKSUM, str(source)), backup().vr
        ),
        lambda listener, source: listener.effect(
            AddressListDiffers(source, (VIP, VIP2)), backup().vr
        ),
    ],
)
def test_what_repeats_is_told_once_a_minute_whoever_sends_it(listener: Listener, news) -> None:
    for source in (HIGH, LOW, HIGH):
        news(listener, source)
    assert len(listener.heard) == 1

    listener.now += COMPLAINT_INTERVAL
    news(listener, LOW)

    assert len(listener.heard) == 2
