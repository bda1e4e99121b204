"""The command line: each command asks the daemon, or calls one function.

Commands import what they need when they are chosen, so that `lvsd status` starts as fast as
Python does, and so that `lvsd run` can fork its guard before anything large is loaded. Exit codes
are a contract: 0 done, 1 a negative answer or a failure, 2 misuse, 3 `plan` found changes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from lvsd import __version__

CONFIG = "/etc/lvsd/lvsd.conf"
SOCKET = "/run/lvsd/lvsd.sock"
#: What a shell reports for a program ended by SIGPIPE or SIGINT.
BROKEN_PIPE, INTERRUPTED = 141, 130

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # any locale: better a backslash than a traceback
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and os.path.basename(sys.argv[0]) == "ldirectord":
        words.insert(0, "ldirectord")  # a link of that name stands in for the original
    if words[:1] == ["ldirectord"]:  # a command line that is not ours to shape
        return _ldirectord(words[1:])
    args = _parser().parse_args(words)
    args.explicit_config = hasattr(args, "config")
    args.config = getattr(args, "config", CONFIG)
    args.socket = getattr(args, "socket", SOCKET)
    command: Command = args.command
    try:
        status = command(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader had enough. Python's own flush at exit must not find the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def seconds(text: str) -> float:
    """A time as operators write it: `90`, `30s`, `5m`, `2h`, `1d`. For argparse."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        raise argparse.ArgumentTypeError(f'"{text}" is not a time like 90, 30s, 5m or 2h')
    return float(int(number) * _UNITS[unit])


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "-c", "--config", metavar="FILE", help=f"the configuration (default {CONFIG})"
    )
    common.add_argument("--socket", metavar="PATH", help=f"control socket (default {SOCKET})")
    parser = argparse.ArgumentParser(
        prog="lvsd",
        description="VRRP, health checks and the IPVS table of a director, in one daemon.",
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"lvsd {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(command=run)
        return command

    _add_local(add)
    _add_asking(add)
    return parser


Add = Callable[[str, Command, str], argparse.ArgumentParser]


def _add_local(add: Add) -> None:
    """The commands that need no running daemon."""
    run = add("run", _run, "the daemon, in the foreground; what the unit starts")
    runtime_dir, state_dir = (
        _directory("RUNTIME", "/run/lvsd"),
        _directory("STATE", "/var/lib/lvsd"),
    )
    kept = f"what must be known after a restart (default {state_dir})"
    lost = f"lock and last good configuration (default {runtime_dir})"
    run.add_argument("--runtime-dir", metavar="DIR", default=runtime_dir, help=lost)
    run.add_argument("--state-dir", metavar="DIR", default=state_dir, help=kept)
    run.add_argument(
        "--table",
        choices=("kernel", "none"),
        default="kernel",
        help="none: run checks and VRRP on a kernel without IPVS",
    )
    run.add_argument(
        "--record", metavar="FILE", default="", help="write every input of VRRP as JSON lines"
    )
    run.add_argument("--stderr-path", default="", help=argparse.SUPPRESS)
    check = add("check", _check, "read the configuration and print every error in it")
    check.add_argument("--print", action="store_true", help="print the normal form on stdout")
    check.add_argument(
        "--ldirectord", action="store_true", help="say where ldirectord would act otherwise"
    )
    plan = add("plan", _plan, "what applying the configuration would change; changes nothing")
    plan.add_argument("--json", action="store_true", help="for programs")
    plan.add_argument("--state-dir", metavar="DIR", default=state_dir, help=kept)
    for command in (run, check, plan):
        command.add_argument(
            "--node", metavar="NAME", default="", help="this director (default short host name)"
        )
    add("ldirectord", _help, "ldirectord's command line: [-d] [FILE] VERB, for init scripts")
    words = add("help", _help, "what a word of the configuration means")
    words.add_argument("directive", metavar="DIRECTIVE", nargs="?", default="", help="as quorum")


def _add_asking(add: Add) -> None:
    """The commands that talk to the running daemon."""
    status = add("status", _ask("status"), "everything at a glance")
    status.add_argument("--json", action="store_true", help="for programs; the keys are stable")
    status.add_argument("--watch", action="store_true", help="again each second, until ^C")
    drain = add("drain", _ask("drain"), "take a real server out of service, keeping connections")
    drain.add_argument("--deadline", type=seconds, metavar="TIME", help="as 90, 30s, 5m or 2h")
    drain.add_argument("--wait", action="store_true", help="until its connections have ended")
    undrain = add("undrain", _ask("undrain"), "put a real server back into service")
    for command in (drain, undrain):
        command.add_argument("real", metavar="REAL", help="as 192.168.1.4 or 192.168.1.4:80")
        command.add_argument("--virtual", metavar="V", help="in this virtual service only")
    add("reload", _ask("reload"), "read the configuration again, and say what changed")
    events = add("events", _events, "what happened, with reasons")
    events.add_argument("--follow", action="store_true", help="go on with what comes, until ^C")
    events.add_argument("--json", action="store_true", help="a line of JSON per event")
    stepdown = add("stepdown", _ask("stepdown"), "give mastership to the peer, orderly")
    stepdown.add_argument("name", metavar="NAME", nargs="?", default="", help="the vrrp= block")
    stepdown.add_argument("--undo", action="store_true", help="take part again")


def _directory(kind: str, otherwise: str) -> str:
    """systemd's RUNTIME_DIRECTORY or STATE_DIRECTORY (a list with colons), else `otherwise`."""
    return os.environ.get(f"{kind}_DIRECTORY", "").split(":")[0] or otherwise


def _run(args: argparse.Namespace) -> int:
    from lvsd.daemon import guard

    try:
        warden = guard.fork()  # first of all, while this process is small
    except OSError as error:
        print(f"lvsd: cannot start the guard process: {error.strerror}", file=sys.stderr)
        return 1

    from lvsd.daemon import start
    from lvsd.daemon.options import RunOptions

    options = RunOptions(
        config=os.path.abspath(args.config),
        socket=args.socket,
        runtime_dir=args.runtime_dir,
        state_dir=args.state_dir,
        table=args.table,
        node=args.node,
        record=args.record and os.path.abspath(args.record),
        stderr_path=args.stderr_path,
    )
    return start.run(options, warden)


def _check(args: argparse.Namespace) -> int:
    from lvsd.cli import local

    return local.check(args)


def _plan(args: argparse.Namespace) -> int:
    from lvsd.cli import local

    return local.plan(args)


def _help(args: argparse.Namespace) -> int:
    if not args.directive:
        _parser().print_help()
        return 0
    from lvsd.cli import local

    return local.explain(args.directive)


def _ldirectord(words: Sequence[str]) -> int:
    from lvsd.cli import ldirectord

    return ldirectord.run(words)


def _events(args: argparse.Namespace) -> int:
    from lvsd.cli import asking, events

    return asking.guarded(events.events)(args)


def _ask(name: str) -> Command:
    def run(args: argparse.Namespace) -> int:
        from lvsd.cli import asking

        return asking.COMMANDS[name](args)

    return run
