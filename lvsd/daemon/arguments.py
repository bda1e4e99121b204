"""The command line main gives its child; nobody else types it.

The first child is forked and never was a program, but is told the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from lvsd.core.record import dataclass
from lvsd.daemon.options import RunOptions


@dataclass(frozen=True, slots=True)
class Options:
    """The child's command line. `since` is the Unix time of main's start."""

    ipc: int
    listen: int
    config: str
    runtime_dir: str
    state_dir: str
    table: str
    node: str
    since: float
    stderr_path: str = ""


def arguments(options: RunOptions, since: float, ipc: int, listen: int) -> list[str]:
    """What main tells the child; the last two are descriptors."""
    argv = ["--ipc", str(ipc), "--listen", str(listen), "--config", options.config]
    argv += ["--runtime-dir", options.runtime_dir, "--state-dir", options.state_dir]
    argv += ["--table", options.table, "--since", repr(since)]
    argv += ["--stderr-path", options.stderr_path] if options.stderr_path else []
    return [*argv, "--node", options.node] if options.node else argv


def parse(argv: Sequence[str]) -> Options:
    """The command line main gives the child."""
    parser = argparse.ArgumentParser(prog="lvsd-director")
    parser.add_argument("--ipc", type=int, required=True)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--runtime-dir", required=True)
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--table", choices=("kernel", "none"), default="kernel")
    parser.add_argument("--node", default="")
    parser.add_argument("--since", type=float, default=time.time())
    parser.add_argument("--stderr-path", default="")
    return Options(**vars(parser.parse_args(argv)))
