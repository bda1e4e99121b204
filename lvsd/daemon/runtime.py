"""The daemon's place on the machine: runtime directory, lock and control socket.

Main owns all three for as long as it lives. The child inherits the listening socket and serves
it; while there is no child, main answers `GET /v1/status` itself with what it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import grp
import os
import socket
import time
from collections.abc import Callable

import msgspec

from lvsd.daemon.options import RunOptions

#: Who may read status and metrics.
GROUP = "lvsd"
SOCKET_MODE = 0o660
#: Bytes of a socket's path: sun_path of unix(7) without its final zero.
LONGEST_SOCKET = 107
_BACKLOG = 64
#: Bounds of one request answered by main: bytes, seconds, and how many at a time.
_LARGEST_REQUEST, _REQUEST_TIMEOUT, _REQUESTS = 16 << 10, 2.0, 16


class RuntimeRefused(Exception):
    """The daemon cannot have its place; the text says why in one line."""


class Runtime:
    """Directory, lock and socket, taken on creation. Raises RuntimeRefused.

    `since` is when, as a Unix time: that of the daemon's start.
    """

    def __init__(self, options: RunOptions) -> None:
        self.since = time.time()
        self._path = options.socket
        if len(os.fsencode(options.socket)) > LONGEST_SOCKET:
            limit = f"the path of a socket has at most {LONGEST_SOCKET} bytes (unix(7))"
            raise RuntimeRefused(f"{options.socket}: {limit}")
        try:
            os.makedirs(options.runtime_dir, mode=0o755, exist_ok=True)
            os.makedirs(os.path.dirname(options.socket) or ".", mode=0o755, exist_ok=True)
            self._lock = _lock(os.path.join(options.runtime_dir, "lvsd.lock"))
        except OSError as error:
            text = f"{error.filename}: {error.strerror}"
            if isinstance(error, PermissionError) and os.geteuid() != 0:
                text += " (lvsd run needs root)"
            raise RuntimeRefused(text) from error
        try:
            self.listener = _listen(options.socket)
        except OSError as error:
            os.close(self._lock)
            raise RuntimeRefused(f"{options.socket}: {error.strerror}") from error
        except RuntimeRefused:
            os.close(self._lock)
            raise

    def disown(self) -> None:
        """In a fork of main: the lock is main's alone, and ends with it."""
        os.close(self._lock)

    def close(self) -> None:
        """Give everything back; the socket's file goes, the lock's file stays."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self.listener.close()
        os.close(self._lock)


class Stopgap:
    """Answers on the control socket in the child's place, between `open` and `shut`."""

    def __init__(self, listener: socket.socket, status: Callable[[], dict[str, object]]) -> None:
        self._listener = listener
        self._status = status
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """The child is away: accept."""
        self._loop.add_reader(self._listener, self._accept)

    def shut(self) -> None:
        """The child is back, or we leave: accept no more."""
        self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # taken back, or somebody was faster
            return
        if len(self._tasks) >= _REQUESTS:
            connection.close()
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._answer(connection), name="stopgap")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=_LARGEST_REQUEST)
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that does not ask properly gets nothing
        finally:
            writer.close()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if (method, rest.partition(b" ")[0]) == (b"GET", b"/v1/status"):
            line, document = b"200 OK", self._status()
        else:
            line = b"503 Service Unavailable"
            document = {"error": "the director process is being restarted; try again"}
        body = msgspec.json.encode(document)
        fields = b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n"
        return b"HTTP/1.1 " + line + b"\r\n" + fields % len(body) + b"\r\n" + body


def _lock(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(fd, 32).decode(errors="replace").strip()
        os.close(fd)
        if error.errno != errno.EWOULDBLOCK:
            raise
        directory = os.path.dirname(path)
        raise RuntimeRefused(
            f"another lvsd (process {holder or 'unknown'}) uses {directory}; "
            "give this one its own --runtime-dir and --socket"
        ) from error
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _listen(path: str) -> socket.socket:
    """Bind the control socket; a file nobody answers on is a crash's and is replaced."""
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
        os.chmod(path, SOCKET_MODE)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _clear(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody listens with a full backlog
    raise RuntimeRefused(f"another lvsd answers on {path}; give this one its own --socket")
