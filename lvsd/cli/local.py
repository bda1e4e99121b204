"""The commands that work without a running daemon: check, plan, help."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from lvsd import config
from lvsd.cli import asking
from lvsd.control import client, render
from lvsd.core import pool
from lvsd.core.model import Config, Table
from lvsd.core.plan import describe
from lvsd.core.plan import plan as steps_between
from lvsd.linux import KernelError
from lvsd.linux.ipvs import Ipvs

KERNEL_SOURCE = "lvsd is not running: weights as found in the kernel"
CHANGES = 3


def check(args: argparse.Namespace) -> int:
    """`lvsd check [--print]`: 0, or 1 with every error on stderr."""
    loaded = _load(args)
    if loaded is None:
        return 1
    if args.print:
        print(config.render(loaded), end="")
    else:
        print(f"{args.config}: ok, {_summary(loaded)}")
    return 0


def explain(directive: str) -> int:
    """`lvsd help DIRECTIVE`: 0, or 1 for a word that does not exist."""
    try:
        print(config.describe(directive).rstrip("\n"))
    except LookupError as unknown:
        return asking.fail(unknown.args[0] if unknown.args else f'no directive "{directive}"')
    return 0


def plan(args: argparse.Namespace) -> int:
    """`lvsd plan [--json]`: 0 when there is nothing to do, 3 when there is, 1 on errors."""
    try:
        answer = _ask_daemon(args) or _plan_here(args)
    except (asking.Refused, client.Unreachable, KernelError) as error:
        return asking.fail(error)
    if answer is None:
        return 1
    _print_lines([*answer.get("warnings", []), *answer.get("errors", [])])
    if answer.get("errors"):
        return 1
    print(json.dumps(answer, indent=2) + "\n" if args.json else render.plan(answer), end="")
    return CHANGES if answer["steps"] else 0


def _ask_daemon(args: argparse.Namespace) -> Any:
    """The running daemon's plan; None when there is no daemon, or it serves another file."""
    if not os.path.exists(args.socket):
        return None
    try:
        document = asking.ask(args, "GET", "/v1/status")
    except client.NotRunning:
        return None
    if args.explicit_config and not _same_file(args.config, document["config"]["path"]):
        return None
    return asking.ask(args, "GET", "/v1/plan")


def _plan_here(args: argparse.Namespace) -> dict[str, Any] | None:
    loaded = _load(args)
    if loaded is None:
        return None
    actual = asyncio.run(_read_table()) if loaded.virtuals else {}
    now = time.monotonic()
    desired = {
        virtual.key: pool.form(virtual, now, found=actual.get(virtual.key)).entry
        for virtual in loaded.virtuals
    }
    steps = steps_between(actual, desired, ())
    return {"steps": [describe(step) for step in steps], "source": KERNEL_SOURCE}


async def _read_table() -> Table:
    kernel = await Ipvs.open()
    try:
        return await kernel.read_table()
    finally:
        kernel.close()


def _load(args: argparse.Namespace) -> Config | None:
    """The configuration; None after printing every error. Warnings are printed either way."""
    try:
        loaded = config.load(args.config, node=args.node or None)
    except config.ConfigError as error:
        _print_lines(error.errors)
        return None
    _print_lines(loaded.warnings)
    return loaded


def _print_lines(lines: Iterable[object]) -> None:
    for line in lines:
        print(render.clean(line), file=sys.stderr)


def _summary(loaded: Config) -> str:
    reals = sum(len(virtual.reals) for virtual in loaded.virtuals)
    return ", ".join(
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in (
            (len(loaded.virtuals), "virtual service"),
            (reals, "real server"),
            (len(loaded.routers), "virtual router"),
        )
    )


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)
