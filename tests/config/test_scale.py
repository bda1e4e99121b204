"""Work in proportion to what there is to do, counted in calls, not in seconds.

What is counted is what the interpreter's profiler sees, calls of C functions included; it is the
same in each run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from lvsd.config import Recall, loads, render
from lvsd.core.changes import changes
from lvsd.core.director import Director, checks, desired, step
from lvsd.core.happenings import ConfigLoaded
from lvsd.core.model import Config
from lvsd.core.plan import plan

REALS = 20


def text(services: int, weight: int = 1, reals: int = REALS) -> bytes:
    """A farm; `weight` is that of its last real server."""
    lines = ["quiescent=yes", "checkinterval=5"]
    for number in range(services):
        lines.append(f"virtual=10.1.{number // 250}.{1 + number % 250}:80")
        for real in range(number * reals, (number + 1) * reals):
            place = f"10.{2 + real // 62500}.{real // 250 % 250}.{1 + real % 250}"
            lines.append(f"\treal={place}:80 gate 1")
        lines += ["\tservice=http", '\trequest="/"', '\treceive="up"', "\tscheduler=rr"]
    last = max(i for i, line in enumerate(lines) if line.startswith("\treal="))
    lines[last] = f"{lines[last][:-1]}{weight}"
    return ("\n".join(lines) + "\n").encode()


def load(data: bytes, recall: Recall | None = None) -> Config:
    return loads(data, interfaces=(), node="dir1", recall=recall)


def calls(work: Callable[[], object]) -> int:
    """How many calls the work takes."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def linear(work: Callable[[Config], object]) -> None:
    """Four times the services take at most four times the calls, and a tenth."""
    few, many = load(text(10)), load(text(40))
    for config in (few, many):
        work(config)  # what is done once and for all has been done
    assert calls(lambda: work(many)) <= 4.1 * calls(lambda: work(few))


def test_reading_is_linear() -> None:
    few, many = text(10), text(40)
    load(few)
    assert calls(lambda: load(many)) <= 4.1 * calls(lambda: load(few))


def test_rendering_is_linear() -> None:
    linear(render)


def test_the_whole_way_from_a_configuration_to_steps_is_linear() -> None:
    def work(config: Config) -> None:
        director, _ = step(Director(), ConfigLoaded(config, {}), 0.0)
        assert len(checks(config)) == len(config.virtuals) * REALS
        assert plan({}, desired(director).table, ())

    linear(work)


def reload(services: int, reals: int) -> int:
    """Calls of a reload after one weight has changed, reading apart."""
    recall = Recall()
    old = load(text(services, reals=reals), recall)
    director, _ = step(Director(), ConfigLoaded(old, {}), 0.0)
    new = load(text(services, weight=9, reals=reals), recall)

    def work() -> None:
        assert len(changes(old, new)) == 1
        after, _ = step(director, ConfigLoaded(new, {}), 0.0)
        before, wish = desired(director).table, desired(after).table
        assert not plan(before, wish, ())  # nobody has judged a real server yet

    work()
    return calls(work)


def test_a_reload_does_not_touch_the_real_servers_of_a_service_that_stays() -> None:
    little, much = (reload(110, reals) - reload(10, reals) for reals in (20, 80))
    assert much <= 1.1 * little


def test_reading_again_reads_what_has_changed() -> None:
    recall, edited = Recall(), text(40, weight=9)
    load(text(40), recall)
    assert calls(lambda: load(edited, recall)) < 0.5 * calls(lambda: load(edited))
