"""A director child driven over its socketpair as main would, and loopback servers to check."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from lvsd.control import client
from lvsd.daemon.messages import (
    Hello,
    Message,
    Ping,
    Pong,
    Ready,
    RouterStates,
    RouterStatus,
    Stop,
    Stopped,
    pack,
    receive,
)

M = TypeVar("M", bound=Message)
PATIENCE = 20.0


class Web:
    """An HTTP server on 127.0.0.1 whose status can be changed."""

    def __init__(self) -> None:
        web = self
        self.status = 200
        self.asked = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked += 1
                self.send_response(web.status)
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"alive")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def conf(web: Web, globals_: str = "", members: str = "") -> str:
    """One service with the web server as its real server."""
    return (
        f"{globals_}\nvirtual=192.0.2.1:80\n\treal={web.name} masq 3\n\tservice=http\n"
        f"\tcheckinterval=1\n\tchecktimeout=1\n\tscheduler=rr\n{members}"
    )


class ChildProcess:
    """One child with its folder. `said` collects every message it sends."""

    def __init__(self, folder: Path, table: str = "none") -> None:
        self.folder = folder
        self.conf = folder / "lvsd.conf"
        self.state = folder / "state"
        self.runtime = folder / "run"
        self.path = str(folder / "lvsd.sock")
        self.table = table
        self.since = "1234567890.5"
        self.program = ("-m", "lvsd.daemon.prelude")
        self.said: list[Message] = []
        self.log = ""
        self._news = asyncio.Event()

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.path)
        listening.listen()
        fds = (theirs.fileno(), listening.fileno())
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self.program),
            *("--ipc", str(fds[0]), "--listen", str(fds[1]), "--config", str(self.conf)),
            *("--runtime-dir", str(self.runtime), "--state-dir", str(self.state)),
            *("--table", self.table, "--node", "dir1", "--since", self.since),
            pass_fds=fds,
            stderr=asyncio.subprocess.PIPE,
        )
        theirs.close()
        listening.close()
        ours.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._read_log())]
        await self.expect(Hello)

    async def _hear(self) -> None:
        while (message := await receive(self._reader)) is not None:
            self.said.append(message)
            self._news.set()

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.log += line.decode()

    def send(self, message: Message) -> None:
        self._writer.write(pack(message))

    async def expect(
        self, kind: type[M], that: Callable[[M], bool] = lambda _: True, after: int = 0
    ) -> M:
        """The first message of a kind from the `after`th on, waited for."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    for message in self.said[after:]:
                        if isinstance(message, kind) and that(message):
                            return message
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {kind.__name__}; said {self.said}\n{self.log}") from None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await asyncio.to_thread(client.request, self.path, method, path, body)

    async def status(self) -> dict[str, Any]:
        code, answer = await self.ask("GET", "/v1/status")
        assert code == 200, answer
        return answer  # type: ignore[no-any-return]

    async def weights(self) -> dict[str, int]:
        """Name of the real → effective weight, over all virtuals."""
        status = await self.status()
        return {r["real"]: r["effective_weight"] for v in status["virtuals"] for r in v["reals"]}

    async def until(self, probe: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first status for which `probe` is true."""
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while not probe(status := await self.status()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = json.dumps(status, indent=1)
            raise AssertionError(f"never came true; status {shown}\n{self.log}") from None
        return status

    async def logged(self, text: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while text not in self.log:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f'"{text}" was never logged:\n{self.log}') from None

    async def file(self, path: Path) -> str:
        """The content of a file, once it has some."""
        async with asyncio.timeout(PATIENCE):
            while not (content := _content(path)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return content

    async def ready(self) -> None:
        await self.expect(Ready, lambda r: r.ready)

    async def ping(self) -> None:
        self.send(Ping(len(self.said)))
        serial = len(self.said)
        await self.expect(Pong, lambda p: p.serial == serial)

    def roles(self, **states: str) -> None:
        self.send(RouterStates([router_status(name, state) for name, state in states.items()]))

    async def stop(self) -> int:
        self.send(Stop())
        await self.expect(Stopped)
        return await self.end()

    async def end(self) -> int:
        """Wait for the process and clean up."""
        async with asyncio.timeout(PATIENCE):
            status = await self.process.wait()
            await asyncio.gather(*self._tasks)
        self._writer.close()
        return status

    async def leave(self) -> int:
        """Close our end, as a main that died."""
        self._writer.close()
        return await self.end()

    async def crash(self) -> None:
        """Die, and be started again by the same main."""
        await self.kill()
        self.said.clear()
        await self.start()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.end()


def _content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def router_status(name: str, state: str) -> RouterStatus:
    return RouterStatus(
        name=name,
        interface="lo",
        vrid=51,
        family="inet",
        version=2,
        state=state,
        reason="",
        since=0.0,
        priority=100,
        effective_priority=100,
        master=None,
        addresses=[],
        counters={},
    )


@contextlib.asynccontextmanager
async def child(
    folder: Path, text: str, table: str = "none", start: bool = True
) -> AsyncIterator[ChildProcess]:
    process = ChildProcess(folder, table)
    process.conf.write_text(text)
    if start:
        await process.start()
    try:
        yield process
    finally:
        if hasattr(process, "process"):
            await process.kill()
