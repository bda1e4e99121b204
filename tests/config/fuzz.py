"""Tries the reader of configurations with thousands of inputs, on all processors.

Whatever bytes it is given end in a Config or in a ConfigError, and soon; and the normal form of a
Config loads back to an equal one. No input reaches the network or a file: names are those of
`LocalResolver`, an include= finds the input's own two files only.
"""

from __future__ import annotations

import contextlib
import fnmatch
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from types import FrameType, SimpleNamespace
from unittest import mock

from lvsd.config import ConfigError, loads, render
from lvsd.core.model import Config
from tests.config.conftest import LocalResolver
from tests.config.inputs import SECOND, make

FIRST = "first.conf"
#: CPU seconds that one input may take: hundreds of times what the worst good one needs.
LIMIT = 20.0
#: Inputs per task of a worker.
CHUNK = 500


class Endless(BaseException):
    """An input took longer than LIMIT. No `except` of the reader's catches it."""


@dataclass
class Tally:
    """What came of inputs. `slowest` is CPU seconds and the input's number."""

    accepted: int = 0
    refused: int = 0
    slowest: tuple[float, int] = (0.0, 0)
    failures: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many there were."""
        return self.accepted + self.refused + len(self.failures)

    def add(self, other: Tally) -> None:
        """Count another's as well."""
        self.accepted += other.accepted
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest)
        self.failures += other.failures


def judge(text: bytes) -> bool:
    """Whether the file is accepted. AssertionError and whatever flies: a promise is broken."""
    try:
        config = _read(text)
    except ConfigError as problem:
        _judge_words(problem)
        return False
    normal = render(config)
    again = _read(normal.encode())
    assert again == config, f"its normal form is another configuration:\n{normal}"
    assert render(again) == normal, f"its normal form is none:\n{normal}"
    return True


def _judge_words(problem: ConfigError) -> None:
    assert problem.errors
    for told in (*problem.errors, *problem.warnings):
        assert told.line >= 1, told
        assert told.column >= 1, told
        assert told.text, told
        assert told.text.isprintable(), told


def _read(text: bytes) -> Config:
    interfaces = ("lo", "eth0", "eth1")
    return loads(text, FIRST, node="dir1", resolver=LocalResolver(), interfaces=interfaces)


@contextlib.contextmanager
def _only(files: dict[str, bytes]) -> Iterator[None]:
    """The reader finds these files and no others."""

    def regular(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, os.strerror(2), path)
        return files[path]

    glob = SimpleNamespace(glob=lambda pattern: fnmatch.filter(files, pattern))
    with mock.patch.multiple("lvsd.config.document", _regular=regular, glob=glob):
        yield


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise Endless(f"not finished after {LIMIT:g} s of CPU")


def attempt(number: int) -> Tally:
    """Try one input."""
    first, second = make(number)
    before = signal.signal(signal.SIGVTALRM, _too_long)
    began = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    tally = Tally()
    try:
        with _only({FIRST: first, SECOND: second}):
            tally.accepted = int(judge(first))
        tally.refused = 1 - tally.accepted
    except (Exception, Endless):
        tally.failures.append(story(number, first, second, traceback.format_exc(-8)))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    tally.slowest = (time.process_time() - began, number)
    return tally


def story(number: int, first: bytes, second: bytes, what: str) -> str:
    """All that is needed to see a failure again."""
    files = f"{FIRST} = {first!r}\n" + f"{SECOND} = {second!r}\n" * bool(second)
    return f"input {number}: pytest tests/config/test_fuzz.py --input {number}\n{files}{what}"


def _attempts(numbers: range) -> Tally:
    tally = Tally()
    for number in numbers:
        tally.add(attempt(number))
    return tally


def run(numbers: range) -> Iterator[Tally]:
    """Try many; what came of them, piece by piece."""
    chunks = [numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK)]
    workers = max(1, min(len(chunks), os.cpu_count() or 1))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_attempts, chunks)
