"""Verdicts are gathered before the director hears of them."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address
from itertools import pairwise

from lvsd.core.happenings import ChecksFinished
from lvsd.core.model import Check, CheckKind
from lvsd.daemon.verdicts import GATHER, Verdicts
from tests.checks.kinds import condition

COUNT = 1000


async def test_a_thousand_refusals_are_heard_in_a_few_takings() -> None:
    """Each costs the director as much as the pools are long."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = IPv4Address("127.0.1.0")
    checks = [
        Check(CheckKind.CONNECT, first + n, port, interval=60.0, timeout=5.0) for n in range(COUNT)
    ]
    takings: list[tuple[float, int]] = []
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def feed(event: ChecksFinished) -> None:
        takings.append((loop.time(), len(event.results)))
        if sum(count for _, count in takings) >= COUNT:
            done.set()

    verdicts = Verdicts(feed, lambda check, reason: False)
    verdicts.follow(checks, ())
    try:
        async with asyncio.timeout(60):
            await done.wait()
    finally:
        verdicts.close()
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(takings)]
    assert min(gaps) >= 0.9 * GATHER


async def test_a_pass_that_was_called_quiet_is_taken_again_only_after_news() -> None:
    """What the director says of a pass holds until the check fails or all is followed anew."""
    heard: list[set[bool]] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        address = listener.getsockname()
        check = Check(CheckKind.CONNECT, IPv4Address("127.0.0.1"), address[1], 0.05, 5.0)
        verdicts = Verdicts(
            lambda event: heard.append({result.passed for result in event.results}),
            lambda check, reason: reason == "connected",
        )
        for takings in (1, 2):
            verdicts.follow([check], ())
            await condition(lambda count=takings: len(heard) == count, 60)
            enough = verdicts.checkers.finished + 10
            await condition(lambda count=enough: verdicts.checkers.finished >= count, 60)
            assert heard == [{True}] * takings
    await condition(lambda: heard[-1] == {False}, 60)
    with socket.create_server(address, backlog=1024):
        await condition(lambda: True in heard[-1], 60)
    verdicts.close()


async def test_who_waits_for_a_check_that_is_asked_already_does_not_wait_for_its_interval() -> None:
    taken: list[ChecksFinished] = []
    verdicts = Verdicts(taken.append, lambda check, reason: False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        check = Check(CheckKind.CONNECT, IPv4Address("127.0.0.1"), port, 600.0, 2.0)
        verdicts.follow([check], ())
        await condition(lambda: len(taken) == 1)
        verdicts.follow([check], ())
        verdicts.follow([check], (), waiting=[check])
        await condition(lambda: verdicts.checkers.finished == 2)
    verdicts.close()
