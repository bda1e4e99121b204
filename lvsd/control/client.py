"""The client of the control socket: standard library only, so that `lvsd status` starts fast.

One request per connection. Whatever can go wrong on the way ends as `Unreachable` with a sentence
that says what to do; an answer, also a refusal, is returned as it came.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

#: Seconds to wait for an answer; longer than the server allows itself.
TIMEOUT = 35.0


class Unreachable(Exception):
    """No answer from the daemon; the text says why, for the operator."""


class NotRunning(Unreachable):
    """There is no daemon at this socket."""


class _UnixConnection(HTTPConnection):
    """HTTP/1.1 over the Unix socket at `path`."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("lvsd", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def request(
    socket_path: str,
    method: str,
    path: str,
    body: object = None,
    timeout: float = TIMEOUT,
) -> tuple[int, Any]:
    """Status code and decoded JSON of one request. Raises `Unreachable`."""
    connection = _UnixConnection(socket_path, timeout)
    sent = None if body is None else json.dumps(body).encode()
    with _explained(socket_path, timeout), contextlib.closing(connection):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # Who refuses may close before it has read the body; its answer is there all the same.
            connection.request(method, path, sent, {"Connection": "close"})
        answer = connection.getresponse()
        status, received = answer.status, answer.read()
    return status, _decode(status, received)


@contextlib.contextmanager
def stream(
    socket_path: str, path: str, silence: float
) -> Iterator[tuple[Mapping[str, str], Iterable[bytes]]]:
    """Headers and lines of an answer without an end. Raises `Unreachable`, also while it is read.

    `silence` is how many seconds may pass without a line. A refusal is `Unreachable` as well.
    """
    with contextlib.closing(_UnixConnection(socket_path, silence)) as connection:
        with _explained(socket_path, silence):
            connection.request("GET", path, None, {"Connection": "close"})
            answer = connection.getresponse()
            refusal = answer.read() if answer.status >= 400 else b""
        if answer.status >= 400:
            raise Unreachable(_decode(answer.status, refusal)["error"])
        yield dict(answer.headers), _lines(answer, socket_path, silence)


def _lines(answer: HTTPResponse, socket_path: str, silence: float) -> Iterator[bytes]:
    """The reader's own errors are not the connection's, so each line is read by itself."""
    while True:
        with _explained(socket_path, silence):
            line = answer.readline()
        if not line:
            return
        yield line


@contextlib.contextmanager
def _explained(socket_path: str, timeout: float) -> Iterator[None]:
    """Whatever goes wrong on the way as `Unreachable`, in words for the operator."""
    try:
        yield
    except FileNotFoundError:
        raise NotRunning(f"lvsd is not running (no socket at {socket_path})") from None
    except ConnectionRefusedError:
        raise NotRunning(f"lvsd is not running (nobody answers at {socket_path})") from None
    except PermissionError:
        raise Unreachable(
            f"permission denied on {socket_path}: you need to be root or in the group lvsd"
        ) from None
    except TimeoutError:
        raise Unreachable(f"lvsd did not answer within {timeout:g} s") from None
    except (OSError, HTTPException) as error:
        raise Unreachable(f"cannot talk to lvsd at {socket_path}: {_words(error)}") from None


def _decode(status: int, received: bytes) -> Any:
    try:
        return json.loads(received)
    except ValueError:
        if status >= 400:  # the HTTP server's own refusals are plain text
            return {"error": received.decode("utf-8", "replace").strip() or f"status {status}"}
        raise Unreachable("lvsd answered with something that is not JSON") from None


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
