"""One deadline that the kernel keeps to some microseconds: a timerfd for the loop to watch.

The loop's own timers end in epoll_wait, which counts whole milliseconds and, in an ordinary
process, may sleep longer by a thousandth of the wait (fs/select.c, select_estimate_accuracy):
3 ms of the three seconds for which a backup is patient. A timerfd has neither. Its clock is
CLOCK_MONOTONIC, as the loop's is. timerfd_create(2); the standard library has it from 3.13 on.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import time

_ABSOLUTE = 1  # TFD_TIMER_ABSTIME of linux/timerfd.h
_EXPIRATIONS = 8  # octets of the counter that a read gives
_NANOSECONDS = 10**9

_libc = ctypes.CDLL(None, use_errno=True)
#: struct itimerspec: interval and value, each in seconds and nanoseconds.
_Itimerspec = ctypes.c_long * 4


class DeadlineTimer:
    """Readable once its deadline has passed. Raises OSError when it cannot be made."""

    def __init__(self) -> None:
        #: The deadline it is set to, None while it is not running.
        self.at: float | None = None
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are these
        self._fd: int = _checked(_libc.timerfd_create(time.CLOCK_MONOTONIC, flags))

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._fd

    def arm(self, at: float | None) -> None:
        """Set it to `at` (CLOCK_MONOTONIC, seconds); None stops it. The past is due at once."""
        if at == self.at:
            return
        # Rounded up, for who wakes early finds nothing due; 0 would stop it.
        due = 0 if at is None else max(1, math.ceil(at * _NANOSECONDS))
        value = _Itimerspec(0, 0, *divmod(due, _NANOSECONDS))
        _checked(_libc.timerfd_settime(self._fd, _ABSOLUTE, value, None))
        self.at = at

    def expired(self) -> None:
        """Take note of the expiry: it is not readable any more and not running."""
        with contextlib.suppress(BlockingIOError):  # it was set anew since it became readable
            os.read(self._fd, _EXPIRATIONS)
            self.at = None

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
