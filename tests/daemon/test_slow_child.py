"""A director process that takes long to start is not taken for one that hangs."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from lvsd.daemon import child as supervision
from lvsd.daemon.child import Child
from lvsd.daemon.messages import Message, Pong
from lvsd.daemon.options import RunOptions

#: Says its first word only after twenty pings, then answers each one.
SLOW = """
import asyncio, socket, sys
from lvsd.daemon import messages

async def main(fd):
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=fd))
    pings = [await messages.receive(reader) for _ in range(20)]
    writer.write(messages.pack(messages.Hello(messages.VERSION, 1)))
    while (message := await messages.receive(reader)) is not None:
        if isinstance(message, messages.Ping):
            writer.write(messages.pack(messages.Pong(message.serial)))

asyncio.run(main(int(sys.argv[sys.argv.index("--ipc") + 1])))
"""


class Main:
    """Remembers what the supervisor tells main."""

    def __init__(self) -> None:
        self.pongs, self.gone, self.news = 0, "", asyncio.Event()

    def child_said(self, message: Message) -> None:
        self.pongs += isinstance(message, Pong)
        self.news.set()

    def child_gone(self, reason: str, failures: int) -> None:
        self.gone = reason
        self.news.set()


async def test_pings_before_the_first_word_do_not_count_against_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "PING_INTERVAL", 0.05)
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    main = Main()
    with socket.socket() as listening:
        options = RunOptions(child_argv=(sys.executable, str(program)))
        child = Child(options, listening.fileno(), main, 0.0)
        running = asyncio.create_task(child.run())
        async with asyncio.timeout(20):
            while main.pongs < 5 and not main.gone:
                main.news.clear()
                await main.news.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert main.gone == ""
    assert main.pongs >= 5
