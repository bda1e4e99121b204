"""A real server for tests: answers HTTP with its name, and misbehaves on demand.

    python3 -m tests.lab.webserver --name rs1 [--port 80] [--mode-file FILE] [--page PATH=TEXT]

The mode file holds one word, read at each request (no file: ok):
ok, 500, wrong (another body), hang (accepts, never answers), reset (RST), close (no answer),
slow (one octet per second). To refuse connections, end the process.
Standard library only. Keeps connections alive. Each request is a JSON line on stdout:
{"at": monotonic seconds, "peer": address, "path": ..., "mode": ...}; the first line is
{"ready": PORT}.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import struct
import sys
import threading
import time
from pathlib import Path

HEAD_LIMIT = 65536


class Server:
    """Listens on one port of both families; a thread per connection."""

    def __init__(self, name: str, port: int, modes: Path | None, pages: dict[str, str]) -> None:
        self.name, self.modes, self.pages = name, modes, pages
        self.tls: ssl.SSLContext | None = None
        self.listener = _listen(port)
        self.port: int = self.listener.getsockname()[1]

    def mode(self) -> str:
        """The word in the mode file."""
        try:
            return (self.modes.read_text().strip() if self.modes else "") or "ok"
        except FileNotFoundError:
            return "ok"

    def serve(self) -> None:
        """Accept for ever."""
        say({"ready": self.port})
        while True:
            connection, peer = self.listener.accept()
            threading.Thread(target=self.talk, args=(connection, peer[0]), daemon=True).start()

    def talk(self, connection: socket.socket, peer: str) -> None:
        """Answer the requests of one connection."""
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                while (head := _head(connection)) and self.answer(connection, peer, head):
                    pass
        except OSError:
            return

    def answer(self, connection: socket.socket, peer: str, head: bytes) -> bool:
        """One request; whether the connection goes on."""
        method, path = head.decode("latin-1").split(" ", 2)[:2]
        mode = self.mode()
        say({"at": time.monotonic(), "peer": peer, "path": path, "mode": mode})
        if mode == "hang":
            while connection.recv(4096):
                pass
            return False
        if mode in ("reset", "close"):
            if mode == "reset":
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        body = self.pages.get(path, self.name + "\n").encode()
        if mode == "wrong":
            body = b"something else\n"
        status = "500 Internal Server Error" if mode == "500" else "200 OK"
        reply = f"HTTP/1.1 {status}\r\nServer: {self.name}\r\nContent-Length: {len(body)}\r\n\r\n"
        data = reply.encode() + (b"" if method == "HEAD" else body)
        for piece in [data] if mode != "slow" else [data[i : i + 1] for i in range(len(data))]:
            connection.sendall(piece)
            if mode == "slow":
                time.sleep(1)
        close = b"\r\nconnection: close" in head.lower() or b" HTTP/1.0\r\n" in head
        return not close


def say(line: dict[str, object]) -> None:
    """One JSON line on stdout, at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _listen(port: int) -> socket.socket:
    try:
        listener = socket.socket(socket.AF_INET6)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:
        listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(128)
    return listener


def _head(connection: socket.socket) -> bytes:
    """A request up to the empty line; empty at the end of the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        if not data or len(head) > HEAD_LIMIT:
            return b""
        head += data
    return head


def main(argv: list[str] | None = None) -> None:
    """The command line; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--mode-file", type=Path)
    parser.add_argument("--page", action="append", default=[], metavar="PATH=TEXT")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    options = parser.parse_args(argv)
    pages = dict(page.split("=", 1) for page in options.page)
    server = Server(options.name, options.port, options.mode_file, pages)
    if options.tls:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(*options.tls)
    server.serve()


if __name__ == "__main__":
    main()
