"""What the checks say, gathered for the director, and what kept them from being asked.

Verdicts are taken together: news at once, and what follows `GATHER` later, for a host that dies is
news of a thousand. A pass that the director called quiet (a quiet farm's every one) is not taken at
all; another one that says the same as the last of its check waits for the next news, or for
`PATIENCE`. Faults of this host
(no descriptor, no right to ping) change nobody's health, so they must be told in another way: in
the log once a minute, and as a note in the status while they are fresh.

With `watch=` what the kernel says of a real server's neighbour entry makes its checks ask, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable

from lvsd import log
from lvsd.checks.engine import Result
from lvsd.control.status import ChecksStatus
from lvsd.core.happenings import CheckFinished, ChecksFinished
from lvsd.core.model import Check, IPAddress
from lvsd.daemon.checkers import Checkers
from lvsd.linux.neighbours import Neighbours

#: Seconds between two takings of news.
GATHER = 0.02
#: Seconds that a pass after a pass waits for company.
PATIENCE = 0.05
#: Seconds between two lines about checks that could not be made; also how long the note stands.
COMPLAINT_INTERVAL = 60.0


class Verdicts:
    """All checks and what came of them. `latency` has the last one's duration in seconds.

    `quiet`: whether one more pass of a check for the same reason may be left out, until the check
    fails, says something else, or `follow` is called.
    """

    def __init__(
        self, feed: Callable[[ChecksFinished], None], quiet: Callable[[Check, str], bool]
    ) -> None:
        self.latency: dict[Check, float] = {}
        self.checkers = Checkers(self._checked)
        self._loop = asyncio.get_running_loop()
        self._feed, self._ask_quiet = feed, quiet
        self._asked: set[Check] = set()
        self._results: list[CheckFinished] = []
        self._taking: asyncio.TimerHandle | None = None
        self._took_at = float("-inf")
        #: The reasons of the checks that passed last.
        self._passing: dict[Check, str] = {}
        self._quiet: dict[Check, str] = {}
        #: The checks of each target address that is watched.
        self._watched: dict[IPAddress, list[Check]] = {}
        self._neighbours: Neighbours | None = None
        self._seen = self._told = 0
        self._hampered_at = self._told_at = float("-inf")

    def follow(
        self,
        asked: Iterable[Check],
        watched: Collection[Check],
        workers: int = 0,
        waiting: Iterable[Check] = (),
    ) -> None:
        """Ask exactly these, with so many workers; those `watched` have watch connections.

        What somebody is `waiting` for is asked soon, also where it is asked for others already.
        """
        before, checks = self._asked, set(asked)
        self.checkers.resize(workers)
        self.checkers.set_checks(checks, watched)
        for check in before & checks & {*waiting}:
            self.checkers.trigger(check)
        self._asked = checks
        self.latency = {c: at for c, at in self.latency.items() if c in checks}
        self._passing = {c: text for c, text in self._passing.items() if c in checks}
        self._quiet.clear()
        self._watched = {}
        for check in watched:
            self._watched.setdefault(check.address, []).append(check)
        if self._watched and self._neighbours is None:
            self._listen()

    def close(self) -> None:
        """Ask nothing more."""
        self.checkers.close()
        if self._taking is not None:
            self._taking.cancel()
        if self._neighbours is not None:
            self._loop.remove_reader(self._neighbours)
            self._neighbours.close()
            self._neighbours = None

    def look(self) -> None:
        """Tell of checks that could not be made since the last look; to be called now and then."""
        now, count = self._loop.time(), self.checkers.local_errors
        if count != self._seen:
            self._seen, self._hampered_at = count, now
        if count != self._told and now - self._told_at >= COMPLAINT_INTERVAL:
            number, self._told, self._told_at = count - self._told, count, now
            log.get().error("checks_hampered", count=number, reason=self.checkers.local_reason)

    def notes(self) -> list[str]:
        """What the operator must know, for the status."""
        self.look()
        notes = self.checkers.notes()
        if self._loop.time() - self._hampered_at < COMPLAINT_INTERVAL:
            reason = self.checkers.local_reason
            notes.append(f"checks could not be made on this host: {reason}")
        return notes

    def status(self) -> ChecksStatus:
        """The work of checking, for the status."""
        checkers = self.checkers
        return ChecksStatus(
            asked=checkers.asked,
            finished=checkers.finished,
            local_errors=checkers.local_errors,
            lateness=checkers.lateness,
            watching=checkers.watching,
            checkers=checkers.alive,
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
                    self.checkers.hasten(check, there=False)

    def _checked(self, result: Result) -> None:
        check, passed, reason = result.check, result.passed, result.reason
        self.latency[check] = result.latency
        if passed and self._quiet.get(check) == reason:
            return
        if passed and self._passing.get(check) == reason:
            if self._taking is None:
                self._taking = self._loop.call_later(PATIENCE, self._take)
        else:
            self._note(result)
        self._results.append(CheckFinished(check, passed, reason, result.gone))

    def _note(self, news: Result) -> None:
        """Take this, and all that waits, in the next turn of the loop or soon."""
        if news.passed:
            self._passing[news.check] = news.reason
        else:
            self._passing.pop(news.check, None)
        self._quiet.pop(news.check, None)
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
        for result in results:
            check, reason = result.check, result.reason
            if self._passing.get(check) == reason and self._ask_quiet(check, reason):
                self._quiet[check] = reason
