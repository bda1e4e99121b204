"""The commands that ask the running daemon: status, drain, undrain, reload, stepdown."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from lvsd.control import client, render

WATCH_INTERVAL = 1.0
#: Clears the screen from its top left corner, without the flicker of clearing it all first.
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K\n", "\x1b[J"


class Refused(Exception):
    """The daemon said no; the text is its reason."""


def ask(args: argparse.Namespace, method: str, path: str, body: object = None) -> Any:
    """The daemon's answer. Raises `Refused`, or `client.Unreachable`."""
    status, answer = client.request(args.socket, method, path, body)
    if status >= 400:
        error = answer.get("error") if isinstance(answer, dict) else None
        raise Refused(render.clean(error or f"lvsd answered with status {status}"))
    return answer


def fail(text: object) -> int:
    """Print an error as every command does; returns exit status 1."""
    print(f"lvsd: {text}", file=sys.stderr)
    return 1


def status(args: argparse.Namespace) -> int:
    """`lvsd status [--json] [--watch]`."""
    if not args.watch:
        print(_status_text(args), end="")
        return 0
    try:
        while True:
            _show(_status_text(args))
            time.sleep(WATCH_INTERVAL)
    except KeyboardInterrupt:
        return 0


def _status_text(args: argparse.Namespace) -> str:
    document = ask(args, "GET", "/v1/status")
    if args.json:
        return json.dumps(document, indent=None if args.watch else 2) + "\n"
    return render.status(document, time.time())


def _show(text: str) -> None:
    if sys.stdout.isatty():
        text = _HOME + text.replace("\n", _CLEAR_LINE) + _CLEAR_REST
    print(text, end="", flush=True)


def drain(args: argparse.Namespace) -> int:
    """`lvsd drain REAL [--virtual V] [--deadline TIME] [--wait]`."""
    body = {"real": args.real, "virtual": args.virtual, "deadline": args.deadline}
    touched = ask(args, "POST", "/v1/drain", body)["touched"]
    for name in touched:
        print(f"draining {render.clean(name)}", flush=True)
    if args.wait:
        _wait_until_empty(args, set(touched))
    return 0


def _wait_until_empty(args: argparse.Namespace, touched: set[str]) -> None:
    """Until no active connection is left on the drained reals, or they left the table."""
    shown = -1
    while active := _active(ask(args, "GET", "/v1/status"), touched):
        if active != shown:
            print(f"{active} active connection{'' if active == 1 else 's'}", flush=True)
            shown = active
        time.sleep(WATCH_INTERVAL)
    print("no active connections")


def _active(document: Any, touched: set[str]) -> int:
    return sum(
        real["active"]
        for virtual in document["virtuals"]
        for real in virtual["reals"]
        if f"{_name(virtual)} {real['real']}" in touched and real["admin"] == "drain"
    )


def _name(virtual: Any) -> str:
    """The virtual as drain's answer names it: a mark of IPv6 says so."""
    marked = virtual["protocol"] == "fwm" and virtual["family"] == "inet6"
    return f"{virtual['virtual']} IPv6" if marked else str(virtual["virtual"])


def undrain(args: argparse.Namespace) -> int:
    """`lvsd undrain REAL [--virtual V]`."""
    answer = ask(args, "POST", "/v1/undrain", {"real": args.real, "virtual": args.virtual})
    for name in answer["touched"]:
        print(f"back in service: {render.clean(name)}")
    return 0


def reload(args: argparse.Namespace) -> int:
    """`lvsd reload`: exit 1 when the configuration was refused."""
    answer = ask(args, "POST", "/v1/reload")
    for line in [*answer["warnings"], *answer["errors"]]:
        print(render.clean(line), file=sys.stderr)
    if not answer["ok"]:
        return fail("reload refused, the configuration in force stays")
    for line in answer["changes"] or ["nothing changed"]:
        print(render.clean(line))
    return 0


def stepdown(args: argparse.Namespace) -> int:
    """`lvsd stepdown [NAME] [--undo]`: exit 1 when nobody takes over."""
    ask(args, "POST", "/v1/stepdown", {"name": args.name, "undo": args.undo})
    who = args.name or "every virtual router"
    print(f"{who} takes part again" if args.undo else f"{who} gave up mastership")
    return 0


def guarded(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The command with the daemon's refusals and absence as exit status 1."""

    def run(args: argparse.Namespace) -> int:
        try:
            return command(args)
        except (Refused, client.Unreachable) as error:
            return fail(error)

    return run


COMMANDS = {
    command.__name__: guarded(command) for command in (status, drain, undrain, reload, stepdown)
}
