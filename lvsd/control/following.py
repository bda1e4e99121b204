"""The endless answer of `GET /v1/events?follow=1`: a line of JSON per event, as it happens.

A follower costs a number and what one connection may hold unsent. One that does not read for
`STALL_LIMIT` is dropped, with a line in the log; it may come back and go on where it was. An empty
line is sent now and then, so that both sides notice when the other is gone.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from lvsd import log
from lvsd.control.history import History

#: Names the life of the director process to which the numbers belong.
RUN_HEADER = "Lvsd-Run"
#: Followers at a time; further ones are refused, so that other requests find a place.
MAX_FOLLOWERS = 16
#: Seconds between two lines, at most.
BEAT = 5.0
#: Seconds a follower may leave its connection full.
STALL_LIMIT = 10.0
#: Events written before others get their turn.
_AT_ONCE = 200


class TooMany(Exception):
    """There are followers enough."""


class Followers:
    """Everybody who follows the history at the moment."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._number = 0

    async def follow(self, request: web.BaseRequest, since: int, run: str) -> web.StreamResponse:
        """Write what is beyond `since`, then what comes, until one side ends. Raises TooMany."""
        if self._number >= MAX_FOLLOWERS:
            raise TooMany(f"there are {MAX_FOLLOWERS} followers already; try again later")
        answer = web.StreamResponse(headers={RUN_HEADER: self._history.run})
        answer.content_type = "application/x-ndjson"
        answer.enable_chunked_encoding()
        self._number += 1
        try:
            await answer.prepare(request)
            await self._write_all(answer, since, run)
            await answer.write_eof()
        except TimeoutError:
            log.get().warning("follower_dropped", reason=f"it read nothing for {STALL_LIMIT:g} s")
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # it went away
        finally:
            self._number -= 1
        return answer

    async def _write_all(self, answer: web.StreamResponse, since: int, run: str) -> None:
        while True:
            lines, since = self._history.since(since, run)
            run = self._history.run
            for first in range(0, len(lines), _AT_ONCE):
                part = lines[first : first + _AT_ONCE]
                await self._write(answer, b"".join(line + b"\n" for line in part))
            if self._history.closed:
                return
            await self._history.beyond(since, BEAT)
            if self._history.last <= since and not self._history.closed:
                await self._write(answer, b"\n")

    async def _write(self, answer: web.StreamResponse, text: bytes) -> None:
        async with asyncio.timeout(STALL_LIMIT):
            await answer.write(text)
