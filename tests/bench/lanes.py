"""The same measurement in several lanes at a time, in step.

A lane is a process with networks of its own. Before each step the lanes wait for one another and
then begin one after the other, so that no lane starts a program while another one measures, and
no two takeovers fall together. A lane that fails says why and keeps step until the end.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier

#: Seconds a lane waits for the others.
PATIENCE = 300.0

_FORK = multiprocessing.get_context("fork")


class Lane:
    """One lane's side: `say` gives results to the bench, `step` and `idle` keep step."""

    def __init__(self, number: int, stagger: float, barrier: Barrier, bench: Connection) -> None:
        self.number = number
        self._delay = number * stagger
        self._barrier = barrier
        self._bench = bench

    def step(self, does: Callable[[], None]) -> None:
        """Do something when every lane is ready for it."""
        self._barrier.wait(PATIENCE)
        time.sleep(self._delay)
        does()

    def idle(self) -> None:
        """Let the others take a step."""
        self._barrier.wait(PATIENCE)

    def say(self, result: object) -> None:
        """Anything that can be pickled."""
        self._bench.send(result)

    def live(self, work: Callable[[Lane], None]) -> int:
        """Do all the work; the exit status. Without this lane the others need not go on."""
        try:
            work(self)
        except BaseException:
            self._barrier.abort()
            traceback.print_exc()
            sys.stderr.flush()
            return 1
        return 0


def run(count: int, stagger: float, work: Callable[[Lane], None]) -> Iterator[object]:
    """What the lanes say, as they say it. RuntimeError when one of them fails.

    They begin a step `stagger` seconds after one another.
    """
    barrier = _FORK.Barrier(count)
    processes, ears = [], []
    for number in range(count):
        ear, mouth = _FORK.Pipe(duplex=False)
        lane = Lane(number, stagger, barrier, mouth)
        process = _FORK.Process(target=lambda lane=lane: os._exit(lane.live(work)))
        process.start()
        mouth.close()
        processes.append(process)
        ears.append(ear)
    try:
        yield from _listen(ears)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a lane of the bench failed")


def _listen(ears: list[Connection]) -> Iterator[object]:
    """Until every lane has hung up."""
    while ears:
        for ear in wait(ears):
            assert isinstance(ear, Connection)
            try:
                yield ear.recv()
            except EOFError:
                ears.remove(ear)
