"""Check types written as coroutines, for protocols that come with an asyncio client.

They run as one task each, under the engine's deadline: when the time is up the task is cancelled
and has to let go of its sockets in `finally` or `async with`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from lvsd.checks.probe import Failed, Probe, Run, seconds
from lvsd.core.model import Check


class Coroutine(ABC):
    """A question asked by a coroutine. Subclasses say `ask`."""

    def __init__(self, check: Check) -> None:
        self.check = check

    @abstractmethod
    async def ask(self) -> str:
        """Ask once. Returns a text when passed; raises Failed, LocalFault or OSError."""

    def late(self) -> str:
        """What is missing when the time is up. Only one run of a question is under way."""
        return "no answer"

    def probe(self, run: Run) -> Probe:
        """One run of the coroutine."""
        return _Task(run, self)


class _Task:
    """The probe of every `Coroutine`."""

    def __init__(self, run: Run, question: Coroutine) -> None:
        self._run = run
        self._question = question
        self._task: asyncio.Task[str] | None = None

    def start(self) -> str | None:
        """Make the task; it runs from the loop's next turn on."""
        self._task = self._run.loop.create_task(self._question.ask())
        self._task.add_done_callback(self._done)
        return None

    def ready(self) -> str | None:
        """What the finished task returned or raised."""
        assert self._task is not None
        if self._task.cancelled():
            raise Failed("check cancelled")
        return self._task.result()

    def expired(self) -> str:
        """What the question knows, and the time."""
        return f"{self._question.late()} within {seconds(self._run.check.timeout)}"

    def close(self) -> None:
        """Cancel the task if it still runs."""
        if self._task is not None and not self._task.done():
            self._task.remove_done_callback(self._done)
            self._task.cancel()

    def _done(self, _task: asyncio.Task[str]) -> None:
        self._run.step()
