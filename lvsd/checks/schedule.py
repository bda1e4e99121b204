"""When each check starts. Pure: it is told the time and touches nothing.

Starts lie on a grid per check: planned start + interval, whatever the lateness of the last start,
so intervals do not drift. A check never overlaps itself; one that took longer than its interval
starts again when it ends (the detection time promised for N failures allows no pause there).

The first round is quick, spread over min(interval, 1 s), so that every real is judged soon. The
second follows after a quarter to a whole interval, by check, and not before the end of the first,
which spreads the load from then on. The spread is a hash of the check: the same after every
restart. After a stall longer than the interval everything is overdue at once; then the next round
is spread in the same way.

News of a target (see `watch`) makes its checks start at once, if the last verdict says otherwise:
one that has failed already fails again in its time only, for failures in a row count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from heapq import heappop, heappush

from lvsd.core.model import Check

#: Seconds over which the first round is spread at most.
FIRST_ROUND = 1.0
#: Seconds until a check that could not be asked for a local reason is tried again, at most.
RETRY_DELAY = 0.5


class Entry:
    """One check on the schedule.

    `planned_at` is the start on the grid, `started_at` the true one. `running` from the moment it
    was handed out until `finished` or `retry`. `spread`: the next gap is the check's own. `passed`
    is the last verdict, `news` what was told of the target that it has not answered yet (True: it
    is there), `hastened` the news that the present start answers to.
    """

    __slots__ = (
        "again",
        "check",
        "hastened",
        "news",
        "passed",
        "phase",
        "planned_at",
        "running",
        "serial",
        "spread",
        "started_at",
    )

    def __init__(self, check: Check, phase: float) -> None:
        self.check = check
        self.phase = phase
        self.planned_at = 0.0
        self.started_at = 0.0
        self.serial = 0
        self.running = False
        self.again = False
        self.hastened: bool | None = None
        self.news: bool | None = None
        self.passed: bool | None = None
        self.spread = check.interval > FIRST_ROUND


def phase(check: Check) -> float:
    """A fixed number in [0, 1) for the check, evenly distributed."""
    digest = hashlib.blake2b(repr(check).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / (1 << 64)


class Schedule:
    """All checks in one heap, by the time of their next start."""

    def __init__(self) -> None:
        self._entries: dict[Check, Entry] = {}
        self._heap: list[tuple[float, int, Entry]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Check]:
        return iter(self._entries)

    def __contains__(self, check: Check) -> bool:
        return check in self._entries

    def add(self, check: Check, now: float) -> Entry:
        """Plan the first start of a new check."""
        entry = self._entries[check] = Entry(check, phase(check))
        self._plan(entry, now + entry.phase * min(check.interval, FIRST_ROUND))
        return entry

    def remove(self, check: Check) -> Entry:
        """Forget a check; KeyError when it is not there."""
        entry = self._entries.pop(check)
        entry.serial = -1
        return entry

    def trigger(self, check: Check, now: float) -> None:
        """Start the check now, or once more as soon as the present run ends."""
        entry = self._entries.get(check)
        if entry is None:
            return
        if entry.running:
            entry.again = True
        else:
            entry.spread = True  # or all that were triggered together would stay together
            self._plan(entry, now)

    def hasten(self, check: Check, there: bool, now: float) -> None:
        """News: the target of the check has come back, or is perhaps no longer there."""
        entry = self._entries.get(check)
        if entry is None:
            return
        if entry.running:
            entry.news = there
        elif entry.passed is not there and entry.passed is not None:
            entry.hastened, entry.spread = there, True
            self._plan(entry, now)

    def next_at(self) -> float | None:
        """The time of the next start."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float, limit: int) -> list[Entry]:
        """At most `limit` checks whose time has come, the most overdue first."""
        ready: list[Entry] = []
        while len(ready) < limit:
            self._drop_stale()
            if not self._heap or self._heap[0][0] > now:
                break
            entry = heappop(self._heap)[2]
            entry.running = True
            entry.serial = 0
            entry.started_at = now
            if now - entry.planned_at > entry.check.interval:
                entry.spread = True
            ready.append(entry)
        return ready

    def finished(self, entry: Entry, now: float, passed: bool) -> None:
        """The check was answered: plan the next start."""
        first, entry.passed = entry.passed is None, passed
        entry.hastened = None if entry.news is passed else entry.news
        entry.news = None
        interval = entry.check.interval
        next_at = entry.planned_at + interval
        if entry.spread:
            stalled = entry.started_at - entry.planned_at > interval
            base = entry.started_at if stalled else entry.planned_at
            least = interval / 4
            if first and not stalled:  # later than all of the first round
                least = max(least, FIRST_ROUND)
            next_at = base + least + (interval - least) * entry.phase
        entry.spread = False
        if entry.again or entry.hastened is not None or next_at < now:
            next_at = now
        self._replan(entry, next_at)

    def retry(self, entry: Entry, now: float) -> None:
        """The check could not be asked: plan another start soon, spread by the check's phase."""
        delay = min(entry.check.interval, RETRY_DELAY)
        self._replan(entry, now + delay * (0.5 + 0.5 * entry.phase))

    def put_back(self, entry: Entry) -> None:
        """The check was handed out but not started: it is still due."""
        self._replan(entry, entry.planned_at)

    def _replan(self, entry: Entry, when: float) -> None:
        entry.running = entry.again = False
        if entry.serial >= 0:  # not removed meanwhile
            self._plan(entry, when)

    def _plan(self, entry: Entry, when: float) -> None:
        self._serial += 1
        entry.planned_at = when
        entry.serial = self._serial
        heappush(self._heap, (when, self._serial, entry))

    def _drop_stale(self) -> None:
        heap = self._heap
        while heap and heap[0][1] != heap[0][2].serial:
            heappop(heap)
