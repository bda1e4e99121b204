"""The command line main gives its child; nobody else types it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass


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
