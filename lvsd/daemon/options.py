"""What `lvsd run` was told on its command line, as both processes need it."""

from __future__ import annotations

from lvsd.core.record import dataclass


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The parsed command line of `lvsd run`.

    `table` is `kernel` or `none`. `node` chooses among per-node values, "" for the short host
    name. `record` is the file for the inputs of VRRP, "" for none. `child_argv` replaces the
    director's command line up to `--ipc` (tests put a scripted child here); empty means the real
    one. `stderr_path` is the log file that stderr leads to, "" where it leads elsewhere.
    """

    config: str = "/etc/lvsd/lvsd.conf"
    socket: str = "/run/lvsd/lvsd.sock"
    runtime_dir: str = "/run/lvsd"
    state_dir: str = "/var/lib/lvsd"
    table: str = "kernel"
    node: str = ""
    record: str = ""
    child_argv: tuple[str, ...] = ()
    stderr_path: str = ""
