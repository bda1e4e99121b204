"""Thousands of real servers for one director: one machine, one cheap process, all of 10.78/16.

The process answers any HTTP request at once and counts what it has answered, in memory shared
with the bench; another does so over TLS. They are not part of any figure.
"""

from __future__ import annotations

import mmap
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.daemons import Daemon, Job
from tests.checks.certificates import server_side
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

PAGE = b"<html>healthy</html>\n"


@dataclass(frozen=True, slots=True)
class Farm:
    """The lab with a farm behind dirA."""

    lab: Topology
    counter: mmap.mmap

    @property
    def served(self) -> int:
        """Requests answered so far."""
        return sum(struct.unpack("=QQ", self.counter[:16]))

    @contextmanager
    def running(self, kind: Callable[[Topology, str, Job], Daemon], job: Job) -> Iterator[Daemon]:
        """A daemon on dirA that has asked every real server twice."""
        distinct = len({real for _, reals in job.farm() for real in reals})
        asked = distinct if kind.__name__ == "Lvsd" else job.reals * _copies(job)
        daemon = kind(self.lab, "dirA", job)
        before = self.served
        daemon.start()
        try:
            try:
                wait_until(lambda: self.served >= before + 2 * asked, 60, "everything is asked")
            except AssertionError:
                print(f"--- {daemon.name}\n{daemon.log()[-3000:]}", file=sys.stderr)
                raise
            time.sleep(1)
            yield daemon
        finally:
            daemon.kill_everything()


def _copies(job: Job) -> int:
    return job.services if job.shared else 1


@contextmanager
def farm() -> Iterator[Farm]:
    """Build it; everything is gone at the end."""
    counter = mmap.mmap(-1, 16)
    with Topology(layout()) as lab:
        lab.ip("farm", ["route add local 10.78.0.0/16 dev lo"])
        for node in ("dirA", "dirB"):
            lab.ip(node, ["route add 10.78.0.0/16 via 10.77.0.50"])

        context = server_side()  # with a key that is made once

        def main(argv: list[str]) -> None:
            answer(socket.create_server(("", 80), backlog=4096), PAGE, counter)

        def main_tls(argv: list[str]) -> None:
            listener = socket.create_server(("", 443), backlog=4096)
            answer_tls(listener, context, counter)

        lab.fork("farm", main, [])
        lab.fork("farm", main_tls, [])
        yield Farm(lab, counter)


def layout() -> Layout:
    plain = Layout.dr(reals=0)
    return Layout("dr", directors=plain.directors, extra={"farm": ("10.77.0.50/24",)})


def answer(listener: socket.socket, page: bytes, counter: mmap.mmap | None = None) -> None:
    """Answer every request with a page, for ever; a bare epoll loop."""
    reply = whole(page)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    served = 0
    while True:
        for fd, _mask in poll.poll():
            if fd == listener.fileno():
                accept(listener, poll, clients)
                continue
            client = clients.pop(fd)
            try:
                if client.recv(4096):
                    client.send(reply)
                    served += 1
            except OSError:
                pass  # reset: the checker is closing
            finally:
                client.close()
        if counter is not None:
            counter[:8] = struct.pack("=Q", served)


def answer_tls(listener: socket.socket, context: ssl.SSLContext, counter: mmap.mmap) -> None:
    """The same over TLS, counted in the second place."""
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    fresh: dict[int, socket.socket] = {}
    clients: dict[int, ssl.SSLSocket] = {}
    served = 0
    while True:
        for fd, _mask in poll.poll():
            if fd == listener.fileno():
                accept(listener, poll, fresh)
                for number, plain in fresh.items():
                    clients[number] = secured(plain, context)
                fresh.clear()
                continue
            client = clients[fd]
            try:
                if client.recv(4096):  # shakes hands first
                    client.send(whole(PAGE))
                    served += 1
            except ssl.SSLWantReadError:
                continue
            except OSError:
                pass
            del clients[fd]
            client.close()
        counter[8:16] = struct.pack("=Q", served)


def secured(plain: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection whose hands are shaken as data arrives."""
    plain.setblocking(False)
    return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)


def whole(page: bytes) -> bytes:
    """A page with the head of its answer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % len(page) + page


def accept(listener: socket.socket, poll: select.epoll, clients: dict[int, socket.socket]) -> None:
    """Take everything that waits."""
    while True:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        clients[client.fileno()] = client
        poll.register(client.fileno(), select.EPOLLIN)
