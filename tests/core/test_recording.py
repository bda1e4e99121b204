"""Recordings: values survive the way through JSON, and a replay decides as the recording says."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.core.model import Track, TrackKind, Vip
from lvsd.core.packet import Reason
from lvsd.core.recording import RecordingError, configured, plain, replay, stepped, typed
from lvsd.core.vrrp import (
    AddressListDiffers,
    AdvertRejected,
    Announce,
    ChecksumReadingDiffers,
    DeadlineReached,
    LinkChanged,
    Reconfigured,
    Shutdown,
    SourceChanged,
    Startup,
    State,
    StateChanged,
    TrackChanged,
    VipsBound,
    VipsLost,
    VipsReleased,
    VirtualRouters,
)

from .vrrp_world import HIGH, KEY, OWN, VIP, advert, config

RECORDINGS = sorted((Path(__file__).parents[1] / "fixtures" / "recordings").glob("*.jsonl"))
RICH = config(
    authpass=b"\x00\xff",
    peers=(HIGH,),
    source=OWN,
    syncdaemon=("eth1", 51),
    tracks=(Track(TrackKind.SCRIPT, "disk", -20),),
    notify=("/etc/lvsd/notify", "a b"),
)


@pytest.mark.parametrize(
    "value",
    [
        None,
        KEY,
        advert(0, interval=0.25),
        AdvertRejected(Reason.CHECKSUM),
        SourceChanged(None),
        SourceChanged(ip_address("fe80::1")),
        TrackChanged(Track(TrackKind.VIRTUAL, "192.0.2.1:80"), False),
        Reconfigured(RICH),
        VipsLost((VIP,)),
        Announce((VIP,), 3),
        StateChanged(State.BACKUP, State.MASTER, "because"),
        AddressListDiffers(HIGH, (VIP, ip_address("192.0.2.7"))),
        LinkChanged(False, exists=False),
        ChecksumReadingDiffers(HIGH, True),
        Vip(VIP, 32, "eth1", "eth1:0", 253),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_survives_the_way_through_json(value) -> None:
    assert typed(json.loads(json.dumps(plain(value)))) == value


def test_an_older_recording_lacks_what_a_later_version_added() -> None:
    written = plain(RICH)
    del written["preemptdelay"]

    assert typed(written) == RICH


def played() -> list[dict]:
    """A start, a mastership and a stop, recorded."""
    routers, now, entries = VirtualRouters(), 0.5, []
    routers, effects = routers.configure([config()], {KEY: OWN}, now)
    entries.append(configured((config(),), {KEY: OWN}, now, effects))
    for now, key, event in (
        (0.5, KEY, LinkChanged(True)),
        (0.5, KEY, Startup()),
        (5.0, None, DeadlineReached()),
        (5.1, KEY, VipsBound()),
        (5.5, KEY, advert(99)),
        (6.0, None, Shutdown()),
        (7.0, None, DeadlineReached()),
        (7.1, KEY, VipsReleased()),
    ):
        routers, effects = routers.step(key, event, now)
        entries.append(stepped(key, event, now, effects))
    return [json.loads(json.dumps(entry)) for entry in entries]


def test_a_replay_decides_as_the_recording_says() -> None:
    decisions = list(replay(played()))

    assert [d.what for d in decisions][:3] == ["configure", "LinkChanged", "Startup"]
    assert all(d.effects == d.recorded for d in decisions)
    assert sum(len(d.effects) for d in decisions) > 8


def test_a_replay_shows_where_it_decides_otherwise() -> None:
    entries = played()
    entries[3]["effects"] = []

    differing = [d for d in replay(entries) if d.effects != d.recorded]

    assert [(d.at, d.what) for d in differing] == [(5.0, "DeadlineReached")]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"at": 1.0, "effects": []},
        {"at": 1.0, "effects": [], "key": None, "event": {"is": "Miracle"}},
        {"at": 1.0, "effects": [], "key": None, "event": {"is": "LinkChanged", "down": 1}},
        {"at": 1.0, "effects": [], "key": None, "event": {"ip": "300.1.1.1"}},
        {"dropped": 3},
    ],
)
def test_what_is_no_entry_ends_the_replay(entry) -> None:
    with pytest.raises(RecordingError):
        list(replay([*played(), entry]))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_of_a_live_director_still_gives_the_same_decisions(path: Path) -> None:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    decisions = list(replay(entries))

    assert [d for d in decisions if d.effects != d.recorded] == []
    changes = [e for d in decisions for _, e in d.effects if isinstance(e, StateChanged)]
    assert any(change.new is State.MASTER for change in changes)


def test_there_are_recordings() -> None:
    assert RECORDINGS
