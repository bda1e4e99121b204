"""Reading again with what the last reading left: the same Config, Virtuals the same objects."""

from __future__ import annotations

import random

import pytest

from lvsd.config import ConfigError, Recall, loads
from lvsd.core.model import Config
from tests.config.conftest import LocalResolver

GLOBALS = "checkinterval=5\nquiescent=yes\n"
PATH = "t.conf"


def block(number: int, *lines: str) -> str:
    head = f"virtual=192.0.2.{number}:80\n\treal=198.51.100.1:80 gate\n"
    return head + "".join(f"\t{line}\n" for line in lines)


def load(text: str, recall: Recall | None = None, node: str = "dir1") -> Config:
    return loads(
        *(text.encode(), PATH),
        node=node,
        resolver=LocalResolver(),
        interfaces=("eth0",),
        recall=recall,
    )


def test_blocks_of_the_same_words_become_the_same_objects() -> None:
    recall = Recall()
    first = load(GLOBALS + block(1) + block(2) + block(3), recall)
    text = f"# moved\n{GLOBALS}{block(3)}{block(2, 'rise=2')}{block(1)}"
    second = load(text, recall)
    assert second == load(text)
    assert second.virtuals[0] is first.virtuals[2]
    assert second.virtuals[1] != first.virtuals[1]
    assert second.virtuals[2] is first.virtuals[0]


@pytest.mark.parametrize(
    ("text", "node"),
    [
        (f"checkinterval=7\nquiescent=yes\n{block(1)}", "dir1"),
        (f"checktimeout=3\n{GLOBALS}{block(1)}", "dir1"),
        (f"fallback=198.51.100.9:80\n{GLOBALS}{block(1)}", "dir1"),
        (f"{GLOBALS}{block(1)}", "dir2"),
    ],
)
def test_other_globals_or_another_node_and_all_is_read_anew(text: str, node: str) -> None:
    recall = Recall()
    first = load(GLOBALS + block(1), recall)
    second = load(text, recall, node)
    assert second == load(text, node=node)
    assert second.virtuals[0] is not first.virtuals[0]


def test_actions_of_the_globals_reach_a_block_that_is_not_read_again() -> None:
    recall = Recall()
    load(GLOBALS + block(1), recall)
    text = f"{GLOBALS}emailalert=ops@example.org\n{block(1)}"
    assert load(text, recall).virtuals[0].actions.alert is not None


def test_warnings_are_told_again_at_their_new_places() -> None:
    recall = Recall()
    text = GLOBALS + block(1, "service=simpletcp", "httpmethod=HEAD")
    assert "t.conf:6:13" in "".join(load(text, recall).warnings)
    assert "t.conf:7:13" in "".join(load("\n" + text, recall).warnings)


def test_names_are_looked_up_again() -> None:
    recall, asked = Recall(), LocalResolver()
    text = GLOBALS + "virtual=192.0.2.1:80\n\treal=localhost:80 gate\n"
    first = load(text, recall)
    second = loads(text.encode(), PATH, resolver=asked, interfaces=(), recall=recall, node="dir1")
    assert second == first
    assert asked.asked == 1
    assert second.virtuals[0] is not first.virtuals[0]


def test_files_are_looked_at_again() -> None:
    recall = Recall()
    text = GLOBALS + block(1, "checktype=external", "checkcommand=/bin/true")
    first = load(text, recall)
    assert load(text, recall).virtuals[0] is not first.virtuals[0]


def test_a_block_is_told_of_twice_whether_it_is_known_or_not() -> None:
    recall = Recall()
    load(GLOBALS + block(1), recall)
    with pytest.raises(ConfigError, match="was defined on line 3 already"):
        load(GLOBALS + block(1) + block(1), recall)


GOOD = (
    *("rise=2", "quorum=2", "scheduler=wlc", "real=198.51.100.2:80 masq 5", "checktype=connect"),
    *("real=198.51.100.3:81 gate", "service=http", 'request="x"', "ops=yes", "watch=yes"),
    *("fallback=127.0.0.1", "emailalert=me", "comment=one"),
)
BAD = ("real=198.51.100.4", "smtplogin=x", "nonsense=1")
OUTSIDE = ("failurecount=2", "emailalert=you", "quiescent=no")


def outcome(text: str, recall: Recall | None = None) -> object:
    try:
        found = load(text, recall)
    except ConfigError as error:
        return error.errors, error.warnings
    return found


def test_whatever_is_edited_the_result_is_that_of_a_fresh_reading() -> None:
    dice, recall = random.Random(6), Recall()
    outside = ["checkinterval=5", "quiescent=yes"]
    blocks: list[list[str]] = [[] for _ in range(5)]
    agreed = 0
    for _ in range(400):
        lines = dice.choice([*blocks, *blocks, outside])
        if lines and dice.random() < 0.5:
            lines.pop(dice.randrange(len(lines)))
        else:
            choice = OUTSIDE if lines is outside else BAD if dice.random() < 0.05 else GOOD
            lines.insert(dice.randrange(len(lines) + 1), dice.choice(choice))
        order = dice.sample(range(5), dice.randint(3, 5))
        text = "\n".join(outside) + "\n" + "".join(block(n + 1, *blocks[n]) for n in order)
        fresh = outcome(text)
        assert outcome(text, recall) == fresh
        agreed += isinstance(fresh, Config)
    assert agreed > 20
