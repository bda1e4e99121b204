"""Verdicts are gathered before the director hears of them."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address
from itertools import pairwise

from lvsd.core.happenings import ChecksFinished
from lvsd.core.model import Check, CheckKind
from lvsd.daemon.verdicts import GATHER, Verdicts

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
        if sum(count for _, count in takings) == COUNT:
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
