"""Starts programs without waiting for them, for the process that speaks VRRP.

What that process starts has none of its real-time priority. `subprocess` and `posix_spawn` return
once the new program runs, so on a busy machine adverts would wait behind everybody else until it
does, and on one whose disk stalls until it has been read. A fork costs a fraction of a millisecond.

The copy does nothing but become the program: no code of ours runs in it that could miss another
thread. A program that cannot be executed is one that ended with status 127. fork(2), vfork(2).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence

#: What may arrive between fork and exec, when it would still reach this process's loop.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGVTALRM, signal.SIGCHLD)
NOT_EXECUTED = 127


def launch(argv: Sequence[str], descriptors: Mapping[int, int]) -> int:
    """The process id of a new program, whose `descriptors` are ours by their number there.

    `argv[0]` is a path. Its standard input is empty. To be called in the main thread; OSError when
    there is no room for a process.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, descriptors, old)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    return pid


def _become(argv: Sequence[str], descriptors: Mapping[int, int], mask: Iterable[int]) -> None:
    try:
        signal.set_wakeup_fd(-1)
        for caught in (*_SIGNALS, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(caught, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, ours in descriptors.items():
            if number == ours:
                os.set_inheritable(ours, True)
            else:
                os.dup2(ours, number)
        inherited = {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, *descriptors}
        for number in inherited:  # from who started us
            with contextlib.suppress(OSError):  # the listing itself is closed again
                os.set_inheritable(number, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execv(argv[0], [*argv])
    finally:
        os._exit(NOT_EXECUTED)


class Launched:
    """A program that was launched, as its parent sees it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = False

    def poll(self) -> bool:
        """Whether it has ended; takes its exit status."""
        if not self._ended:
            self._ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self._ended

    def kill(self) -> None:
        """End it now, if it has not ended."""
        if not self.poll():
            os.kill(self.pid, signal.SIGKILL)
