"""What touches the Linux kernel: netlink, raw sockets, /proc/sys.

Everything here is a thin shell around the pure core. The rest of the daemon sees model objects
and `KernelError`, never a netlink message.
"""

from __future__ import annotations


class KernelError(Exception):
    """The kernel refused something.

    `errno` is the kernel's number (positive, `errno` module). The text is one line: what was
    tried, and why it failed in the words ipvsadm's users know.
    """

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(text)
        self.errno = errno
