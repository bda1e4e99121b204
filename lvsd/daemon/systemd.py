"""The service manager's notification protocol (sd_notify(3)), without its library.

One datagram per notification, sent without waiting: a full or missing socket costs the
notification, never the loop that owns VRRP. The variables are taken out of the environment, so
that no child process speaks in the daemon's name.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping


class Systemd:
    """The way to the service manager; every method is a no-op when there is none.

    `watchdog` is the interval in seconds at which `alive` is due (half of WATCHDOG_USEC), 0.0
    when the manager runs no watchdog for this process.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.dropped = 0
        self.watchdog = _watchdog_interval(environ)
        self._socket: socket.socket | None = None
        path = environ.pop("NOTIFY_SOCKET", "")
        if path.startswith(("/", "@")):
            # A leading @ stands for the abstract namespace's leading zero byte.
            self._address = "\0" + path[1:] if path[0] == "@" else path
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def notify(self, state: str) -> None:
        """Send `NAME=value` lines; what cannot be sent at once is dropped and counted."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:
            self.dropped += 1

    def ready(self, status: str) -> None:
        """READY=1: the configuration is applied and the routers are on their way."""
        self.notify(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """RELOADING=1, with the clock reading that Type=notify-reload asks for."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def status(self, text: str) -> None:
        """The line `systemctl status` shows."""
        self.notify(f"STATUS={text}")

    def alive(self) -> None:
        """WATCHDOG=1."""
        self.notify("WATCHDOG=1")

    def stopping(self) -> None:
        """STOPPING=1."""
        self.notify("STOPPING=1\nSTATUS=handing over")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_interval(environ: MutableMapping[str, str]) -> float:
    microseconds = environ.pop("WATCHDOG_USEC", "")
    pid = environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 2e6
