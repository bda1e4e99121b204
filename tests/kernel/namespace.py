"""A network namespace of its own for the calling thread, so no test touches the host's table."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def own_namespace() -> Iterator[None]:
    """Enter a new namespace (loopback up), leave it again; threads started inside share it.

    Nameless: the kernel drops it with the last thing that uses it, also when a test is killed.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _checked(_libc.unshare(_CLONE_NEWNET))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        _checked(_libc.setns(home, _CLONE_NEWNET))
        os.close(home)
