"""`lvsd run --record`: what a live pair went through replays to the same decisions.

With LVSD_KEEP_RECORDINGS=1 the recordings become the fixtures of `tests/core/test_recording.py`.
"""

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lvsd.core.recording import replay
from lvsd.core.vrrp import Announce, LowerPriorityHeard, State, StateChanged
from lvsd.daemon.recorder import read

pytestmark = pytest.mark.netns
FIXTURES = Path(__file__).parents[1] / "fixtures" / "recordings"


def settled(network, **changes):
    first, second = network.pair()
    config = network.router(**changes)
    # One after the other: on a busy machine the second might else be master for a moment.
    first.start(replace(config, priority=150))
    network.eventually(lambda: first.state() == "master")
    second.start(replace(config, priority=100))
    network.eventually(lambda: second.state() == "backup")
    network.eventually(first.holds)
    return first, second


def replayed(name, director):
    """The states of a recording, which replays to what it holds; it is kept if that is asked."""
    path = director.folder / "recording"
    decisions = list(replay(read(str(path))))
    assert [d for d in decisions if d.effects != d.recorded] == []
    if os.environ.get("LVSD_KEEP_RECORDINGS"):
        FIXTURES.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, FIXTURES / f"{name}.jsonl")
    effects = [e for d in decisions for _, e in d.effects]
    return [e.new for e in effects if isinstance(e, StateChanged)], effects


def test_the_recordings_of_a_live_pair_replay_to_the_same_decisions(network):
    first, second = settled(network)
    assert first.stop() == 0
    network.eventually(second.holds)
    assert second.stop() == 0

    for name, director in (("stop", first), ("takeover", second)):
        told, _ = replayed(name, director)
        assert told == [State.BACKUP, State.MASTER, State.INITIALIZE]


def test_the_recording_of_a_pause_replays_to_the_same_decisions(network):
    first, second = settled(network, version=3, advertint=0.5)
    os.kill(first.pid, signal.SIGSTOP)
    network.eventually(lambda: second.state() == "master" and not first.holds())
    os.kill(first.pid, signal.SIGCONT)
    network.eventually(lambda: second.state() == "backup" and first.holds())
    assert first.stop() == 0

    told, effects = replayed("pause", first)
    assert told == [State.BACKUP, State.MASTER, State.BACKUP, State.MASTER, State.INITIALIZE]
    assert any("listening first" in getattr(effect, "reason", "") for effect in effects)


def test_the_recordings_of_a_partition_replay_to_the_same_decisions(network):
    pair = first, second = settled(network, version=3, advertint=0.5)
    network.isolate(*pair, isolated=True)
    network.eventually(lambda: second.state() == "master" and second.holds())
    past_the_handover_at = time.monotonic() + 1.0
    network.eventually(lambda: time.monotonic() > past_the_handover_at)
    network.isolate(*pair, isolated=False)
    network.eventually(lambda: second.state() == "backup" and not second.holds())
    network.eventually(lambda: second.states()[0]["master"] == first.address)
    assert second.stop() == 0
    assert first.stop() == 0

    told, effects = replayed("partition_winner", first)
    assert told == [State.BACKUP, State.MASTER, State.INITIALIZE]
    heard = next(n for n, e in enumerate(effects) if isinstance(e, LowerPriorityHeard))
    assert any(isinstance(e, Announce) for e in effects[heard:])
    told, _ = replayed("partition_loser", second)
    assert told == [State.BACKUP, State.MASTER, State.BACKUP, State.INITIALIZE]
