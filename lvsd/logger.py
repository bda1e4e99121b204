"""The logger callers hold: structlog's, which is loaded with the first line that is logged.

It is a tenth of all that the main process loads, and a daemon says nothing until it has started.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

Event = MutableMapping[str, Any]
#: Writes one event: its level, and its fields with `event` and `exception` among them.
Emit = Callable[[str, Event], None]


class Logger(Protocol):
    """What callers use: an event name of `EVENTS`, everything else as keys."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...
    def critical(self, event: str, **fields: Any) -> Any: ...
    def bind(self, **fields: Any) -> Any: ...


class Late:
    """A logger with `fields` bound, whose lines go to `emit`. There is one `emit` in a process."""

    def __init__(self, emit: Emit, fields: Mapping[str, Any]) -> None:
        self._emit, self._fields = emit, fields

    def __getattr__(self, name: str) -> Any:
        return getattr(_load(self._emit).get_logger(**self._fields), name)


@functools.cache
def _load(emit: Emit) -> Any:
    import structlog

    def last(logger: Any, method: str, event: Event) -> Any:
        """The last processor: writes, and tells structlog that nothing is left to do."""
        emit(method, event)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.processors.format_exc_info, last],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=False,
    )
    return structlog
