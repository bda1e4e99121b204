"""A relay between a check and a good server, which breaks the conversation at a chosen byte."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import struct
from collections.abc import AsyncIterator
from socket import SO_LINGER, SOL_SOCKET


class Cut(enum.Enum):
    """What happens when the server has said what is allowed."""

    NEVER = "never"
    STALL = "stall"
    CLOSE = "close"
    RESET = "reset"


class Relay:
    """`heard` bytes came from the server; `stalls` conversations stand still."""

    def __init__(self, target: int, cut: Cut, allowed: int) -> None:
        self.target = target
        self.cut = cut
        self.allowed = allowed
        self.port = 0
        self.heard = 0
        self.stalls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One conversation."""
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        forward = asyncio.create_task(self._forward(reader, back))
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._answer(there, writer)
        finally:
            forward.cancel()
            back.transport.abort()
            writer.transport.abort() if self.cut is Cut.RESET else writer.close()

    async def _forward(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                back.write(data)
            back.write_eof()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.allowed
        while self.cut is Cut.NEVER or left:
            data = await there.read(65536 if self.cut is Cut.NEVER else left)
            if not data:
                return
            self.heard += len(data)
            left -= len(data)
            writer.write(data)
            await writer.drain()
        if self.cut is Cut.STALL:
            self.stalls += 1
            await asyncio.Event().wait()
        elif self.cut is Cut.RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.asynccontextmanager
async def relay(target: int, cut: Cut, allowed: int = 0) -> AsyncIterator[Relay]:
    """A relay on loopback to the server at port `target`."""
    made = Relay(target, cut, allowed)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await made.serve(reader, writer)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
