"""What happened lately: the ring, its answers on the control socket, and who follows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lvsd import log
from lvsd.control import client, following, server
from lvsd.control.history import MAX_ITEMS, MAX_TEXT, History
from tests.daemon.test_control_server import FakeDesk

PATIENCE = 10.0


def events(history: History, since: int = 0, run: str = "") -> list[dict[str, Any]]:
    return [json.loads(line) for line in history.since(since, run)[0]]


async def test_an_event_has_number_time_name_reason_and_fields() -> None:
    history = History("1-1")

    history.record("warning", "real_down", {"real": "192.0.2.4:80", "reason": "status 500"}, 12.5)

    assert events(history) == [
        {
            "seq": 1,
            "at": 12.5,
            "event": "real_down",
            "level": "warning",
            "reason": "status 500",
            "fields": {"real": "192.0.2.4:80"},
        }
    ]


async def test_the_ring_keeps_the_newest_and_their_numbers() -> None:
    history = History("1-1", size=3)
    for _ in range(5):
        history.record("info", "ready", {})

    assert [e["seq"] for e in events(history)] == [3, 4, 5]
    assert [e["seq"] for e in events(history, 4)] == [5]
    assert events(history, 5) == events(history, 99) == []


async def test_a_number_of_another_run_gets_everything() -> None:
    history = History("2-2")
    history.record("info", "ready", {})

    assert events(history, 7, "1-1") == events(history)
    assert events(history, 7, "2-2") == []


async def test_values_are_short_and_printable_whatever_they_are() -> None:
    history = History("1-1")

    history.record(
        "info",
        "config_loaded",
        {"long": "x" * 9999, "many": list(range(99)), "bad": "\udcff", "huge": 1 << 80, "any": {1}},
    )

    fields = events(history)[0]["fields"]
    assert len(fields["long"]) == MAX_TEXT
    assert len(fields["many"]) == MAX_ITEMS + 1
    assert fields["many"][-1] == f"and {99 - MAX_ITEMS} more"
    assert fields["bad"] == "\\udcff"
    assert fields["huge"] == str(1 << 80)
    assert fields["any"] == ["1"]


async def test_a_logged_event_is_observed_without_secrets_or_tracebacks() -> None:
    history = History("1-1")
    log.configure("director")
    log.observe(history.record)
    try:
        error = RuntimeError("x")
        log.get().error("config_failed", error="bad", authpass="1111", exc_info=error)
        thread = threading.Thread(target=lambda: log.get().info("ready"))
        thread.start()
        await asyncio.to_thread(thread.join)
    finally:
        log.observe(None)
    log.get().info("stopped")

    assert [(e["event"], e["reason"]) for e in events(history)] == [
        ("config_failed", "bad"),
        ("ready", ""),
    ]
    assert events(history)[0]["fields"] == {"authpass": "***"}


class Served:
    """A control server with a history."""

    def __init__(self, path: Path, desk: FakeDesk) -> None:
        self.path, self.desk = str(path), desk

    def happened(self, count: int = 1) -> None:
        for _ in range(count):
            self.desk.history.record("info", "real_up", {"real": "192.0.2.4:80"})

    async def get(self, path: str) -> tuple[int, Any]:
        return await asyncio.to_thread(client.request, self.path, "GET", path)

    @contextlib.asynccontextmanager
    async def follow(self, query: str = "") -> AsyncIterator[asyncio.StreamReader]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(f"GET /v1/events?follow=1{query} HTTP/1.1\r\nHost: lvsd\r\n\r\n".encode())
        try:
            yield reader
        finally:
            writer.close()


async def next_event(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next line of a chunked answer that holds an event."""
    async with asyncio.timeout(PATIENCE):
        while not (line := await reader.readline()).startswith(b"{"):
            assert line
    event: dict[str, Any] = json.loads(line)
    return event


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    desk = FakeDesk()
    path = tmp_path / "lvsd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        running = await server.serve(listening, desk)
        yield Served(path, desk)
        async with asyncio.timeout(3):  # followers do not hold up the end
            await running.close()


async def test_the_answer_is_a_list_from_a_number_on(served: Served) -> None:
    assert await served.get("/v1/events") == (200, [])
    served.happened(3)

    code, answer = await served.get("/v1/events?since=1&run=1-1")

    assert code == 200
    assert [e["seq"] for e in answer] == [2, 3]


@pytest.mark.parametrize("since", ["-1", "x", "1e3", "9" * 30, "%C2%B2"])
@pytest.mark.parametrize("follow", ["", "&follow=1"])
async def test_a_bad_number_is_refused(served: Served, since: str, follow: str) -> None:
    code, answer = await served.get(f"/v1/events?since={since}{follow}")

    assert code == 400
    assert "since=" in answer["error"]


async def test_a_follower_gets_what_was_and_what_comes(served: Served) -> None:
    served.happened(2)
    async with served.follow("&since=1") as reader:
        assert (await next_event(reader))["seq"] == 2
        served.happened()
        assert (await next_event(reader))["seq"] == 3


async def test_a_follower_is_not_ended_by_the_limits_of_other_requests(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TIME_LIMIT", 0.05)
    monkeypatch.setattr(following, "BEAT", 0.05)
    async with served.follow() as reader:
        async with asyncio.timeout(PATIENCE):
            for _ in range(10):  # beats
                while await reader.readline() != b"1\r\n":
                    pass
        served.happened()
        assert (await next_event(reader))["seq"] == 1


async def test_followers_beyond_the_limit_are_refused(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MAX_FOLLOWERS", 1)
    async with served.follow() as reader:
        assert b"200" in await reader.readline()
        async with served.follow() as second:
            assert b"503" in await second.readline()


async def test_a_follower_that_does_not_read_is_dropped_with_a_line(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following, "STALL_LIMIT", 0.2)
    log.configure("director")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.connect(served.path)
        deaf.send(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: lvsd\r\n\r\n")
        said = ""
        async with asyncio.timeout(PATIENCE):
            while "follower_dropped" not in said:
                served.happened(1000)
                await asyncio.sleep(0.01)
                said += capfd.readouterr().err
    assert "it read nothing for 0.2 s" in said


async def test_the_end_of_the_server_ends_every_follower(served: Served) -> None:
    async with served.follow() as reader:
        assert b"200" in await reader.readline()
        served.desk.history.close()
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
