"""A check worker: an engine in a process of its own, for a director with `checkers=`.

It starts as the director's user, for its program must be readable, and then becomes another one
without privileges. It asks what it is told to ask and says what came of it; it decides nothing,
and when the director is gone it is gone as well.

News is sent in the next turn of the loop; a pass after a pass waits for company.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
from typing import NoReturn

import msgspec

from lvsd.checks.engine import Engine, Result
from lvsd.core.model import Check
from lvsd.daemon import checking
from lvsd.daemon.checking import Ask, Found, Hasten, Results, ToWorker, Trigger, Work
from lvsd.linux.privileges import end_with, give_up

#: The user of the package, and who takes its place where it is missing.
USERS = ("lvsd-check", "nobody")
#: Seconds that a pass after a pass waits for company.
PATIENCE = 0.05
#: Unsent bytes beyond which the director must be taken for lost.
BACKLOG = 32 << 20


class Checker:
    """The worker. `run` ends when the director is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(self._checked)
        self._checks: dict[int, Check] = {}
        self._numbers: dict[Check, int] = {}
        #: The reasons of the checks that passed last.
        self._passing: dict[int, str] = {}
        self._found: list[Found] = []
        self._sending: asyncio.Handle | None = None

    async def run(self) -> None:
        """Do what the director says."""
        decoder = msgspec.msgpack.Decoder[ToWorker](ToWorker)
        self._beat()
        while (message := await checking.receive(self._reader, decoder)) is not None:
            match message:
                case Ask():
                    self._follow(message)
                case Hasten(number, there) if number in self._checks:
                    self._engine.hasten(self._checks[number], there)
                case Trigger(number) if number in self._checks:
                    self._engine.trigger(self._checks[number])

    def _follow(self, ask: Ask) -> None:
        for number in ask.removed:
            self._passing.pop(number, None)
            del self._numbers[self._checks.pop(number)]
        for number, wire in ask.added.items():
            check = self._checks[number] = checking.check_from_wire(wire)
            self._numbers[check] = number
        self._engine.set_checks(self._numbers, [self._checks[number] for number in ask.watched])
        gc.freeze()

    def _checked(self, result: Result) -> None:
        number, latency = self._numbers[result.check], round(result.latency, 6)
        if result.passed and self._passing.get(number) == result.reason:
            self._found.append(Found(number, latency))
            if self._sending is None:
                self._sending = self._loop.call_later(PATIENCE, self._send)
            return
        if result.passed:
            self._passing[number] = result.reason
        else:
            self._passing.pop(number, None)
        self._found.append(Found(number, latency, result.reason, result.passed, result.gone))
        if isinstance(self._sending, asyncio.TimerHandle):
            self._sending.cancel()
            self._sending = None
        if self._sending is None:
            self._sending = self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._sending = None
        found, self._found = self._found, []
        self._say(Results(found))

    def _beat(self) -> None:
        engine = self._engine
        self._say(
            Work(
                engine.finished,
                engine.local_errors,
                engine.local_reason,
                engine.lateness,
                engine.watching,
                engine.unwatched,
            )
        )
        self._loop.call_later(checking.BEAT, self._beat)

    def _say(self, message: checking.Message) -> None:
        if self._writer.transport.get_write_buffer_size() > BACKLOG:
            os._exit(1)
        self._writer.write(checking.pack(message))


async def _serve(sock: socket.socket) -> None:
    sock.setblocking(False)
    await Checker(*await asyncio.open_connection(sock=sock)).run()


def _ignore(number: int, frame: object) -> None:
    """The director decides. A handler rather than SIG_IGN, as there."""


def main() -> NoReturn:
    """Be a worker; ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ipc", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGVTALRM):
        signal.signal(number, _ignore)
    give_up(USERS)
    end_with(options.parent)
    asyncio.run(_serve(socket.socket(fileno=options.ipc)))
    os._exit(0)


if __name__ == "__main__":
    main()
