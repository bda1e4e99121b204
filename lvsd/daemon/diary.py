"""What happened to main and its routers, for the child, which keeps the events and the log file.

Events of main itself are logged here too. While the child is away (it is told of some of its own
deaths this way) everything is kept, and told with its own time once the
child has a configuration again, and with it the log file.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from lvsd import log
from lvsd.daemon.messages import RouterEvent

#: Events kept for a child that is away; of more, the oldest are lost.
BACKLOG = 1000

_log = log.get(relayed=True)


class Diary:
    """Begins shut; `send` must not wait."""

    def __init__(self, send: Callable[[RouterEvent], None]) -> None:
        self._send = send
        self._open = False
        self._kept: deque[RouterEvent] = deque(maxlen=BACKLOG)
        log.leave_to_child(True)

    def tell(self, level: str, event: str, /, **fields: Any) -> None:
        """Log an event of main and pass it on."""
        getattr(_log, level)(event, **fields)
        self.pass_on(level, event, fields)

    def pass_on(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Tell the child of an event that is in the log already, or that only it wants to know."""
        entry = RouterEvent(event, time.time(), dict(fields), level)
        if self._open:
            self._send(entry)
        else:
            self._kept.append(entry)

    def open(self) -> None:
        """The child is there: tell it what it has missed, and from now on everything at once."""
        self._open = True
        log.leave_to_child(True)
        while self._kept:
            self._send(self._kept.popleft())

    def shut(self) -> None:
        """The child is gone."""
        self._open = False
        log.leave_to_child(False)
