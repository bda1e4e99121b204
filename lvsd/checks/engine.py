"""The engine: asks every check at its time and reports what came of it.

Three bounded parts on one asyncio loop: the `Schedule` says what starts when, the `Reactor` moves
the probes whose sockets are ready, and one timer serves both the next start and the next deadline.
Starts per tick and runs in flight are capped, so neither a stalled host nor thousands of silent
servers turn into a burst.

Faults of this host (no descriptor, no port) are counted in `local_errors` and asked again soon;
they are never reported, for a pool must not empty through our own shortage. For the same reason a
run whose deadline passed while the loop was stalled gets the lost time back, and while more answers
have arrived than were read, next to nothing starts (which `lateness` shows) and nobody is silent.

An unforeseen exception in a probe ends that run as a local fault and reaches the loop's exception
handler.
"""

from __future__ import annotations

import asyncio
import math
import resource
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import NamedTuple

from lvsd.checks import question
from lvsd.checks.probe import Failed, LocalFault, NobodyListens, Probe, Question, fault
from lvsd.checks.reactor import Reactor
from lvsd.checks.schedule import Entry, Schedule
from lvsd.checks.watch import Watches
from lvsd.core.model import Check

#: Starts per tick, and the shortest time between two ticks in seconds, without and with a backlog:
#: what starts together is answered at about the same time, and a turn of the loop serves it all.
#: A turn that finds the processor's caches cold costs several times as much as its checks do, so
#: a start may be that little late: until STARTS have gathered, or TICK has passed.
STARTS = 64
TICK = 0.05
HURRY = 0.001
#: A deadline honoured later than this was missed by us, not by the server.
STALL = 0.1
#: Runs in flight at most, and descriptors left to everything else in the process.
IN_FLIGHT = 16384
SPARE_DESCRIPTORS = 128


class Result(NamedTuple):
    """The verdict on one run. `at` is the loop's time, `latency` seconds since the start.

    `gone`: after news that the target may be gone, the connection was refused.
    """

    check: Check
    passed: bool
    reason: str
    at: float
    latency: float
    gone: bool = False


class _Run:
    """One probe under way; the `Run` its probe sees."""

    __slots__ = (
        "check",
        "deadline_at",
        "engine",
        "entry",
        "loop",
        "lost_before",
        "probe",
        "reactor",
        "started",
    )

    def __init__(self, engine: Engine, entry: Entry, check: Check, now: float) -> None:
        self.engine: Engine | None = engine
        self.entry = entry
        self.check = check
        self.loop = engine.loop
        self.reactor = engine.reactor
        self.started = now
        self.deadline_at = now + check.timeout
        self.lost_before = self.reactor.lost
        self.probe: Probe | None = None

    @property
    def patient_until(self) -> float:
        """The deadline without what it may have waited behind others here: twice the time at most.

        A request that could be sent only late is answered late.
        """
        lost = self.reactor.lost - self.lost_before
        return self.deadline_at + min(lost, self.check.timeout)

    def begin(self, asked: Question) -> None:
        """Make the probe and start it."""

        def start() -> str | None:
            self.probe = asked.probe(self)
            return self.probe.start()

        self._move(start)

    def step(self, mask: int = 0) -> None:
        """Move the probe on; harmless after the end."""
        if self.probe is not None:
            self._move(self.probe.ready)

    def _move(self, move: Callable[[], str | None]) -> None:
        outcome: str | Failed | LocalFault | None = LocalFault("internal error")
        try:
            outcome = move()
        except (Failed, LocalFault) as failure:
            outcome = failure
        except OSError as error:
            outcome = fault(error)
        finally:
            if outcome is not None and self.engine is not None:
                self.engine.settle(self, outcome)

    def close(self) -> None:
        """Free the probe and part from the engine (no reference cycle is left behind)."""
        if self.probe is not None:
            self.probe.close()
        self.probe = self.engine = None


class Engine:
    """All checks of a configuration. Needs a running loop; `close()` frees everything.

    `report` is called on the loop for every verdict; it may change the checks or close the engine,
    and what it raises goes to the loop's exception handler. `started` and `finished` count runs,
    `local_errors` those that could not be asked, `local_reason` says why the last of them.
    `lateness` is a decaying peak: seconds between planned and true start.
    """

    def __init__(self, report: Callable[[Result], None], *, in_flight: int = IN_FLIGHT) -> None:
        self.loop = asyncio.get_running_loop()
        self.reactor = Reactor(self.loop)
        self.started = 0
        self.finished = 0
        self.local_errors = 0
        self.local_reason = ""
        self.lateness = 0.0
        self._report = report
        self._schedule = Schedule()
        self._questions: dict[Entry, Question | LocalFault] = {}
        self._runs: dict[Entry, _Run] = {}
        self._deadlines: list[tuple[float, int, _Run]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._pause = TICK
        self._limit = STARTS
        self._closed = False
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files == resource.RLIM_INFINITY:
            files = 2 * IN_FLIGHT + SPARE_DESCRIPTORS
        self._files = files - SPARE_DESCRIPTORS
        self._watches = Watches(self.reactor, self.hasten, self._files // 2)
        self._in_flight = self._most_in_flight = in_flight

    def set_checks(self, checks: Iterable[Check], watched: Iterable[Check] = ()) -> None:
        """Ask these from now on. Those asked already keep their schedule and their run.

        The targets of those `watched` get a watch connection as well.
        """
        wanted = set(checks)
        now = self.loop.time()
        for check in [c for c in self._schedule if c not in wanted]:
            entry = self._schedule.remove(check)
            del self._questions[entry]
            if entry in self._runs:
                self._runs.pop(entry).close()
        for check in wanted:
            if check not in self._schedule:
                asked = question(check)
                self._questions[self._schedule.add(check, now)] = asked
        rate = sum(1 / check.interval for check in wanted)
        self._pause = min(TICK, STARTS / rate) if rate else TICK
        self._watches.follow(watched)
        self._in_flight = max(16, min(self._most_in_flight, self._files - len(self._watches)))
        self._arm(now)

    def trigger(self, check: Check) -> None:
        """Ask now; when the check is being asked already, once more right after. Unknown: no-op."""
        self._schedule.trigger(check, self.loop.time())
        self._arm(self.loop.time())

    def hasten(self, check: Check, there: bool) -> None:
        """Ask now if the last verdict was that the target is not (or is) `there`."""
        self._schedule.hasten(check, there, self.loop.time())
        self._arm(self.loop.time(), 0.0)

    @property
    def asked(self) -> int:
        """How many checks there are."""
        return len(self._schedule)

    @property
    def watching(self) -> int:
        """How many watch connections stand."""
        return self._watches.standing

    @property
    def unwatched(self) -> int:
        """How many targets have no watch connection, because descriptors are few."""
        return self._watches.left_out

    def close(self) -> None:
        """Stop, report nothing more, and close every socket. May be called twice."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for run in list(self._runs.values()):
            run.close()
        self._runs.clear()
        self._questions.clear()
        self._deadlines.clear()
        self._schedule = Schedule()
        self._watches.close()
        self.reactor.close()

    def settle(self, run: _Run, outcome: str | Failed | LocalFault) -> None:
        """A run ended: plan the next one (first, lest it be forgotten), free this one, report."""
        now, entry = self.loop.time(), run.entry
        full = len(self._runs) >= self._in_flight
        del self._runs[entry]
        if isinstance(outcome, LocalFault):
            self.local_errors += 1
            self.local_reason = str(outcome)
            self._schedule.retry(entry, now)
            self._arm(now)
            run.close()
            return
        self.finished += 1
        passed = isinstance(outcome, str)
        warned = entry.hastened is False or entry.news is False
        gone = warned and isinstance(outcome, NobodyListens)
        self._schedule.finished(entry, now, passed)
        if full or entry.planned_at < self._timer_at:  # else the timer is early enough
            self._arm(now)
        run.close()
        self._report(Result(entry.check, passed, str(outcome), now, now - run.started, gone))

    def _tick(self) -> None:
        self._timer, self._timer_at = None, math.inf
        pause, due = self._pause, deque[Entry]()
        try:
            self._expire()
            limit = self._most_starts()
            now = self.loop.time()
            due.extend(self._schedule.due(now, min(limit, self._in_flight - len(self._runs))))
            if len(due) == limit:
                pause = HURRY
            while due:
                self._start(due.popleft(), now)
            self.reactor.serve()  # a near server has answered already
        finally:  # whatever a probe or a report raises, no check is forgotten
            now = self.loop.time()
            for entry in due:
                self._schedule.put_back(entry)
            self._arm(now, HURRY if due else pause)

    def _most_starts(self) -> int:
        """While answers lie unread hardly any, then twice as many each time: rather late than
        taken for silent."""
        if self.reactor.behind:
            self.reactor.serve()
        self._limit = 1 if self.reactor.behind else min(2 * self._limit, STARTS)
        return self._limit

    def _start(self, entry: Entry, now: float) -> None:
        if self._closed or entry not in self._questions:  # removed by a report of this very tick
            return
        asked = self._questions[entry]
        check = entry.check if isinstance(asked, LocalFault) else asked.check
        run = self._runs[entry] = _Run(self, entry, check, now)
        if isinstance(asked, LocalFault):
            self.settle(run, asked)
            return
        self.started += 1
        self.lateness = max(now - entry.planned_at, self.lateness * 0.99)
        heappush(self._deadlines, (run.deadline_at, self.started, run))
        run.begin(asked)

    def _expire(self) -> None:
        """End the runs whose time is up, after a last look at what has arrived for them."""
        if not self._deadlines or self._deadlines[0][0] > self.loop.time():
            return
        self.reactor.serve()
        now = self.loop.time()
        while self._deadlines and self._deadlines[0][0] <= now:
            at, serial, run = heappop(self._deadlines)
            if run.probe is None:
                continue
            if at == run.deadline_at and now - at > STALL:  # once per run
                at = now + min(now - at, run.check.timeout)
            elif run.patient_until > now:
                at = run.patient_until
            else:
                self.settle(run, Failed(run.probe.expired()))
                continue
            heappush(self._deadlines, (at, serial, run))

    def _arm(self, now: float, pause: float | None = None) -> None:
        """Set the timer for the next start (if there is room for one) or the next deadline."""
        if self._closed:
            return
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].probe is None:
            heappop(deadlines)
        when = deadlines[0][0] if deadlines else None
        if len(self._runs) < self._in_flight:
            start = self._schedule.next_at()
            if start is not None and (when is None or start < when):
                when = start
        if when is None:
            return
        when = max(when, now + (self._pause if pause is None else pause))
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer, self._timer_at = self.loop.call_at(when, self._tick), when
