"""The routers' shell by itself: what one batch of events may hide from it."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Track, TrackKind
from lvsd.core.vrrp import LinkChanged, Shutdown, SourceChanged, State
from lvsd.daemon.routers import Routers
from tests.netns.network import router

pytestmark = pytest.mark.netns

# No such interface exists, so that nothing is bound or sent.
OWNER = router(interface="lvsd-none", priority=255, version=3, advertint=0.1)
SOURCE = SourceChanged(ip_address("192.0.2.1"))


class NoGuard:
    alive = False

    def update(self, wards):
        return True

    def retry(self):
        return True


class Observer:
    """Remembers the states told; `upon` maps a state to what happens when it is."""

    def __init__(self):
        self.told, self.upon = [], {}
        self.changed = asyncio.Event()

    def routers_changed(self):
        self.changed.set()

    def router_event(self, event, fields, *_):
        if event == "router_changed":
            self.told.append(fields["state"])
            self.upon.get(fields["state"], lambda: None)()

    def stepdown_finished(self, key, error):
        pass


@pytest.fixture
async def routers():
    made = Routers(NoGuard(), Observer())
    yield made
    made.close()


def observer(routers):
    return routers._observer


async def test_a_mastership_within_one_batch_leaves_nothing_to_wait_for(routers):
    """An advert or a lost link right behind the deadline: the applier never sees a wish."""
    seen = observer(routers)
    routers.configure([OWNER])
    (key,) = routers.core.routers
    routers.post(key, SOURCE)

    routers._inbox.append((key, LinkChanged(True)))
    routers.post(key, LinkChanged(False))

    assert routers.core.routers[key].state is State.INITIALIZE
    assert not routers.core.routers[key].holding
    assert seen.told[-2:] == ["master", "fault"]
    routers.post(None, Shutdown())
    assert routers.core.stopped()


async def test_the_kernel_is_asked_for_the_vips_before_anybody_is_told(routers, monkeypatch):
    seen, order = observer(routers), []
    wish = routers._applier.wish

    def noted(wishes, now):
        order.extend("asked" for wished in wishes.values() if wished.vips)
        wish(wishes, now)

    monkeypatch.setattr(routers._applier, "wish", noted)
    seen.upon["master"] = lambda: order.append("told")
    routers.configure([OWNER])
    (key,) = routers.core.routers
    routers.post(key, SOURCE)

    routers.post(key, LinkChanged(True))

    assert order[0] == "asked"
    assert "told" in order


async def test_a_router_wanted_back_while_it_stops_learns_what_it_tracks_now(routers):
    seen = observer(routers)
    routers.configure([OWNER])
    (key,) = routers.core.routers
    routers.post(key, SOURCE)
    routers.track(TrackKind.SCRIPT, "disk", True)
    routers.post(key, LinkChanged(True))
    assert routers.core.routers[key].state is State.MASTER

    routers.configure([])  # it serves until relieved, for an interval at most
    assert key in routers.core.routers
    tracks = (Track(TrackKind.INTERFACE, "lvsd-nix"), Track(TrackKind.SCRIPT, "disk"))
    routers.configure([replace(OWNER, tracks=tracks)])
    async with asyncio.timeout(5):
        while routers.core.leaving:
            seen.changed.clear()
            await seen.changed.wait()

    tracked = routers.core.routers[key].tracked
    assert tracked[TrackKind.INTERFACE, "lvsd-nix"] is False
    assert tracked[TrackKind.SCRIPT, "disk"] is True


async def test_a_track_added_by_a_reload_is_told_to_a_router_that_runs(routers):
    routers.configure([OWNER])
    (key,) = routers.core.routers
    track = Track(TrackKind.INTERFACE, "lvsd-nix")

    routers.configure([replace(OWNER, tracks=(track,))])

    assert routers.core.routers[key].tracked[TrackKind.INTERFACE, "lvsd-nix"] is False
