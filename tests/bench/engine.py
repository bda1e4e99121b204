"""CPU per 1,000 plain HTTP checks, by the engine alone: for profiling; `checks` is the bench.

    python -m tests.bench.engine [--reals 1000] [--rate 1000] [--seconds 5] [--body 64]

A server process on loopback (not counted) answers; the engine asks `reals` checks at such an
interval that `rate` start per second, with a body expression. Prints CPU of the engine's process
per 1,000 checks, the lateness of starts and the latency of verdicts, then the same saturated.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from multiprocessing.connection import Connection

from lvsd.checks.engine import Engine, Result
from lvsd.core.model import Check, CheckKind
from tests.bench.farm import answer

LOOPBACK = IPv4Address("127.0.0.1")


def serve(port_out: Connection, body: int) -> None:
    """Answer every request at once."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port_out.send(listener.getsockname()[1])
    answer(listener, b"fake".ljust(body, b"."))


@contextmanager
def server(body: int) -> Iterator[int]:
    """A server process; yields its port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs, body), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


async def measure(port: int, reals: int, rate: float, seconds: float) -> str:
    """Run the engine for a while; one line of figures."""
    latencies: list[float] = []
    failures: list[str] = []

    def report(result: Result) -> None:
        latencies.append(result.latency)
        if not result.passed:
            failures.append(result.reason)

    interval = reals / rate
    engine = Engine(report)
    engine.set_checks(
        Check(CheckKind.HTTP, LOOPBACK, port, interval, 5.0, b"/%d" % n, b"fake")
        for n in range(reals)
    )
    gc.collect()
    gc.freeze()
    await asyncio.sleep(min(1.0, interval) + 0.2)
    latencies.clear()
    engine.lateness = 0.0
    cpu, clock = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    await asyncio.sleep(seconds)
    spent, took = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - clock
    done = len(latencies)
    lateness = engine.lateness
    engine.close()
    if failures or not done:
        raise SystemExit(f"{len(failures)} checks failed: {sorted(set(failures))[:5]}")
    user = (spent.ru_utime - cpu.ru_utime) * 1e6 / done
    system = (spent.ru_stime - cpu.ru_stime) * 1e6 / done
    latencies.sort()
    p50, p99 = (latencies[done * n // 100] * 1e3 for n in (50, 99))
    return (
        f"{done / took:7.0f} checks/s   CPU per 1,000 checks {user + system:6.1f} ms "
        f"(user {user:.1f}, system {system:.1f})   late by up to {lateness * 1e3:.1f} ms   "
        f"latency p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reals", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--body", type=int, default=64)
    options = parser.parse_args()
    with server(options.body) as port:
        for name, rate in (("paced", options.rate), ("saturated", 1e5)):
            line = asyncio.run(measure(port, options.reals, rate, options.seconds))
            print(f"http, {options.body} B, {name:9} {line}", flush=True)


if __name__ == "__main__":
    main()
