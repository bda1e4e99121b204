"""The commands that work without a running daemon: check, plan, help."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lvsd import config, log
from lvsd.cli import asking
from lvsd.config.original import surprises
from lvsd.control import client, render
from lvsd.core.director import Director, desired, step
from lvsd.core.happenings import ConfigLoaded, LocalAddresses, TableAdopted
from lvsd.core.model import Config, Forwarding, IPAddress, Table
from lvsd.core.plan import describe
from lvsd.core.plan import plan as steps_between
from lvsd.daemon.store import Store
from lvsd.linux import KernelError
from lvsd.linux.ipvs import Ipvs
from lvsd.linux.local import local_addresses

KERNEL_SOURCE = "weights as found in the kernel, no daemon was asked"
CHANGES = 3


def check(args: argparse.Namespace) -> int:
    """`lvsd check [--print] [--ldirectord]`: 0, or 1 with every error on stderr."""
    loaded = _load(args)
    if loaded is None:
        return 1
    if args.ldirectord:
        _print_lines(surprises(args.config, node=args.node or None))
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
    if not loaded.virtuals:
        return {"steps": [], "source": "the configuration has no virtual services"}
    actual, addresses = asyncio.run(_read_kernel())
    wished = _wish(loaded, actual, addresses)
    log.configure("plan")
    owned, _ = Store(args.state_dir, args.state_dir, 0.0).manifest()
    steps = steps_between(_as_asked(actual, wished), wished, owned)
    return {"steps": [describe(step) for step in steps], "source": KERNEL_SOURCE}


async def _read_kernel() -> tuple[Table, frozenset[IPAddress]]:
    """The table and the addresses of this host. Raises KernelError."""
    kernel = await Ipvs.open()
    try:
        return await kernel.read_table(), local_addresses()
    finally:
        kernel.close()


def _wish(loaded: Config, actual: Table, addresses: frozenset[IPAddress]) -> Table:
    """What a daemon that starts now would want before the first check has come back."""
    director = Director()
    for event in (TableAdopted(actual), LocalAddresses(addresses), ConfigLoaded(loaded)):
        director, _ = step(director, event, time.monotonic())
    return desired(director).table


def _as_asked(actual: Table, wished: Table) -> Table:
    """`actual` with the word it was asked with where the kernel says Local."""
    return {
        key: replace(
            entry,
            destinations={
                name: replace(found, forwarding=wished[key].destinations[name].forwarding)
                if found.forwarding is Forwarding.LOCAL
                and key in wished
                and name in wished[key].destinations
                else found
                for name, found in entry.destinations.items()
            },
        )
        for key, entry in actual.items()
    }


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
