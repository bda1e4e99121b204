"""A TCP connection for checks that are coroutines: bounded lines, and a reset at the end.

As in `stream`, the connection ends with a reset, so that checks leave no ports in TIME_WAIT.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import TypeVar

from lvsd.checks.lines import Step
from lvsd.checks.probe import Failed
from lvsd.checks.tls import Tls, tls_failure
from lvsd.core.model import Check

#: Bytes taken at once.
CHUNK = 1 << 16

_RESET = struct.pack("ii", 1, 0)
_T = TypeVar("_T")


class Connection:
    """An open connection to the server under check."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._socket: socket.socket = writer.get_extra_info("socket")

    @property
    def source(self) -> tuple[str, int]:
        """Our address and port."""
        address: tuple[str, int] = self._writer.get_extra_info("sockname")[:2]
        return address

    async def send(self, data: bytes) -> None:
        """Send it all. Raises OSError."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """What has come, at most `CHUNK` bytes; b"" at the end of the stream."""
        return await self._reader.read(CHUNK)

    async def converse(self, steps: Step[_T]) -> _T:
        """Drive the steps of a dialogue to their result."""
        try:
            command = next(steps)
            while True:
                if isinstance(command, Tls):
                    await self._secure(command)
                    command = steps.send(b"")
                    continue
                if command:
                    await self.send(command)
                command = steps.send(await self.receive())
        except StopIteration as end:
            result: _T = end.value
            return result
        except ssl.SSLError as error:
            raise tls_failure(error, handshake=False) from error

    async def _secure(self, tls: Tls) -> None:
        try:
            await self._writer.start_tls(tls.context, server_hostname=tls.name)
        except ssl.SSLError as error:
            raise tls_failure(error, handshake=True) from error
        except ConnectionError as error:
            if error.errno:
                raise
            raise Failed("TLS handshake failed: connection closed") from error

    def abort(self) -> None:
        """Reset the connection."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def connect(check: Check, port: int = 0) -> AsyncIterator[Connection]:
    """A connection to the check's address, at `port` if given. Raises OSError."""
    connection = Connection(
        *await asyncio.open_connection(str(check.address), port or check.port, limit=CHUNK)
    )
    try:
        yield connection
    finally:
        connection.abort()
