"""Expressions, and searches that would not end."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.checks.probe import Failed
from lvsd.checks.receive import LIMIT, Receive
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import ask, server
from tests.checks.scripts import answering, reply

CHECK = Check(CheckKind.HTTP, ip_address("127.0.0.1"), 0, 60.0, 20.0, b"/")
LINE = b'{"node":"state":1,' * 2400


@pytest.mark.parametrize("expression", [b"fake", b"^f.k", b"x|fake", b"f[a]+ke", b"(fa){1,2}ke"])
def test_an_expression_is_found_or_not(expression: bytes) -> None:
    receive = Receive(replace(CHECK, receive=expression))
    assert receive
    assert receive.matches(b"fake page")
    assert receive.matches(bytearray(b"fake page"))
    assert not receive.matches(b"another page")


def test_without_an_expression_everything_matches() -> None:
    receive = Receive(CHECK)
    assert not receive
    assert receive.matches(b"anything")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (b"node.*state.*ready", LINE),
        (b"(a+)+$", b"a" * 60 + b"b"),
        (b"(a|aa){2,}$", b"a" * 90 + b"b"),
    ],
)
def test_a_search_that_would_not_end_fails(expression: bytes, text: bytes) -> None:
    receive = Receive(replace(CHECK, receive=expression))
    began = time.process_time()
    for _ in range(2):
        with pytest.raises(Failed, match="takes too long on this answer"):
            receive.matches(text)
    assert LIMIT < time.process_time() - began < 20 * LIMIT
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert not receive.matches(b"another page")


def test_a_signal_that_comes_after_the_search_does_nothing() -> None:
    Receive(replace(CHECK, receive=b"a*"))
    signal.raise_signal(signal.SIGPROF)


@pytest.mark.parametrize("size", [100, 100_000])
async def test_a_server_whose_page_takes_too_long_fails(size: int) -> None:
    """In one piece, and in several."""
    page = reply(LINE + b" " * size)
    async with server(answering(page)) as port:
        result = await ask(replace(CHECK, port=port, receive=b"node.*state.*ready"))
    assert not result.passed
    assert result.reason == '"node.*state.*ready" takes too long on this answer'
