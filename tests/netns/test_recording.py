"""`lvsd run --record`: what a live pair went through replays to the same decisions.

With LVSD_KEEP_RECORDINGS=1 the recordings become the fixtures of `tests/core/test_recording.py`.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lvsd.core.recording import replay
from lvsd.core.vrrp import State, StateChanged
from lvsd.daemon.recorder import read

pytestmark = pytest.mark.netns
FIXTURES = Path(__file__).parents[1] / "fixtures" / "recordings"


def test_the_recordings_of_a_live_pair_replay_to_the_same_decisions(network):
    first, second = network.pair()
    config = network.router()
    # One after the other: on a busy machine the second might else be master for a moment.
    first.start(replace(config, priority=150))
    network.eventually(lambda: first.state() == "master", 30)
    second.start(replace(config, priority=100))
    network.eventually(lambda: second.state() == "backup", 30)
    network.eventually(first.holds)
    assert first.stop() == 0
    network.eventually(second.holds)
    assert second.stop() == 0

    for name, director in (("stop", first), ("takeover", second)):
        path = director.folder / "recording"
        decisions = list(replay(read(str(path))))
        assert [d for d in decisions if d.effects != d.recorded] == []
        told = [e.new for d in decisions for _, e in d.effects if isinstance(e, StateChanged)]
        assert told == [State.BACKUP, State.MASTER, State.INITIALIZE]
        if os.environ.get("LVSD_KEEP_RECORDINGS"):
            FIXTURES.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, FIXTURES / f"{name}.jsonl")
