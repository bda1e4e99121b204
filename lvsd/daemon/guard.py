"""The guard: a tiny process made before everything else, which outlives main by a second.

It blocks on a socket pair. Main keeps it current with prebuilt bytes: for each router that holds
VIPs the priority-0 advert, the address deletions, and what tells that a peer has taken over. When
the pair closes without an orderly end, main is dead: the guard sends the adverts, lets the VIPs
serve until the peer is heard, deletes them, and exits (design rule 2, "first line"). If the guard
dies as well, the kernel's lease is the last line.

Standard library only, imported before asyncio; no allocation to speak of while it waits. It
ignores the signals that end main and has a process group of its own. Messages are marshal'ed
tuples, one datagram each, so a message is whole or absent.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import signal
import socket
import sys
import time
from dataclasses import astuple
from typing import Any, NoReturn

from lvsd.daemon.farewell import Packet, Remain, Ward, clear, hand_over
from lvsd.daemon.launch import launch
from lvsd.linux.name import set_name
from lvsd.linux.precedence import be_real_time

#: What a manager, a terminal or a watchdog (the unit's WatchdogSignal) sends to the whole group:
#: it is meant for main.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGVTALRM)

_RELEASE, _UPDATE, _HANDOVER = 0, 1, 2
_BUFFER = 4 << 20
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
#: Where a guard that is a program of its own finds its end of the pair.
_DESCRIPTOR = 3
#: Above what main has open, below the usual limit of 1024.
_HIGH = 1000


class Guard:
    """Main's end. Every method is a no-op once the guard is gone; `alive` tells."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.pid = pid
        self.alive = True
        self._socket = sock
        self._briefing: bytes | None = None
        self._unsent: bytes | None = None

    def update(self, wards: tuple[Ward, ...], remains: tuple[Remain, ...] = ()) -> bool:
        """Replace everything the guard knows. False: could not be told now, `retry` later.

        `remains` are netlink families and complete requests, sent when every VIP is gone.
        """
        told = (_UPDATE, tuple(map(astuple, wards)), remains)
        self._briefing = self._unsent = marshal.dumps(told)
        return self.retry()

    def retry(self) -> bool:
        """Send the newest update that has not been sent yet."""
        if self._unsent is not None and self._send(self._unsent):
            self._unsent = None
        return self._unsent is None or not self.alive

    def handover(self, deadline: float) -> None:
        """Keep quiet about main's death until `deadline` (CLOCK_MONOTONIC seconds)."""
        self._send(marshal.dumps((_HANDOVER, deadline)))

    def release(self) -> None:
        """All is well: the guard exits without doing anything. Waits for it, at most 1 s."""
        self._socket.setblocking(True)
        self._socket.settimeout(1.0)
        self._send(marshal.dumps((_RELEASE,)))
        self._socket.close()
        self.alive = False
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def disown(self) -> None:
        """In a fork of main: the guard must not take it for main."""
        self.alive = False
        self._socket.close()

    def fileno(self) -> int:
        """Readable when the guard has died."""
        return self._socket.fileno()

    def lost(self) -> None:
        """The guard died first; take its exit status and stop talking to it."""
        self.alive = False
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def revive(self) -> None:
        """Start another in place of one that was `lost`, and brief it. Raises OSError.

        A fresh program: main is no longer small, and a fork of it would copy a running loop.
        """
        ours, theirs = _pair()
        argv = [sys.executable, "-m", "lvsd.daemon.guard", str(_DESCRIPTOR)]
        with theirs:
            try:
                pid = launch(argv, {_DESCRIPTOR: theirs.fileno()})
            except OSError:
                ours.close()
                raise
        self.pid, self.alive, self._socket = pid, True, ours
        self._unsent = self._briefing
        self.retry()

    def _send(self, message: bytes) -> bool:
        if not self.alive:
            return False
        try:
            self._socket.send(message)
        except OSError:  # full or gone; the reader of `fileno` learns which
            return False
        return True


def fork() -> Guard:
    """Make the guard process; returns in the parent only. Raises OSError."""
    ours, theirs = _pair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid:
        theirs.close()
        return Guard(ours, pid)
    ours.close()
    _main(theirs)


def _pair() -> tuple[socket.socket, socket.socket]:
    """Main's end and the guard's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock, option in ((ours, _SO_SNDBUFFORCE), (theirs, _SO_RCVBUFFORCE)):
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    ours = _first_released(ours)
    ours.setblocking(False)
    return ours, theirs


def _first_released(sock: socket.socket) -> socket.socket:
    """The same socket under a number above all others.

    When a process dies the kernel releases its descriptors from the highest down, and each packet
    socket takes it 10 ms or more (synchronize_net). The guard must not wait for those.
    """
    with contextlib.suppress(OSError):  # the limit may be lower
        number = fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        sock.close()
        return socket.socket(fileno=number)
    return sock


def _main(sock: socket.socket) -> NoReturn:
    """The guard process. Leaves by `os._exit`, so nothing of the parent's is run or flushed."""
    status = 1
    try:
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        os.setpgid(0, 0)
        be_real_time()
        set_name("lvsd-guard")
        wards, remains = _wait(sock)
        if wards:
            hand_over(wards)
        clear(remains)
        status = 0
    except OSError as error:
        os.write(2, f"lvsd-guard: {error}\n".encode())
    finally:
        os._exit(status)


def _wait(sock: socket.socket) -> tuple[tuple[Ward, ...], tuple[Remain, ...]]:
    """Block until main is dead; what it held then. Empty after an orderly end."""
    wards: tuple[Ward, ...] = ()
    remains: tuple[Remain, ...] = ()
    quiet_until = 0.0
    while True:
        # Memory of this size is mapped afresh and only what is written to it costs anything.
        datagram = sock.recv(_BUFFER)
        if not datagram:
            break
        message: tuple[Any, ...] = marshal.loads(datagram)
        if message[0] == _RELEASE:
            return (), ()
        if message[0] == _UPDATE:
            wards, remains = tuple(_ward(fields) for fields in message[1]), message[2]
        elif message[0] == _HANDOVER:
            quiet_until = message[1]
    # A main that is being replaced announced its absence; its heir holds the VIPs by then.
    while time.monotonic() < quiet_until:
        time.sleep(max(0.0, quiet_until - time.monotonic()))
    return wards, remains


def _ward(fields: tuple[Any, ...]) -> Ward:
    values: dict[str, Any] = dict(zip(Ward.__slots__, fields, strict=True))
    values["farewells"] = tuple(Packet(*packet) for packet in values["farewells"])
    return Ward(**values)


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])))
