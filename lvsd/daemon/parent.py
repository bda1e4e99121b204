"""The child's end of the socketpair: messages to main, and main's answers to commands.

Messages wait until somebody receives them. Until then pings are answered here, for the child reads
its configuration first.
"""

from __future__ import annotations

import asyncio
import socket

from lvsd.daemon.messages import Command, CommandDone, Message, Ping, Pong, pack, receive

#: Seconds main may take over a command: a stepdown waits to be relieved.
COMMAND_TIME_LIMIT = 8.0


class Parent:
    """Talks to main. `send` never waits; a parent that is gone is noticed by `receive`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._attended = False
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self._ear = asyncio.create_task(self._listen(reader), name="parent")
        self._serial = 0
        self._asked: dict[int, asyncio.Future[str]] = {}

    @classmethod
    async def connect(cls, fd: int) -> Parent:
        """Take over the inherited descriptor."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        return cls(*await asyncio.open_connection(sock=sock))

    def send(self, message: Message) -> None:
        """Queue one message."""
        if not self._writer.is_closing():
            self._writer.write(pack(message))

    async def drain(self) -> None:
        """Wait until what was sent has left. Raises ConnectionError when main is gone."""
        await self._writer.drain()

    async def receive(self) -> Message | None:
        """The next message; None when main is gone."""
        self._attended = True
        return await self._waiting.get()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while (message := await receive(reader)) is not None:
            if isinstance(message, Ping) and not self._attended:
                self.send(Pong(message.serial))
            else:
                self._waiting.put_nowait(message)
        self._waiting.put_nowait(None)

    async def command(self, verb: str, router: str) -> str:
        """Have main do something to a router; "" when done, else why not."""
        self._serial += 1
        answer = asyncio.get_running_loop().create_future()
        serial = self._serial
        self._asked[serial] = answer
        self.send(Command(serial, verb, router))
        try:
            async with asyncio.timeout(COMMAND_TIME_LIMIT):
                return str(await answer)
        except TimeoutError:
            return f"no answer from the VRRP process within {COMMAND_TIME_LIMIT:g} s"
        finally:
            self._asked.pop(serial, None)

    def done(self, message: CommandDone) -> None:
        """Main has answered a command."""
        answer = self._asked.pop(message.serial, None)
        if answer is not None and not answer.done():
            answer.set_result(message.error)

    def close(self) -> None:
        """Close the socket."""
        self._ear.cancel()
        self._writer.close()
