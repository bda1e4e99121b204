"""The machine of the real servers: its scripted servers, and what becomes of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Protocol, Self, cast

from tests.kernel.differential.servers import DATAGRAMS, STREAMS
from tests.lab.topology import Topology

#: The addresses of a real server, by the last number.
ADDRESSES = ("10.77.0.{}", "fd77::{}")


class Transport(Protocol):
    """What is open and can be closed."""

    def close(self) -> object: ...


class Server:
    """One port of one real server, on both its addresses."""

    def __init__(self, kind: str, hosts: list[str], port: int) -> None:
        self.kind, self.hosts, self.port, self.mode = kind, hosts, port, "ok"
        self._open: list[Transport] = []
        self._talks: set[asyncio.StreamWriter] = set()

    async def behave(self, mode: str) -> None:
        """From now on."""
        self.mode = mode
        if mode == "refuse":
            self.close()
        elif not self._open:
            await self._listen()

    def close(self) -> None:
        """Nobody listens any more; conversations end."""
        for each in (*self._open, *self._talks):
            each.close()
        self._open.clear()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for host in self.hosts:
            if self.kind in STREAMS:
                self._open.append(await asyncio.start_server(self._talk, host, self.port))
                continue
            address = (host, self.port)
            transport, _ = await loop.create_datagram_endpoint(
                lambda: Datagrams(self), local_addr=address
            )
            self._open.append(transport)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks.add(writer)
        try:
            # A client that leaves in mid-sentence is no error of ours.
            with contextlib.suppress(OSError, EOFError, ValueError):
                if self.mode == "hang":
                    await reader.read()
                else:
                    await STREAMS[self.kind][self.mode](reader, writer)
        finally:
            self._talks.discard(writer)
            writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """A server's way to answer over UDP."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self._server.mode != "hang":
            answer = DATAGRAMS[self._server.kind][self._server.mode](data)
            self._transport.sendto(answer, cast(Any, addr))


class Farm:
    """The servers of one machine of a topology; a context manager."""

    def __init__(self, lab: Topology, node: str) -> None:
        self._lab, self._node = lab, node
        self._servers: dict[tuple[str, int], Server] = {}
        self._gone: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lab.inside, args=(node, self._loop.run_forever))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.clear()
            self._do(_end_tasks())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def serve(self, kind: str, real: str, port: int) -> None:
        """Start a server that is well."""
        hosts = [address.format(real) for address in ADDRESSES]
        server = self._servers[real, port] = Server(kind, hosts, port)
        self._do(server.behave("ok"))

    def behave(self, mode: str, place: str) -> None:
        """All servers at `REAL`, or the one at `REAL:PORT`."""
        real, _, port = place.partition(":")
        chosen = [
            server
            for key, server in self._servers.items()
            if key[0] == real and port in ("", str(key[1]))
        ]
        if not chosen:
            raise ValueError(f"no server at {place}")
        for server in chosen:
            self._do(server.behave(mode))

    def gone(self, real: str) -> None:
        """The addresses of a real server are no more: nothing answers, pings neither."""
        self._gone.add(real)
        self._addresses("del", real)

    def back(self, real: str) -> None:
        """They are there again."""
        self._gone.discard(real)
        self._addresses("add", real)

    def clear(self) -> None:
        """End every server, and what is gone is back."""
        for server in self._servers.values():
            self._do(server.behave("refuse"))
        self._servers.clear()
        for real in tuple(self._gone):
            self.back(real)

    def _addresses(self, verb: str, real: str) -> None:
        lengths = zip(ADDRESSES, (24, 64), strict=True)
        lines = [f"addr {verb} {a.format(real)}/{length} dev eth0" for a, length in lengths]
        self._lab.ip(self._node, lines)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


async def _end_tasks() -> None:
    """End the conversations that are left."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
