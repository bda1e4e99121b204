"""The recorder: it never holds anybody up, and says what it had to leave out."""

from __future__ import annotations

import pytest

from lvsd.core.model import RouterConfig
from lvsd.core.recording import RecordingError, replay
from lvsd.core.vrrp import DeadlineReached, Startup, VirtualRouters
from lvsd.daemon import recorder as module
from lvsd.daemon.recorder import Recorder, read

CONFIG = RouterConfig("VI_1", "eth0", 51, 100, ())


def drive(recorder: Recorder, steps: int = 3) -> None:
    core, _ = recorder.configure(VirtualRouters(), (CONFIG,), {CONFIG.key: None}, 0.0)
    core, _ = recorder.step(core, CONFIG.key, Startup(), 0.0)
    for now in range(1, steps + 1):
        core, _ = recorder.step(core, None, DeadlineReached(), float(now))
    recorder.close()


def test_a_recording_replays_to_the_same_decisions(tmp_path) -> None:
    path = str(tmp_path / "recording")

    drive(Recorder(path))

    decisions = list(replay(read(path)))
    assert len(decisions) == 5
    assert (tmp_path / "recording").stat().st_mode & 0o777 == 0o600
    assert all(d.effects == d.recorded for d in decisions)


def test_without_a_path_nothing_is_kept() -> None:
    recorder = Recorder()

    drive(recorder)

    assert recorder._queue.empty()


def test_a_path_that_cannot_be_opened_is_said_at_once(tmp_path) -> None:
    with pytest.raises(OSError, match="directory"):
        Recorder(str(tmp_path / "nowhere" / "recording"))


def test_a_backlog_costs_lines_and_the_recording_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "BACKLOG", 2)
    monkeypatch.setattr(module.threading.Thread, "start", lambda self: None)  # a disk that stands
    recorder = Recorder(str(tmp_path / "recording"))
    core, _ = recorder.configure(VirtualRouters(), (CONFIG,), {CONFIG.key: None}, 0.0)
    for now in range(5):
        recorder.step(core, None, DeadlineReached(), float(now))

    assert recorder.dropped == 4
    recorder._queue.get_nowait()
    recorder._queue.get_nowait()
    recorder.step(core, None, DeadlineReached(), 9.0)

    assert recorder._queue.get_nowait() == {"dropped": 4}
    assert recorder.dropped == 0
    recorder._file.close()


def test_a_full_disk_ends_the_recording_and_nothing_else() -> None:
    drive(Recorder("/dev/full"), steps=10)


def test_a_line_that_is_no_json_is_named(tmp_path) -> None:
    (tmp_path / "recording").write_text('{"at": 1}\n{"at"')

    with pytest.raises(RecordingError, match=":2:"):
        list(read(str(tmp_path / "recording")))
