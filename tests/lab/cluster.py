"""A whole cluster for the demo and the end-to-end tests: directors, real servers and a client."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab import client
from tests.lab.director import Director
from tests.lab.topology import Process, Topology, wait_until

ROOT = Path(__file__).parents[2]


class RealServer:
    """A web server on a machine `rsN`; `mode` makes it misbehave, see tests.lab.webserver."""

    def __init__(self, lab: Topology, node: str, pages: Mapping[str, str], port: int = 80) -> None:
        self.lab, self.node = lab, node
        self.modes = lab.folder / f"{node}-{port}.mode"
        self._words = ["-m", "tests.lab.webserver", "--name", node, "--port", str(port)]
        self._words += ["--mode-file", str(self.modes)]
        for path, text in pages.items():
            self._words += ["--page", f"{path}={text}"]
        self.process: Process | None = None

    def start(self) -> RealServer:
        """Start it and wait until it listens."""
        self.process = self.lab.spawn(self.node, [sys.executable, *self._words], cwd=ROOT)
        self.process.wait_for(r'"ready"')
        return self

    def mode(self, word: str) -> float:
        """Behave so from now on; the time of the change."""
        self.modes.write_text(word)
        return time.monotonic()

    def kill(self) -> float:
        """Die: connections are reset, new ones refused; the time of death."""
        assert self.process is not None
        at = time.monotonic()
        self.process.kill()
        return at


class Client:
    """A client that asks all the time; see tests.lab.client."""

    def __init__(self, lab: Topology, url: str, *options: str) -> None:
        words = [sys.executable, "-m", "tests.lab.client", url, *options]
        self.process = lab.spawn("client", words, cwd=ROOT)

    def requests(self, since: float = 0.0, until: float = float("inf")) -> list[client.Request]:
        """What was asked between two times."""
        asked = client.requests(self.process.log)
        return [request for request in asked if since <= request.at <= until]

    def failed(self, since: float = 0.0) -> list[client.Request]:
        """The requests since then without a good answer."""
        return [request for request in self.requests(since) if request.error is not None]

    def longest_outage(self, since: float = 0.0) -> float:
        """Seconds without service at most, 0 if nothing was lost."""
        return max((o.seconds for o in client.outages(self.requests(since))), default=0.0)

    def answers(self, count: int, timeout: float = 30.0) -> list[client.Request]:
        """Wait for `count` more good answers; all requests from now on."""
        since = time.monotonic()

        def enough() -> bool:
            return sum(r.error is None for r in self.requests(since)) >= count

        wait_until(enough, timeout, f"{count} answers")
        return self.requests(since)

    def held(self) -> list[client.Held]:
        """What became of the connections held open."""
        return client.held(self.process.log)

    def stop(self) -> None:
        """Stop asking; the record stays."""
        self.process.send(signal.SIGTERM)
        self.process.wait()


@dataclass(slots=True)
class Cluster:
    """The machines of a topology with their programs."""

    lab: Topology
    directors: list[Director]
    reals: list[RealServer]

    @classmethod
    def build(
        cls,
        lab: Topology,
        config: str | Iterable[str],
        pages: Callable[[str], Mapping[str, str]] = lambda node: {},
        *,
        table: str = "kernel",
        port: int = 80,
    ) -> Cluster:
        """Web servers running, directors ready to be started (one per configuration).

        A single text serves every director of the layout. `pages` gives a real server's pages.
        """
        nodes = [node for node in lab.layout.nodes if node.startswith("rs")]
        reals = [RealServer(lab, node, pages(node), port).start() for node in nodes]
        names = [node for node in lab.layout.nodes if node.startswith("dir")]
        texts = [config] * len(names) if isinstance(config, str) else list(config)
        pairs = zip(names, texts, strict=False)
        return cls(lab, [Director(lab, name, text, table=table) for name, text in pairs], reals)

    def start(self) -> Cluster:
        """Start every director, wait until the first is master and has judged its reals."""
        for director in self.directors:
            director.start()
        for director in self.directors:
            director.wait_judged()
        if any(director.status().get("vrrp") for director in self.directors):
            self.directors[0].wait_state("master")
        return self
