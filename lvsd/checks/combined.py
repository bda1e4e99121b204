"""`checktype=N`: a negotiate check, then N connect checks, then a negotiate check again.

A check that fails, whichever it was, is followed by a negotiate check, as in ldirectord: only the
service itself can say that it is well again. The connect checks have a time limit of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lvsd.checks.connect import Connect
from lvsd.checks.probe import Failed, LocalFault, Probe, Question, Run, fault
from lvsd.core.model import Check, CheckKind


class Combined:
    """Asks `negotiate` first; `left` is how many connect checks come before the next one."""

    def __init__(self, check: Check, negotiate: Question) -> None:
        self.left = 0
        self._each = check.connects
        self._negotiate = negotiate
        limit = check.connect_timeout
        self._connect = Connect(replace(check, kind=CheckKind.CONNECT, connects=0, timeout=limit))

    @property
    def check(self) -> Check:
        """That of the question that is due."""
        return self._due.check

    @property
    def _due(self) -> Question:
        return self._connect if self.left else self._negotiate

    def probe(self, run: Run) -> Probe:
        """Whichever of the two is due."""
        return _Turn(self, self._due.probe(run))

    def passed(self) -> None:
        """The probe that was due passed."""
        self.left = self.left - 1 if self.left else self._each


class _Turn:
    """One probe of either kind; tells the question what came of it."""

    def __init__(self, question: Combined, probe: Probe) -> None:
        self._question, self._probe = question, probe

    def start(self) -> str | None:
        return self._seen(self._probe.start)

    def ready(self) -> str | None:
        return self._seen(self._probe.ready)

    def expired(self) -> str:
        self._question.left = 0
        return self._probe.expired()

    def close(self) -> None:
        self._probe.close()

    def _seen(self, move: Callable[[], str | None]) -> str | None:
        try:
            outcome = move()
        except Failed:
            self._question.left = 0
            raise
        except OSError as error:
            if not isinstance(fault(error), LocalFault):
                self._question.left = 0
            raise
        if outcome is not None:
            self._question.passed()
        return outcome
