"""The start of the daemon, in the order that makes it short.

Loading code is nearly all of it, and main and child need much of the same. So what both need is
loaded first, by this module's imports. Then the child is forked, and the two go on side by side:
the child reads the configuration (`prelude`), main loads VRRP and waits for its routers.

Only the first child is a fork. Main is small then, runs no loop and has no thread. A child that is
started again is a program of its own (`child`), and takes its time.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

from lvsd.daemon import messages, parent  # noqa: F401  (what both need)
from lvsd.daemon.arguments import arguments
from lvsd.daemon.guard import Guard
from lvsd.daemon.launch import Launched
from lvsd.daemon.options import RunOptions
from lvsd.daemon.runtime import Runtime, RuntimeRefused
from lvsd.linux.precedence import take_precedence


class Firstborn(Launched):
    """The child that was forked, and main's end of the socketpair."""

    def __init__(self, pid: int, ours: socket.socket) -> None:
        super().__init__(pid)
        self.socket = ours


def run(options: RunOptions, guard: Guard) -> int:
    """The daemon, until it is told to stop; its exit status (0 orderly, 1 failure)."""
    gc.disable()  # main puts it to work again once everything is loaded
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, nobody could wait for a program
    take_precedence()
    try:
        runtime = Runtime(options)
    except RuntimeRefused as error:
        print(f"lvsd: {error}", file=sys.stderr)
        guard.release()
        return 1
    firstborn = None
    try:
        if not options.child_argv:
            firstborn = _fork(options, guard, runtime)
        from lvsd.daemon import vrrp

        return vrrp.run(options, guard, runtime, firstborn)
    finally:
        if firstborn is not None:
            firstborn.kill()
        runtime.close()


def _fork(options: RunOptions, guard: Guard, runtime: Runtime) -> Firstborn | None:
    """Make the first child; None when that fails, for it is tried again anyway."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            return None
        if pid == 0:
            ours.close()
            _be_child(options, guard, runtime, theirs)
    return Firstborn(pid, ours)


def _be_child(options: RunOptions, guard: Guard, runtime: Runtime, ipc: socket.socket) -> NoReturn:
    """The child, which must not keep what tells others that main lives, and never returns."""
    try:
        guard.disown()
        runtime.disown()
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        from lvsd.daemon import prelude

        listen = runtime.listener.detach()
        prelude.main(arguments(options, runtime.since, ipc.detach(), listen))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)
