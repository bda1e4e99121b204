"""The checks of a director, here and in worker processes (`checkers=`).

A worker asks the checks of certain targets: those of one target are together, so that its watch
connection is with them. What needs privileges, files or programs is asked in the director itself,
as is everything while there are no workers.

What a worker that is away would have asked is not asked meanwhile, which changes nobody's health.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Protocol

from lvsd.checks.engine import Engine
from lvsd.core.model import Check, CheckKind
from lvsd.daemon.checking import Work
from lvsd.daemon.checkworker import Report, Worker

#: Kinds that the director asks itself: with raw sockets, programs or libraries of their own.
HERE = frozenset(
    {
        CheckKind.PING,
        CheckKind.EXTERNAL,
        CheckKind.EXTERNAL_PERL,
        CheckKind.MYSQL,
        CheckKind.PGSQL,
        CheckKind.ORACLE,
    }
)


class Asker(Protocol):
    """Who asks checks: the engine, and workers."""

    @property
    def finished(self) -> int:
        """How many runs have come to a verdict."""

    @property
    def local_errors(self) -> int:
        """How many runs could not be made for want of something here."""

    @property
    def local_reason(self) -> str:
        """Why the last of them could not."""

    @property
    def lateness(self) -> float:
        """By how many seconds checks have lately started late at most."""

    @property
    def asked(self) -> int:
        """How many checks there are."""

    @property
    def watching(self) -> int:
        """How many watch connections stand."""

    @property
    def unwatched(self) -> int:
        """How many targets have none for want of descriptors."""

    def set_checks(self, checks: Iterable[Check], watched: Iterable[Check] = ()) -> None:
        """Ask these from now on."""

    def hasten(self, check: Check, there: bool) -> None:
        """Ask now if the last verdict was that the target is not (or is) `there`."""

    def trigger(self, check: Check) -> None:
        """Ask now."""

    def close(self) -> None:
        """Ask nothing more."""


class Checkers:
    """All checks. `report` gets every verdict; the figures are those of all together."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._here: Asker = Engine(report)
        self._workers: list[Worker] = []
        #: What workers that are no more have done.
        self._done = Work()

    def resize(self, number: int) -> None:
        """So many workers; `set_checks` must follow."""
        while len(self._workers) > number:
            worker = self._workers.pop()
            worker.close()
            self._done = worker.work.after(self._done)
        while len(self._workers) < number:
            self._workers.append(Worker(len(self._workers) + 1, self._report))

    def set_checks(self, checks: Iterable[Check], watched: Iterable[Check] = ()) -> None:
        """Ask these from now on. Those asked already in the same place go on as they were."""
        asked, seen = self._parted(checks), self._parted(watched)
        for asker, wanted, observed in zip(self._askers(), asked, seen, strict=True):
            asker.set_checks(wanted, observed)

    def hasten(self, check: Check, there: bool) -> None:
        """Ask now if the last verdict was that the target is not (or is) `there`."""
        self._askers()[self._place(check)].hasten(check, there)

    def trigger(self, check: Check) -> None:
        """Ask now."""
        self._askers()[self._place(check)].trigger(check)

    def close(self) -> None:
        """Ask nothing more; the workers end."""
        self._here.close()
        self.resize(0)

    @property
    def asked(self) -> int:
        """How many checks there are."""
        return sum(asker.asked for asker in self._askers())

    @property
    def finished(self) -> int:
        """How many runs have come to a verdict."""
        return self._done.finished + sum(asker.finished for asker in self._askers())

    @property
    def local_errors(self) -> int:
        """How many runs could not be made for want of something here."""
        return self._done.local_errors + sum(asker.local_errors for asker in self._askers())

    @property
    def local_reason(self) -> str:
        """Why one of them could not."""
        return next((a.local_reason for a in self._askers() if a.local_reason), "")

    @property
    def lateness(self) -> float:
        """The worst of all."""
        return max(asker.lateness for asker in self._askers())

    @property
    def watching(self) -> int:
        """How many watch connections stand."""
        return sum(asker.watching for asker in self._askers())

    @property
    def alive(self) -> int:
        """How many workers run."""
        return sum(worker.alive for worker in self._workers)

    def notes(self) -> list[str]:
        """What the operator must know."""
        count = len(self._workers)
        notes = [
            f"check worker {worker.place} of {count} {worker.lost}: it is being started again"
            for worker in self._workers
            if worker.lost
        ]
        notes += [
            f"check worker {worker.place} of {count} has said nothing for {worker.silent} s"
            for worker in self._workers
            if worker.silent
        ]
        if left_out := sum(asker.unwatched for asker in self._askers()):
            why = "open files are limited (LimitNOFILE=, ulimit -Hn)"
            notes.append(f"{left_out} real servers have no watch connection: {why}")
        return notes

    def _askers(self) -> list[Asker]:
        return [self._here, *self._workers]

    def _parted(self, checks: Iterable[Check]) -> list[set[Check]]:
        parts: list[set[Check]] = [set() for _ in self._askers()]
        for check in checks:
            parts[self._place(check)].add(check)
        return parts

    def _place(self, check: Check) -> int:
        """Whose check it is: the same for all of a target, and after every restart."""
        if not self._workers or check.kind in HERE or check.cafile:
            return 0
        target = f"{check.address} {check.port}".encode()
        return 1 + zlib.crc32(target) % len(self._workers)
