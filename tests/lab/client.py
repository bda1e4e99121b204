"""A client that never stops asking, and what its record tells: outages, counts, broken connections.

    python3 -m tests.lab.client http://10.77.0.100/ [--interval 20] [--timeout 500] [--hold N]

Starts a new connection every `interval` milliseconds whether or not the last has ended, and
gives each `timeout` milliseconds. --hold keeps N connections open besides and asks on each
every --hold-interval milliseconds. Standard library only, one thread. JSON lines on stdout,
times in seconds of time.monotonic(), which all processes of a kernel share:
{"kind": "request", "at", "latency", "real" | null, "error" | null} and, for held ones,
{"kind": "hold", "id", "event": "open" | "answer" | "broken", "at", "real", "error"}.
Stops at SIGTERM, or after --seconds.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: started `at`, `latency` seconds; `real` answered or `error` says why not."""

    at: float
    latency: float
    real: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without service: from the last good start before to the first good one after.

    `lost` requests failed within. An outage that never ended has `end` = the last start.
    """

    start: float
    end: float
    lost: int

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Held:
    """The fate of a held connection: `broken_at` is None while it lives."""

    id: int
    real: str | None
    answers: int
    broken_at: float | None
    error: str | None


def records(path: Path) -> list[dict[str, object]]:
    """The lines of a client's output; a last line still being written is left out."""
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{")]


def requests(path: Path) -> list[Request]:
    """The requests of a client's output, in the order of their start."""
    found = [
        Request(line["at"], line["latency"], line["real"], line["error"])  # type: ignore[arg-type]
        for line in records(path)
        if line["kind"] == "request"
    ]
    return sorted(found, key=lambda request: request.at)


def counts(asked: Iterable[Request]) -> Counter[str]:
    """How many requests each real server answered."""
    return Counter(request.real for request in asked if request.real is not None)


def outages(asked: Iterable[Request]) -> list[Outage]:
    """The outages in a record, in order."""
    found = []
    good, lost, at = 0.0, 0, 0.0
    for request in asked:
        at = request.at
        if request.error is not None:
            good = good or at
            lost += 1
            continue
        if lost:
            found.append(Outage(good, at, lost))
        good, lost = at, 0
    return [*found, Outage(good, at, lost)] if lost else found


def held(path: Path) -> list[Held]:
    """What became of each held connection."""
    fates: dict[int, Held] = {}
    for line in records(path):
        if line["kind"] == "hold":
            number = int(str(line["id"]))
            old = fates.get(number, Held(number, None, 0, None, None))
            broken = line["event"] == "broken"
            fates[number] = Held(
                number,
                str(line["real"]) if line["real"] else old.real,
                old.answers + (line["event"] == "answer"),
                float(str(line["at"])) if broken else None,
                str(line["error"]) if broken else None,
            )
    return [fates[number] for number in sorted(fates)]


class Exchange:
    """A connection with at most one request in flight."""

    def __init__(self, prober: Prober, number: int | None) -> None:
        self.prober, self.number = prober, number
        self.real: str | None = None
        self.received = b""
        self.waiting = True
        self.at = time.monotonic()
        self.socket = socket.socket(prober.family)
        self.socket.setblocking(False)
        self.socket.connect_ex(prober.target)
        prober.selector.register(self.socket, selectors.EVENT_WRITE, self)

    def ready(self, mask: int) -> None:
        """The socket can be written or read."""
        try:
            if mask & selectors.EVENT_WRITE:
                error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "")
                if self.number is not None:
                    self.prober.say_held(self, "open")
                self.prober.selector.modify(self.socket, selectors.EVENT_READ, self)
                self.send()
            else:
                self.read()
        except OSError as error:
            self.end(_name(error))

    def send(self) -> None:
        """Send the request."""
        self.received, self.waiting = b"", True
        self.socket.send(self.prober.held_head if self.number is not None else self.prober.head)

    def read(self) -> None:
        data = self.socket.recv(65536)
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if found and length and len(body) >= int(length[1]):
            self.answered(head)
        elif not data:
            self.end("closed")

    def answered(self, head: bytes) -> None:
        self.waiting = False
        status = head.split(b" ", 2)[1].decode()
        if server := re.search(rb"(?i)\r\nserver: *([^\r\n]+)", head):
            self.real = server[1].decode()
        if self.number is None:
            self.end(None if status == "200" else status)
        else:
            self.prober.say_held(self, "answer")

    def end(self, error: str | None) -> None:
        """Close, and put it on record."""
        self.prober.selector.unregister(self.socket)
        self.socket.close()
        self.prober.ended(self, error)


class Prober:
    """All connections of a client."""

    def __init__(self, url: str, interval: float, timeout: float) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        self.target = (host, parts.port or 80)
        version = ipaddress.ip_address(host).version
        self.family = socket.AF_INET if version == 4 else socket.AF_INET6
        start = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        self.head = f"{start}Connection: close\r\n\r\n".encode()
        self.held_head = f"{start}\r\n".encode()
        self.interval, self.timeout = interval, timeout
        self.selector = selectors.DefaultSelector()
        self.open: list[Exchange] = []
        self.holding: list[Exchange] = []
        self.going = True

    def run(self, seconds: float, hold: int, hold_interval: float) -> None:
        """Ask until told to stop."""
        begin = time.monotonic()
        self.holding = [Exchange(self, number) for number in range(hold)]
        next_at, next_hold_at = begin, begin + hold_interval
        while self.going and (not seconds or time.monotonic() < begin + seconds):
            due = min(next_at, next_hold_at) if self.holding else next_at
            for key, mask in self.selector.select(max(0.0, due - time.monotonic())):
                key.data.ready(mask)
            now = time.monotonic()
            for late in [x for x in self.open if now - x.at > self.timeout]:
                late.end(TIMEOUT)
            if now >= next_at:
                # A schedule, so that a slow moment does not thin the requests out for good.
                next_at = max(next_at + self.interval, now)
                self.open.append(Exchange(self, None))
            if now >= next_hold_at:
                next_hold_at = now + hold_interval
                self.ask_held(now)

    def ask_held(self, now: float) -> None:
        """The next request on every held connection; one without an answer is given up."""
        for exchange in list(self.holding):
            if exchange.waiting and now - exchange.at > max(self.timeout, 5.0):
                exchange.end(TIMEOUT)
            elif not exchange.waiting:
                exchange.at = now
                try:
                    exchange.send()
                except OSError as error:
                    exchange.end(_name(error))

    def ended(self, exchange: Exchange, error: str | None) -> None:
        """Put the end of a connection on record."""
        if exchange.number is not None:
            self.holding.remove(exchange)
            self.say_held(exchange, "broken", error)
            return
        self.open.remove(exchange)
        real = exchange.real if error is None else None
        latency = time.monotonic() - exchange.at
        say(kind="request", at=exchange.at, latency=latency, real=real, error=error)

    def say_held(self, exchange: Exchange, event: str, error: str | None = None) -> None:
        """A line about a held connection."""
        at, real = time.monotonic(), exchange.real
        say(kind="hold", id=exchange.number, event=event, at=at, real=real, error=error)

    def stop(self) -> None:
        self.going = False


def say(**line: object) -> None:
    """One JSON line on stdout, at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _name(error: OSError) -> str:
    return type(error).__name__ if error.errno is None else _ERRORS.get(error.errno, str(error))


_ERRORS = {111: "refused", 104: "reset", 113: "no route to host", 101: "network unreachable"}


def main(argv: list[str] | None = None) -> None:
    """The command line; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--interval", type=float, default=20.0, help="milliseconds")
    parser.add_argument("--timeout", type=float, default=500.0, help="milliseconds")
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until SIGTERM")
    parser.add_argument("--hold", type=int, default=0)
    parser.add_argument("--hold-interval", type=float, default=200.0, help="milliseconds")
    options = parser.parse_args(argv)
    prober = Prober(options.url, options.interval / 1000, options.timeout / 1000)
    signal.signal(signal.SIGTERM, lambda *_: prober.stop())
    prober.run(options.seconds, options.hold, options.hold_interval / 1000)


if __name__ == "__main__":
    main()
