"""`lvsd events [--follow] [--json]`: what happened, with reasons.

Following survives a restart of the daemon or of its director process: the numbers of the events
say whether something was missed, and the name of the run whether they began anew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lvsd.cli.asking import ask
from lvsd.control import client
from lvsd.control.render import clean

PATH = "/v1/events"
#: Seconds between two attempts to come back, and of silence after which a daemon counts as hung.
RETRY_DELAY = 0.5
SILENCE_LIMIT = 20.0

Event = Mapping[str, Any]


def events(args: argparse.Namespace) -> int:
    """Print what is kept, and with `--follow` what comes, until ^C."""
    show = _json if args.json else _human
    if not args.follow:
        for event in ask(args, "GET", PATH):
            print(show(event))
        return 0
    with contextlib.suppress(KeyboardInterrupt):
        _follow(args.socket, _Reader(show))
    return 0


class _Reader:
    """Prints events, and remembers where it was."""

    def __init__(self, show: Any) -> None:
        self._show = show
        self.run = ""
        self.seq = 0
        self.lost = ""

    def begin(self, run: str) -> None:
        """A connection is there; `run` names the numbering."""
        if self.run and run != self.run:
            _say("the director process was restarted: the events are numbered from 1 again")
            self.seq = 0
        elif self.lost:
            _say("following again")
        self.run, self.lost = run, ""

    def take(self, line: bytes) -> None:
        """One line of the stream; an empty one is only a sign of life."""
        if not line.strip():
            return
        event = json.loads(line)
        if self.seq and event["seq"] > self.seq + 1:
            _say(f"{event['seq'] - self.seq - 1} events were missed")
        self.seq = event["seq"]
        print(self._show(event), flush=True)

    def ended(self, reason: str) -> None:
        """The connection is gone; said once until it is back."""
        if not self.lost:
            self.lost = reason
            _say(f"{reason}; waiting for lvsd")


def _follow(socket_path: str, reader: _Reader) -> None:
    """For ever. Raises `Unreachable` when the first attempt fails."""
    while True:
        path = f"{PATH}?follow=1&since={reader.seq}&run={reader.run}"
        reason = "the connection ended"
        try:
            with client.stream(socket_path, path, SILENCE_LIMIT) as (headers, lines):
                reader.begin(headers.get("Lvsd-Run", ""))
                _read(reader, lines)
        except client.Unreachable as error:
            if not reader.run:
                raise
            reason = str(error)
        reader.ended(reason)
        time.sleep(RETRY_DELAY)


def _read(reader: _Reader, lines: Iterable[bytes]) -> None:
    for line in lines:
        reader.take(line)


def _say(text: str) -> None:
    print(f"lvsd: {text}", file=sys.stderr, flush=True)


def _json(event: Event) -> str:
    return json.dumps(event, ensure_ascii=False)


def _human(event: Event) -> str:
    """`2026-03-01 12:00:00.123 real_down real=192.0.2.4:80: status 500`."""
    at = datetime.fromtimestamp(event["at"])
    words = [f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}", event["event"]]
    words += (f"{key}={_value(value)}" for key, value in event["fields"].items())
    text = clean(" ".join(words))
    return f"{text}: {clean(event['reason'])}" if event["reason"] else text


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    text = str(value)
    return f'"{text}"' if not text or " " in text else text
