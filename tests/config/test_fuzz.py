"""Mutated files by the thousand. `--inputs N` tries N of them, `--input N` only that one.

`make bench ARGS=fuzz` tries a million.
"""

from __future__ import annotations

import pytest

from tests.config import fuzz
from tests.config.inputs import make

#: Failures printed at most.
STORIES = 3


def test_no_input_breaks_the_reader(pytestconfig: pytest.Config) -> None:
    only = pytestconfig.getoption("--input")
    count = pytestconfig.getoption("--inputs")
    numbers = range(count) if only is None else range(only, only + 1)
    tally = fuzz.Tally()
    for piece in fuzz.run(numbers):
        tally.add(piece)
    if tally.failures:
        words = f"{len(tally.failures)} of {len(numbers)} inputs break the reader"
        pytest.fail("\n\n".join([words, *tally.failures[:STORIES]]), pytrace=False)
    assert tally.tried == len(numbers)
    if only is None:
        assert tally.accepted > len(numbers) / 10, "too few files load to try the normal form"


def test_an_input_is_the_same_each_time() -> None:
    assert [make(n) for n in range(50)] == [make(n) for n in range(50)]


def test_an_input_that_never_ends_and_one_that_raises_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def endless(_text: bytes) -> bool:
        while True:
            pass

    monkeypatch.setattr(fuzz, "LIMIT", 0.1)
    monkeypatch.setattr(fuzz, "judge", endless)
    (told,) = fuzz.attempt(7).failures
    assert told.startswith("input 7: pytest tests/config/test_fuzz.py --input 7\nfirst.conf = b")
    assert "Endless: not finished after 0.1 s of CPU" in told
    monkeypatch.setattr(fuzz, "judge", lambda _text: 1 // 0)
    (told,) = fuzz.attempt(7).failures
    assert "ZeroDivisionError" in told
