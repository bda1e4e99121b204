"""What the checks say, gathered for the director, and what kept them from being asked.

Verdicts are taken together: news at once, and what follows `GATHER` later, for a host that dies is
news of a thousand. One that says the same as the last of its check (a quiet farm's every one) waits
for the next news, or for `PATIENCE`. Faults of this host
(no descriptor, no right to ping) change nobody's health, so they must be told in another way: in
the log once a minute, and as a note in the status while they are fresh.

With `watch=` what the kernel says of a real server's neighbour entry makes its checks ask, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from lvsd import log
from lvsd.checks.engine import Engine, Result
from lvsd.control.status import ChecksStatus
from lvsd.core.happenings import CheckFinished, ChecksFinished
from lvsd.core.model import Check, IPAddress
from lvsd.linux.neighbours import Neighbours

#: Seconds between two takings of news.
GATHER = 0.02
#: Seconds that a pass after a pass waits for company.
PATIENCE = 0.05
#: Seconds between two lines about checks that could not be made; also how long the note stands.
COMPLAINT_INTERVAL = 60.0


class Verdicts:
    """The engine and what came of it. `latency` has the last check's duration in seconds."""

    def __init__(self, feed: Callable[[ChecksFinished], None]) -> None:
        self.latency: dict[Check, float] = {}
        self.engine = Engine(self._checked)
        self._loop = asyncio.get_running_loop()
        self._feed = feed
        self._results: list[CheckFinished] = []
        self._taking: asyncio.TimerHandle | None = None
        self._took_at = float("-inf")
        #: The reasons of the checks that passed last.
        self._passing: dict[Check, str] = {}
        #: The checks of each target address that is watched.
        self._watched: dict[IPAddress, list[Check]] = {}
        self._neighbours: Neighbours | None = None
        self._seen = self._told = 0
        self._hampered_at = self._told_at = float("-inf")

    def follow(self, asked: Iterable[Check], watched: Iterable[Check]) -> None:
        """Ask exactly these, and have watch connections for those `watched`."""
        checks = set(asked)
        self.engine.set_checks(checks, watched)
        self.latency = {c: at for c, at in self.latency.items() if c in checks}
        self._passing = {c: text for c, text in self._passing.items() if c in checks}
        self._watched = {}
        for check in watched:
            self._watched.setdefault(check.address, []).append(check)
        if self._watched and self._neighbours is None:
            self._listen()

    def close(self) -> None:
        """Ask nothing more."""
        self.engine.close()
        if self._taking is not None:
            self._taking.cancel()
        if self._neighbours is not None:
            self._loop.remove_reader(self._neighbours)
            self._neighbours.close()
            self._neighbours = None

    def look(self) -> None:
        """Tell of checks that could not be made since the last look; to be called now and then."""
        now, count = self._loop.time(), self.engine.local_errors
        if count != self._seen:
            self._seen, self._hampered_at = count, now
        if count != self._told and now - self._told_at >= COMPLAINT_INTERVAL:
            number, self._told, self._told_at = count - self._told, count, now
            log.get().error("checks_hampered", count=number, reason=self.engine.local_reason)

    def notes(self) -> list[str]:
        """What the operator must know, for the status."""
        self.look()
        if self._loop.time() - self._hampered_at >= COMPLAINT_INTERVAL:
            return []
        return [f"checks could not be made on this host: {self.engine.local_reason}"]

    def status(self) -> ChecksStatus:
        """The work of checking, for the status."""
        engine = self.engine
        return ChecksStatus(
            asked=engine.asked,
            finished=engine.finished,
            local_errors=engine.local_errors,
            lateness=engine.lateness,
            watching=engine.watching,
        )

    def _listen(self) -> None:
        try:
            self._neighbours = Neighbours()
        except OSError as error:  # checks and watch connections go on without
            log.get().warning("monitor_lost", error=str(error))
            return
        self._loop.add_reader(self._neighbours, self._doubt)

    def _doubt(self) -> None:
        assert self._neighbours is not None
        with contextlib.suppress(OSError):  # what was lost is asked in its turn
            for address in self._neighbours.receive():
                for check in self._watched.get(address, ()):
                    self.engine.hasten(check, there=False)

    def _checked(self, result: Result) -> None:
        if result.passed and self._passing.get(result.check) == result.reason:
            if self._taking is None:
                self._taking = self._loop.call_later(PATIENCE, self._take)
        else:
            self._note(result)
        self._results.append(CheckFinished(result.check, result.passed, result.reason, result.gone))
        self.latency[result.check] = result.latency

    def _note(self, news: Result) -> None:
        """Take this, and all that waits, in the next turn of the loop or soon."""
        if news.passed:
            self._passing[news.check] = news.reason
        else:
            self._passing.pop(news.check, None)
        when = max(self._loop.time(), self._took_at + GATHER)
        if self._taking is not None and self._taking.when() > when:
            self._taking.cancel()
            self._taking = None
        if self._taking is None:
            self._taking = self._loop.call_at(when, self._take)

    def _take(self) -> None:
        self._taking, self._took_at = None, self._loop.time()
        results, self._results = self._results, []
        self._feed(ChecksFinished(tuple(results)))
