"""The control socket: who may do what, and what hostile requests end in."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from lvsd.control import client, server
from lvsd.control.history import History
from lvsd.control.status import ConfigStatus, PlanResult, ReloadResult, Status

STATUS = Status(
    version="0.1.0", pid=1, since=1000.0, host="dir1", config=ConfigStatus(path="/etc/lvsd.conf")
)


class FakeDesk:
    """A desk that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.names: Collection[str] = ()
        self.stepdown_error = ""
        self.hang = asyncio.Event()
        self.history = History("1-1")

    async def status(self) -> Status:
        return STATUS

    async def drain(self, real: str, virtual: str | None, deadline: float | None) -> list[str]:
        self.asked.append(("drain", real, virtual, deadline))
        if real == "192.0.2.99":
            raise LookupError("no real server 192.0.2.99")
        return [f"192.0.2.1:80 {real}:80"]

    async def undrain(self, real: str, virtual: str | None) -> list[str]:
        self.asked.append(("undrain", real, virtual))
        return []

    async def reload(self) -> ReloadResult:
        raise RuntimeError("a bug")

    async def plan(self) -> PlanResult:
        await self.hang.wait()
        return PlanResult(steps=[], source="test")

    async def stepdown(self, name: str, undo: bool) -> str:
        self.asked.append(("stepdown", name, undo))
        return self.stepdown_error

    def operators(self) -> Collection[str]:
        return self.names


class Served:
    """A running server and ways to talk to it."""

    def __init__(self, path: Path, desk: FakeDesk) -> None:
        self.path, self.desk = path, desk

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return await asyncio.to_thread(client.request, str(self.path), method, path, body)

    async def raw(self, sent: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        with contextlib.closing(writer):
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                return await asyncio.wait_for(reader.read(), 10)
            return b""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    desk = FakeDesk()
    path = tmp_path / "lvsd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        running = await server.serve(listening, desk)
        yield Served(path, desk)
        await running.close()
    assert path.exists()


def post(path: str, body: bytes) -> bytes:
    return (
        b"POST %s HTTP/1.1\r\nHost: lvsd\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
        % (path.encode(), len(body), body)
    )


async def test_status_is_the_document(served: Served) -> None:
    code, document = await served.request("GET", "/v1/status")

    assert code == 200
    assert document["host"] == "dir1"
    assert list(document)[:8] == [
        *("version", "pid", "since", "host", "config", "vrrp", "virtuals", "syncdaemons")
    ]
    assert document["table"]["in_sync"] is True


async def test_drain_passes_the_operators_words_on(served: Served) -> None:
    body = {"real": "192.0.2.4", "virtual": "192.0.2.1:80", "deadline": 300.0}

    code, answer = await served.request("POST", "/v1/drain", body)

    assert (code, answer) == (200, {"touched": ["192.0.2.1:80 192.0.2.4:80"]})
    assert served.desk.asked == [("drain", "192.0.2.4", "192.0.2.1:80", 300.0)]


async def test_an_unknown_real_is_404_with_the_desks_text(served: Served) -> None:
    code, answer = await served.request("POST", "/v1/drain", {"real": "192.0.2.99"})

    assert (code, answer) == (404, {"error": "no real server 192.0.2.99"})


async def test_stepdown_without_a_body_means_every_router(served: Served) -> None:
    code, _ = await served.request("POST", "/v1/stepdown")

    assert code == 200
    assert served.desk.asked == [("stepdown", "", False)]


async def test_a_stepdown_nobody_answers_is_409(served: Served) -> None:
    served.desk.stepdown_error = "VI_1: nobody took over"

    code, answer = await served.request("POST", "/v1/stepdown", {"name": "VI_1", "undo": True})

    assert (code, answer["error"]) == (409, "VI_1: nobody took over")
    assert served.desk.asked == [("stepdown", "VI_1", True)]


async def test_unknown_path_and_method_are_404_and_405(served: Served) -> None:
    assert (await served.request("GET", "/v2/status"))[0] == 404
    code, answer = await served.request("DELETE", "/v1/status")
    assert (code, answer) == (405, {"error": "this path takes GET"})
    assert (await served.request("GET", "/v1/drain"))[0] == 405


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"drain everything"',
        b"{}",
        b'{"real": 4}',
        b'{"real": ""}',
        b'{"real": "a", "deadline": -1}',
        b'{"real": "a", "deadline": 1e300}',
        b'{"real": "a", "deadline": NaN}',
        b'{"real": "a", "dead-line": 1}',
        b'{"real": "%s"}' % (b"a" * 1000),
        b'{"real": "\xff"}',
        b"[" * 30000,
        b"\x00\xff" * 100,
    ],
)
async def test_a_malformed_body_is_400_and_changes_nothing(served: Served, body: bytes) -> None:
    answer = await served.raw(post("/v1/drain", body))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body is not what this path takes" in answer
    assert served.desk.asked == []
    assert (await served.request("GET", "/v1/status"))[0] == 200


async def test_a_body_beyond_the_limit_is_413(served: Served) -> None:
    answer = await served.raw(post("/v1/drain", b" " * (server.MAX_BODY + 1)))

    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: lvsd\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: lvsd\r\n\r\n",
        b"POST /v1/drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\r\n\r\n\r\n\x00",
    ],
)
async def test_hostile_bytes_leave_the_server_serving(served: Served, sent: bytes) -> None:
    answer = await served.raw(sent + b"\r\n\r\n")

    assert not answer.startswith(b"HTTP/1.1 200 ")
    assert served.desk.asked == []
    assert (await served.request("GET", "/v1/status"))[0] == 200


async def test_a_failing_desk_is_500_for_its_caller_alone(served: Served) -> None:
    code, _ = await served.request("POST", "/v1/reload")

    assert code == 500
    assert (await served.request("GET", "/v1/status"))[0] == 200


async def test_a_slow_desk_is_504_in_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TIME_LIMIT", 0.05)

    code, answer = await served.request("GET", "/v1/plan")

    assert (code, answer) == (504, {"error": "no answer within 0.05 s"})


async def test_a_silent_connection_is_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_LIMIT", 0.05)

    assert await served.raw(b"GET /v1/sta") == b""


async def test_connections_are_bounded(served: Served) -> None:
    async with contextlib.AsyncExitStack() as stack:
        closed = []
        for _ in range(server.MAX_CONNECTIONS + 5):
            reader, writer = await asyncio.open_unix_connection(str(served.path))
            stack.callback(writer.close)
            closed.append(reader)
        cut = [asyncio.ensure_future(reader.read()) for reader in closed]
        done, waiting = await asyncio.wait(cut, timeout=0.5)
        for task in waiting:
            task.cancel()

    assert len(done) == 5


async def test_only_root_and_operators_may_change(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "peer_uid", lambda transport: 65534)
    assert (await served.request("GET", "/v1/status"))[0] == 200

    code, answer = await served.request("POST", "/v1/drain", {"real": "192.0.2.4"})

    assert code == 403
    assert "operators=" in answer["error"]
    assert served.desk.asked == []
    served.desk.names = ("no-such-user", "nobody")
    assert (await served.request("POST", "/v1/drain", {"real": "192.0.2.4"}))[0] == 200


async def test_the_peers_user_is_what_the_kernel_says() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        _, writer = await asyncio.open_unix_connection(sock=ours)

        assert server.peer_uid(writer.transport) == os.getuid()

        writer.close()
        await writer.wait_closed()
    assert server.peer_uid(None) is None


async def test_metrics_are_openmetrics(served: Served) -> None:
    answer = await served.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/openmetrics-text; version=1.0.0" in head
    assert body.endswith(b"# EOF\n")


async def test_a_flood_of_connections_is_refused_without_a_word(
    served: Served, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3 * server.MAX_CONNECTIONS):
            _, writer = await asyncio.open_unix_connection(str(served.path))
            stack.callback(writer.close)
            writer.write(b"GET /v1/st")
    async with asyncio.timeout(10):
        while not (await served.raw(b"GET /v1/status HTTP/1.0\r\n\r\n")).startswith(b"HTTP"):
            pass
    gc.collect()  # an exception nobody looked at is told when its task is collected
    assert "Traceback" not in capsys.readouterr().err
    assert caplog.records == []


async def test_readers_leave_room_for_root(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = 1000
    monkeypatch.setattr(server, "peer_uid", lambda transport: uid)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(server.MAX_CONNECTIONS):
            _, writer = await asyncio.open_unix_connection(str(served.path))
            stack.callback(writer.close)
        with pytest.raises(client.Unreachable):
            await served.request("GET", "/v1/status")
        uid = 0
        assert (await served.request("GET", "/v1/status"))[0] == 200


async def test_keep_alive_serves_several_requests_on_one_connection(served: Served) -> None:
    reader, writer = await asyncio.open_unix_connection(str(served.path))
    for _ in range(3):
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: lvsd\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["pid"] == 1
    writer.close()
    await writer.wait_closed()
