"""What happened lately: a bounded ring of events, each one encoded as a line of JSON.

Every event gets the next sequence number, from 1. The numbers belong to one life of the director
process, which `run` names: a reader who comes back says which run its last number is of, and gets
everything there is when it was another one. A reader follows with nothing but a number, so that a
slow one costs no memory here; what it did not fetch in time is overwritten, and the gap in the
numbers says so.

`record` may be called from any thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

#: Events kept.
SIZE = 10_000
#: Characters of a value and items of a list kept; the log has the whole.
MAX_TEXT = 500
MAX_ITEMS = 20
#: Keys that say why something happened, in this order.
_REASONS = ("reason", "error", "warning")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One event, as `lvsd events --json` shows it (keys are a contract).

    `seq` counts from 1 within one run of the director process. `at` is a Unix time. `event` is a
    name of docs/events.md, `level` the log's word, `reason` "" where there is none to tell.
    """

    seq: int
    at: float
    event: str
    level: str
    reason: str
    fields: dict[str, Any]


class History:
    """The ring. `run` names this life of the director process."""

    def __init__(self, run: str, size: int = SIZE) -> None:
        self.run = run
        self.closed = False
        self._lines: deque[bytes] = deque(maxlen=size)
        self._last = 0
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._encoder = msgspec.json.Encoder()

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._last

    def record(
        self, level: str, event: str, fields: Mapping[str, Any], at: float | None = None
    ) -> None:
        """Keep one event; `at` is a Unix time, None for now."""
        plain = {key: _plain(value) for key, value in fields.items()}
        reason = next((str(plain.pop(key)) for key in _REASONS if key in plain), "")
        at = time.time() if at is None else at
        with self._lock:
            self._last += 1
            record = Record(
                seq=self._last, at=at, event=event, level=level, reason=reason, fields=plain
            )
            self._lines.append(self._encoder.encode(record))
        self._tell()

    def since(self, seq: int, run: str = "") -> tuple[list[bytes], int]:
        """The lines with numbers beyond `seq`, oldest first, and the number of the last event.

        All lines when `run` is not this one.
        """
        with self._lock:
            if run and run != self.run:
                seq = 0
            wanted = self._last - max(seq, 0)
            lines = [*islice(self._lines, max(len(self._lines) - wanted, 0), None)]
            return lines, self._last

    async def beyond(self, seq: int, timeout: float) -> None:
        """Wait until there is more than `seq`, at most `timeout` seconds, or until the end."""
        try:
            async with asyncio.timeout(timeout):
                while self._last <= seq and not self.closed:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Let everybody who waits go home."""
        self.closed = True
        self._tell()

    def _tell(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)


def _plain(value: Any) -> Any:
    """`value` as short JSON, whatever it is."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 1 << 53:
        return value
    if isinstance(value, list | tuple | set | frozenset):
        items = [_text(item) for item in islice(value, MAX_ITEMS)]
        more = len(value) - len(items)
        return [*items, f"and {more} more"] if more else items
    return _text(value)


def _text(value: Any) -> str:
    text = str(value)[:MAX_TEXT]
    return text.encode("utf-8", "backslashreplace").decode()
