"""Alert mails: headers whatever names hold, and a mail server that is away."""

from __future__ import annotations

import asyncio
import email.policy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lvsd import log
from lvsd.config import loads
from lvsd.core.model import Alert, Moment
from lvsd.daemon import mail
from lvsd.daemon.mail import LIMIT, News, Postman, letter

ALERT = Alert(("ops@example.org",))


@pytest.fixture
def events() -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    told: list[tuple[str, Mapping[str, Any]]] = []
    log.configure("test")
    log.observe(lambda level, event, fields: told.append((event, fields)))
    yield told
    log.observe(None)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"Caf\xe9", "Caf\ufffd"),
        (b"a\x0bBcc: x@example.org", "a Bcc: x@example.org"),
        (b"a\rBcc: x@example.org", "a Bcc: x@example.org"),
        ("a\u2028b".encode(), "a b"),
        ("a\u0085b".encode(), "a b"),
        ("Café ☕".encode(), "Café ☕"),
        (b"x" * 3000, "x" * 3000),
    ],
)
def test_a_service_name_stays_within_its_header(name: bytes, shown: str) -> None:
    text = b"emailalert=ops@example.org\nvirtual=192.0.2.1:80\n\treal=192.0.2.4:80 gate\n"
    text += b"\tchecktype=on\n\tservicename=" + name + b"\n"
    actions = loads(text, interfaces=[]).virtuals[0].actions
    assert actions.alert is not None
    news = News(actions.alert, f"[{actions.servicename}] x", Moment.RUNNING, actions.servicename)

    got = email.message_from_bytes(letter(news).as_bytes(), policy=email.policy.default)

    assert got["Subject"] == f"[{shown}] x"
    assert "Bcc" not in got
    assert got.get_content().splitlines()[-1] == shown


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        ("lb@example.org", "lb@example.org"),
        ("<lb@example.org>", "lb@example.org"),
        ('"Load Balancer" <lb@example.org>', "Load Balancer <lb@example.org>"),
        ("Load, Balancer <lb@example.org>", '"Load, Balancer" <lb@example.org>'),
        ("Load Balancer", "Load Balancer <lvsd@host>"),
        ("LB <lb@[>", '"LB <lb@[>" <lvsd@host>'),
        ("a <", '"a <" <lvsd@host>'),
        ("", "lvsd@host"),
    ],
)
def test_any_sender_makes_a_header(
    sender: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "host")
    news = News(Alert(("ops@example.org",), sender), "x", Moment.RUNNING)
    assert str(letter(news)["From"]) == shown


@pytest.mark.parametrize("recipient", ["root", ".", "é@b", "a@[192.0.2.25]"])
def test_a_recipient_may_be_odd(recipient: str) -> None:
    assert letter(News(Alert((recipient,)), "x", Moment.RUNNING))["To"]


async def test_a_mail_server_that_refuses_costs_few_lines(
    monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, Mapping[str, Any]]]
) -> None:
    async def refused(*_: object) -> None:
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(mail, "deliver", refused)
    postman = Postman()
    for number in range(LIMIT + 500):
        postman.post(News(ALERT, str(number), Moment.RUNNING))
    await postman.finish(20.0)

    lost = [fields for event, fields in events if event == "mail_failed"]
    assert 1 < len(lost) < 6
    assert sum(fields["count"] for fields in lost) == LIMIT + 500


async def test_a_mail_that_waited_too_long_is_dropped(
    monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, Mapping[str, Any]]]
) -> None:
    sent = asyncio.Queue[str]()

    async def deliver(_: object, message: Any) -> None:
        sent.put_nowait(message["Subject"])

    monkeypatch.setattr(mail, "deliver", deliver)
    postman = Postman()
    postman.post(News(ALERT, "old", Moment.RUNNING, at=0.0))
    postman.post(News(ALERT, "new", Moment.RUNNING))

    assert await sent.get() == "new"
    assert [fields["subject"] for event, fields in events if event == "mail_failed"] == ["old"]
