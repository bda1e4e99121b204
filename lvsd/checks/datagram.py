"""Questions over UDP: one request, repeated while no answer comes, and the datagrams that return.

The socket is connected, so that only the server's own datagrams arrive and an ICMP error (port
unreachable) fails the check at once; asyncio-dgram alone would not wake for it. What arrives and is
no answer to the request is ignored, for anybody can send such things, and told when the time is up.

A lost datagram is no failure: the request goes out again after a third of the timeout, at most
`PAUSE` seconds, then after twice that, and so on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from asyncio_dgram.aio import DatagramClient, Protocol

from lvsd.checks.coroutine import Coroutine
from lvsd.core.model import Check

PAUSE = 1.0
#: Datagrams that wait to be read; what comes beyond is dropped.
QUEUE = 64


class _Waking(Protocol):
    """Wakes the reader for an error, and bounds its queue."""

    def __init__(
        self, received: asyncio.Queue[Any], errors: asyncio.Queue[Any], drained: asyncio.Event
    ) -> None:
        super().__init__(received, errors, drained)
        self._received = received

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._received.qsize() < QUEUE:
            super().datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        super().error_received(exc)
        self._received.put_nowait((b"", None))


class Datagrams(Coroutine):
    """A question in a datagram. Subclasses say `render` and `judge`."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        self._strange = 0

    @abstractmethod
    def render(self, source: tuple[str, int]) -> bytes:
        """A fresh request, sent from `source`."""

    @abstractmethod
    def judge(self, data: bytes) -> str | None:
        """A text to pass, None for what is no answer to the request. Raises Failed."""

    async def ask(self) -> str:
        """Ask until something comes."""
        self._strange = 0
        async with _client(self.check) as client:
            request = self.render(client.sockname[:2])
            pause = min(PAUSE, self.check.timeout / 3)
            while True:
                await client.send(request)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        return await self._listen(client)
                pause *= 2

    def late(self) -> str:
        """Whether the server sent something at least."""
        return f"no valid answer ({self._strange} others)" if self._strange else "no answer"

    async def _listen(self, client: DatagramClient) -> str:
        while True:
            data, sender = await client.recv()
            if sender is None:
                _ = client.exception  # raises it
            elif (verdict := self.judge(data)) is not None:
                return verdict
            else:
                self._strange += 1


@contextlib.asynccontextmanager
async def _client(check: Check) -> AsyncIterator[DatagramClient]:
    """A connected socket to the server under check. Raises OSError."""
    family = socket.AF_INET if check.address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect((str(check.address), check.port))
        received, errors = asyncio.Queue[Any](), asyncio.Queue[Any]()
        drained = asyncio.Event()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Waking(received, errors, drained), sock=sock
        )
    except BaseException:
        sock.close()
        raise
    # The library's annotation names the protocol; what it needs and uses is the transport.
    client = DatagramClient(transport, received, errors, drained)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        client.close()
