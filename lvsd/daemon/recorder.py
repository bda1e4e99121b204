"""`lvsd run --record FILE`: every input of the core as a JSON line, and its decisions.

The recorder stands between the routers' shell and the core and passes everything through. Lines
go to a thread of their own through a bounded queue: a slow disk costs lines, never an advert. What
was dropped is said in the file, as such a recording ends there for a replay.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence

from lvsd.core import recording
from lvsd.core.model import IPAddress, RouterConfig
from lvsd.core.vrrp import Effects, Event, Key, VirtualRouters

#: Lines that may wait for the disk.
BACKLOG = 4096
#: Seconds to wait for the rest at the end.
CLOSE_TIMEOUT = 2.0

Stepped = tuple[VirtualRouters, Effects]


class Recorder:
    """Steps the core and writes down how. Without a path it only steps."""

    def __init__(self, path: str = "") -> None:
        """Opens the file. Raises OSError."""
        self.dropped = 0
        self._queue: queue.Queue[recording.Entry | None] = queue.Queue(BACKLOG)
        self._thread: threading.Thread | None = None
        if path:
            self._file = open(path, "w", encoding="utf-8", opener=_private)  # noqa: SIM115
            self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
            self._thread.start()

    def configure(
        self,
        core: VirtualRouters,
        configs: Sequence[RouterConfig],
        sources: Mapping[Key, IPAddress | None],
        now: float,
    ) -> Stepped:
        """`core.configure`, recorded."""
        after, effects = core.configure(configs, sources, now)
        if self._thread is not None:
            self._put(recording.configured(tuple(configs), sources, now, effects))
        return after, effects

    def step(self, core: VirtualRouters, key: Key | None, event: Event, now: float) -> Stepped:
        """`core.step`, recorded."""
        after, effects = core.step(key, event, now)
        if self._thread is not None:
            self._put(recording.stepped(key, event, now, effects))
        return after, effects

    def close(self) -> None:
        """Write what waits, for a limited time."""
        if self._thread is None or not self._thread.is_alive():
            return
        try:
            self._queue.put(None, timeout=CLOSE_TIMEOUT)
        except queue.Full:
            return
        self._thread.join(CLOSE_TIMEOUT)
        self._thread = None

    def _put(self, entry: recording.Entry) -> None:
        try:
            if self.dropped:
                self._queue.put_nowait({"dropped": self.dropped})
                self.dropped = 0
            self._queue.put_nowait(entry)
        except queue.Full:
            self.dropped += 1

    def _work(self) -> None:
        """The thread: a line at a time, flushed whenever nothing else waits.

        A full disk ends the recording, and nothing else.
        """
        with contextlib.suppress(OSError), self._file as file:
            while (entry := self._queue.get()) is not None:
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")
                if self._queue.empty():
                    file.flush()


def _private(path: str, flags: int) -> int:
    """Opens a file for its owner only: adverts carry the password of version 2."""
    return os.open(path, flags, 0o600)


def read(path: str) -> Iterator[recording.Entry]:
    """The entries of a recording. Raises OSError, RecordingError."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise recording.RecordingError(f"{path}:{number}: {error}") from error
            yield entry
