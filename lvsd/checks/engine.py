"""The engine: asks every check at its time and reports what came of it.

Three bounded parts on one asyncio loop: the `Schedule` says what starts when, the `Reactor` moves
the probes whose sockets are ready, and one timer serves both the next start and the next deadline.
Starts per tick and runs in flight are capped, so neither a stalled host nor thousands of silent
servers turn into a burst.

Faults of this host (no descriptor, no port) are counted in `local_errors` and asked again soon;
they are never reported, for a pool must not empty through our own shortage. For the same reason a
run whose deadline passed while the loop was stalled gets the lost time back.

An unforeseen exception in a probe ends that run as a local fault and reaches the loop's exception
handler. A regular expression cannot be interrupted: one that backtracks for seconds stalls this
process, which is why VRRP lives in another.
"""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from lvsd.checks import question
from lvsd.checks.probe import Failed, LocalFault, NobodyListens, Probe, Question, fault
from lvsd.checks.reactor import Reactor
from lvsd.checks.schedule import Entry, Schedule
from lvsd.checks.watch import Watches
from lvsd.core.model import Check
from lvsd.core.record import dataclass

#: Starts per tick, and the shortest time between two ticks in seconds, without and with a backlog:
#: what starts together is answered at about the same time, and a turn of the loop serves it all.
STARTS = 32
TICK = 0.02
HURRY = 0.001
#: A deadline honoured later than this was missed by us, not by the server.
STALL = 0.1
#: Runs in flight at most, and descriptors left to everything else in the process.
IN_FLIGHT = 4096
SPARE_DESCRIPTORS = 128


@dataclass(frozen=True, slots=True)
class Result:
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

    __slots__ = ("check", "deadline_at", "engine", "entry", "loop", "probe", "reactor", "started")

    def __init__(self, engine: Engine, entry: Entry, check: Check, now: float) -> None:
        self.engine: Engine | None = engine
        self.entry = entry
        self.check = check
        self.loop = engine.loop
        self.reactor = engine.reactor
        self.started = now
        self.deadline_at = now + check.timeout
        self.probe: Probe | None = None

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
        self._watches = Watches(self.reactor, self.hasten)
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
        self._closed = False
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files == resource.RLIM_INFINITY:
            files = IN_FLIGHT + SPARE_DESCRIPTORS
        self._in_flight = max(16, min(in_flight, files - SPARE_DESCRIPTORS))

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
        self._watches.follow(watched)
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
        """A run ended: free it, plan the next one, report."""
        now = self.loop.time()
        del self._runs[run.entry]
        run.close()
        if isinstance(outcome, LocalFault):
            self.local_errors += 1
            self.local_reason = str(outcome)
            self._schedule.retry(run.entry, now)
            self._arm(now)
            return
        self.finished += 1
        passed = isinstance(outcome, str)
        warned = run.entry.hastened or run.entry.news is False
        gone = warned and isinstance(outcome, NobodyListens)
        self._schedule.finished(run.entry, now, passed)
        self._arm(now)
        self._report(Result(run.entry.check, passed, str(outcome), now, now - run.started, gone))

    def _tick(self) -> None:
        self._timer = None
        pause, due = TICK, deque[Entry]()
        try:
            self._expire()
            now = self.loop.time()
            due.extend(self._schedule.due(now, min(STARTS, self._in_flight - len(self._runs))))
            if len(due) == STARTS:
                pause = HURRY
            while due:
                self._start(due.popleft(), now)
        finally:  # whatever a probe or a report raises, no check is forgotten
            now = self.loop.time()
            for entry in due:
                self._schedule.put_back(entry)
            self._arm(now, pause)

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
                heappush(self._deadlines, (at, serial, run))
            else:
                self.settle(run, Failed(run.probe.expired()))

    def _arm(self, now: float, pause: float = TICK) -> None:
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
        when = max(when, now + pause)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._tick)
