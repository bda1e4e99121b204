"""What main keeps for a child that is away."""

from __future__ import annotations

from lvsd.daemon.diary import BACKLOG, Diary
from lvsd.daemon.messages import RouterEvent


def diary() -> tuple[Diary, list[RouterEvent]]:
    sent: list[RouterEvent] = []
    return Diary(sent.append), sent


def test_what_happens_while_the_child_is_away_is_told_in_order_once_it_is_back() -> None:
    one, sent = diary()
    one.tell("error", "child_lost", pid=7, reason="closed its end")
    one.pass_on("info", "router_changed", {"router": "VI_1"})
    assert sent == []

    one.open()
    one.tell("warning", "guard_replaced", pid=8)

    assert [(e.event, e.level) for e in sent] == [
        ("child_lost", "error"),
        ("router_changed", "info"),
        ("guard_replaced", "warning"),
    ]
    assert sent[0].fields == {"pid": 7, "reason": "closed its end"}
    assert sent[0].at <= sent[1].at <= sent[2].at


def test_a_second_absence_is_kept_like_the_first_and_nothing_is_told_twice() -> None:
    one, sent = diary()
    one.open()
    one.shut()
    one.tell("info", "stepdown", router="all")
    assert sent == []

    one.open()
    one.open()

    assert [e.event for e in sent] == ["stepdown"]


def test_of_too_many_the_newest_are_kept() -> None:
    one, sent = diary()
    for number in range(BACKLOG + 3):
        one.pass_on("info", "vips_bound", {"vrid": number})

    one.open()

    assert [e.fields["vrid"] for e in sent] == list(range(3, BACKLOG + 3))
