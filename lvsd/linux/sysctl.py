"""Kernel settings under /proc/sys.

A name is written as sysctl(8) takes it: `net/ipv4/vs/expire_nodest_conn`, or with dots. The first
separator decides which of the two parts the name, so an interface with a dot in its name works
both ways: `net/ipv4/conf/eth0.100/rp_filter`, `net.ipv4.conf.eth0/100.rp_filter`.
These are short reads and writes of memory; nothing here waits.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lvsd.linux import KernelError

ROOT = Path("/proc/sys")

_SWAP = str.maketrans("./", "/.")


def _path(name: str, root: Path) -> Path:
    parts = name if _first_separator(name) == "/" else name.translate(_SWAP)
    if not parts or any(part in ("", ".", "..") for part in parts.split("/")):
        raise KernelError(errno.EINVAL, f"sysctl {name}: not the name of a setting")
    return root / parts


def _first_separator(name: str) -> str:
    return next((letter for letter in name if letter in "./"), "/")


def _error(name: str, action: str, error: OSError) -> KernelError:
    number = error.errno or errno.EIO
    reason = "no such setting in this kernel" if number == errno.ENOENT else os.strerror(number)
    return KernelError(number, f"sysctl {name}: cannot {action}: {reason}")


def read(name: str, *, root: Path = ROOT) -> str:
    """The value without its line end. Raises KernelError, ENOENT if the kernel lacks it."""
    try:
        return _path(name, root).read_text().rstrip("\n")
    except OSError as error:
        raise _error(name, "read", error) from error


def write(name: str, value: str | int, *, root: Path = ROOT) -> None:
    """Set a value. Raises KernelError (no such setting, permission, value refused)."""
    path = _path(name, root)
    try:
        # Not write_text: that would create a file where a setting is missing.
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _error(name, f"set to {value}", error) from error
