"""One generic netlink socket for IPVS: transactions with sequence numbers and time limits.

One transaction at a time (a lock), because the kernel allows one dump per socket. IPVS answers
inside the send call, so a reply is usually there at once and the loop is only asked to wait when it
is not. Batches carry the ACK flag on their last message alone: the kernel still answers each
message that fails, with its sequence number, and one reply ends the batch. A transaction that
fails or is cancelled leaves replies behind, so its socket is thrown away and the next one opens
another.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from lvsd.linux import KernelError
from lvsd.linux.ipvs import errors, lookup

#: A message of a transaction: IPVS command and its attributes.
Request = tuple[int, bytes]

#: Seconds one transaction may take (dumping 10,000 entries takes well below one).
TIME_LIMIT = 10.0
#: Tries of a dump that somebody else's changes interrupt.
DUMP_TRIES = 5

_BATCH_MESSAGES = 300
_BATCH_BYTES = 60_000
#: Seconds of a dump before the loop gets its turn.
_TURN = 0.002
_BUFFER = 1 << 20
_RECEIVE = 1 << 16

_MESSAGE = struct.Struct("=IHHIIBBxx")
_NLMSGHDR = struct.Struct("=IHHII")
_ERRNO = struct.Struct("=i")
_GENERIC = lookup.HEADER_SIZE
_NETLINK_GENERIC = 16
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _DUMP_INTR = 0x1, 0x4, 0x300, 0x10
_SOL_NETLINK, _CAP_ACK, _SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 270, 10, 32, 33

Reply = tuple[int, int, int, memoryview]
#: Messages with one and the same header: type, flags, sequence, and what follows the header.
Run = tuple[int, int, int, Sequence[bytes]]


def _open() -> tuple[socket.socket, int]:
    """A socket and the family number of IPVS. Blocks while the kernel loads the module."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC)
    try:
        sock.bind((0, 0))
        sock.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        for forced, plain in (
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
        ):
            try:
                sock.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except PermissionError:
                sock.setsockopt(socket.SOL_SOCKET, plain, _BUFFER)
        family = _lookup(sock)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock, family


def _lookup(sock: socket.socket) -> int:
    sock.settimeout(TIME_LIMIT)
    attributes = lookup.family_request()
    sock.send(_packed(lookup.GENL_ID_CTRL, _REQUEST, 0, (lookup.CMD_GET_FAMILY, attributes)))
    for kind, _, _, body in _replies(sock.recv(_RECEIVE)):
        if kind != _NLMSG_ERROR:
            return lookup.family_number(bytes(body[4:]))
        number = -_ERRNO.unpack_from(body)[0]
        raise KernelError(number, errors.NO_IPVS if number == errno.ENOENT else _plain(number))
    raise KernelError(errno.EBADMSG, "the kernel gave an empty answer to the lookup of IPVS")


def _plain(number: int) -> str:
    return f"IPVS: {errors.general_reason(number)}"


def _packed(family: int, flags: int, sequence: int, request: Request) -> bytes:
    command, attributes = request
    size = lookup.HEADER_SIZE + len(attributes)
    return _MESSAGE.pack(size, family, flags, sequence, 0, command, 1) + attributes


def _replies(data: bytes) -> Iterator[Reply]:
    """(type, flags, sequence, body) of each message of a datagram."""
    view = memoryview(data)
    while len(view) >= _NLMSGHDR.size:
        length, kind, flags, sequence, _ = _NLMSGHDR.unpack_from(view)
        if not _NLMSGHDR.size <= length <= len(view):
            raise KernelError(errno.EBADMSG, "the kernel sent a netlink message of a wrong length")
        yield kind, flags, sequence, view[_NLMSGHDR.size : length]
        view = view[(length + 3) & ~3 :]


def _runs(data: bytes) -> Iterator[Run]:
    """The messages of a datagram of a dump, those of equal headers together.

    A bulky dump is thousands of messages of one size; they are cut without a turn of Python each.
    """
    if len(data) >= _GENERIC:
        length, kind, flags, sequence, _ = _NLMSGHDR.unpack_from(data)
        if length > _GENERIC and length % 4 == 0 and len(data) % length == 0:
            cut = struct.Struct(f"{_NLMSGHDR.size}s{length - _NLMSGHDR.size}s")
            headers, bodies = zip(*cut.iter_unpack(data), strict=True)
            if headers.count(headers[0]) == len(headers):
                yield kind, flags, sequence, bodies
                return
    for kind, flags, sequence, body in _replies(data):
        yield kind, flags, sequence, (bytes(body),)


class Channel:
    """A conversation with the kernel's IPVS."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._family = 0
        self._sequence = 0
        self._turn_until = 0.0

    async def open(self) -> None:
        """Find IPVS, which makes the kernel load it. Raises KernelError when there is none."""
        async with self._transaction():
            pass

    def close(self) -> None:
        """Give the socket back. A later transaction would open another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[socket.socket]:
        async with self._lock:
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    yield self._socket or await self._reopen()
            except TimeoutError as error:
                self.close()
                raise KernelError(errno.ETIMEDOUT, errors.NO_ANSWER) from error
            except OSError as error:
                self.close()
                number = error.errno or errno.EIO
                raise KernelError(number, _plain(number)) from error
            except BaseException:
                self.close()
                raise

    async def _reopen(self) -> socket.socket:
        sock, self._family = await asyncio.to_thread(_open)
        self._socket = sock
        return sock

    async def _receive(self, sock: socket.socket) -> bytes:
        try:
            return sock.recv(_RECEIVE)
        except BlockingIOError:
            return await asyncio.get_running_loop().sock_recv(sock, _RECEIVE)

    def _next(self) -> int:
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        return self._sequence

    async def batch(self, requests: Sequence[Request]) -> dict[int, int]:
        """Send writing requests, in as few sends as sensible; index → errno of those refused.

        A refused request does not stop those after it. The loop gets its turn between sends.
        """
        failures: dict[int, int] = {}
        start = 0
        while start < len(requests):
            end, size = start, 0
            while end < len(requests) and end - start < _BATCH_MESSAGES and size < _BATCH_BYTES:
                size += lookup.HEADER_SIZE + len(requests[end][1])
                end += 1
            async with self._transaction() as sock:
                refused = await self._send_batch(sock, requests[start:end])
            failures.update((start + index, number) for index, number in refused.items())
            start = end
            await asyncio.sleep(0)
        return failures

    async def _send_batch(self, sock: socket.socket, requests: Sequence[Request]) -> dict[int, int]:
        sequences = {self._next(): index for index in range(len(requests))}
        last = self._sequence
        datagram = b"".join(
            _packed(self._family, _REQUEST | (_ACK if number == last else 0), number, request)
            for number, request in zip(sequences, requests, strict=True)
        )
        await asyncio.get_running_loop().sock_sendall(sock, datagram)
        refused: dict[int, int] = {}
        while True:
            for kind, _, sequence, body in _replies(await self._receive(sock)):
                if kind != _NLMSG_ERROR or sequence not in sequences:
                    continue
                number = -_ERRNO.unpack_from(body)[0]
                if number:
                    refused[sequences[sequence]] = number
                if sequence == last:
                    return refused

    async def ask(self, command: int, attributes: bytes = b"") -> bytes:
        """The attributes of the one answer to a reading request. Raises KernelError."""
        async with self._transaction() as sock:
            sequence = self._next()
            sock.send(_packed(self._family, _REQUEST, sequence, (command, attributes)))
            while True:
                for kind, _, answered, body in _replies(await self._receive(sock)):
                    if answered == sequence:
                        return self._answer(kind, body)

    @staticmethod
    def _answer(kind: int, body: memoryview) -> bytes:
        if kind == _NLMSG_ERROR:
            number = -_ERRNO.unpack_from(body)[0]
            raise KernelError(number, _plain(number))
        return bytes(body[4:])

    async def dump(self, requests: Sequence[Request]) -> list[list[bytes]]:
        """For each reading request the attributes of every entry of its dump.

        Raises KernelError, also when other programs keep changing the table.
        """
        answers = []
        async with self._transaction() as sock:
            for request in requests:
                answers.append(await self._dump(sock, request))
        return answers

    async def _turn(self) -> None:
        """Give the loop its turn when this one has lasted."""
        now = time.monotonic()
        if now > self._turn_until:
            await asyncio.sleep(0)
            self._turn_until = time.monotonic() + _TURN

    async def _dump(self, sock: socket.socket, request: Request) -> list[bytes]:
        for _ in range(DUMP_TRIES):
            entries = await self._dump_once(sock, request)
            if entries is not None:
                return entries
        raise KernelError(errno.EINTR, errors.UNSTEADY)

    async def _dump_once(self, sock: socket.socket, request: Request) -> list[bytes] | None:
        """The entries, None when the table changed meanwhile (NLM_F_DUMP_INTR)."""
        sequence = self._next()
        sock.send(_packed(self._family, _REQUEST | _DUMP, sequence, request))
        entries: list[bytes] = []
        interrupted = False
        while True:
            await self._turn()
            for kind, flags, answered, bodies in _runs(await self._receive(sock)):
                if answered != sequence:
                    continue
                interrupted |= bool(flags & _DUMP_INTR)
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    (body,) = bodies
                    number = -_ERRNO.unpack_from(body)[0] if len(body) >= _ERRNO.size else 0
                    if number > 0:
                        raise KernelError(number, _plain(number))
                    return None if interrupted else entries
                entries += (body[4:] for body in bodies)
