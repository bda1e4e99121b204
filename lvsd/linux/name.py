"""The name of a process, as `ps` and `top` show it."""

from __future__ import annotations

import contextlib


def set_name(name: str) -> None:
    """Name this process; at most 15 octets."""
    # /proc spares ctypes for prctl(PR_SET_NAME).
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
        comm.write(name)
