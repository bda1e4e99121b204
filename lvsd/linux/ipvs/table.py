"""The kernel's IPVS table and sync daemons behind model objects.

Reading is a dump of the services and one dump of destinations per service. Writing is `apply`:
steps become struct-packed messages sent in batches. What is remembered between calls (the socket,
the layout of dump entries, `reader`) never stands for the table: whoever else writes it is seen by
the next read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lvsd.core.model import (
    DestinationKey,
    ServiceEntry,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Table,
    Usage,
    VirtualService,
)
from lvsd.core.plan import Step
from lvsd.linux import KernelError
from lvsd.linux.ipvs import codec, errors, lookup
from lvsd.linux.ipvs.channel import DUMP_TRIES, Channel
from lvsd.linux.ipvs.reader import SLICE, Reader, Torn

_Dumps = list[tuple[VirtualService, list[bytes]]]


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except codec.DecodeError as error:
        raise KernelError(errno.EBADMSG, f"unreadable IPVS dump: {error}") from error


def _messages() -> Any:
    """The module of the rare requests; it loads pyroute2, which few directors ever need."""
    from lvsd.linux.ipvs import messages

    return messages


class Ipvs:
    """IPVS of the network namespace the process is in.

    `writes` counts the writing messages sent, so a test can prove that nothing was sent.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._decoder = codec.DestinationDecoder()
        self._reader = Reader(self._decoder)
        self._lock = asyncio.Lock()
        self.writes = 0

    @classmethod
    async def open(cls) -> Ipvs:
        """Find IPVS, which loads the module where that is allowed.

        Raises KernelError: ENOENT with what to do when the kernel has no IPVS, EPERM without
        CAP_NET_ADMIN.
        """
        ipvs = cls(Channel())
        await ipvs._channel.open()
        try:
            await ipvs.info()
        except KernelError:
            ipvs.close()
            raise
        return ipvs

    def close(self) -> None:
        """Close the socket; the table stays as it is."""
        self._channel.close()

    async def _dump(self) -> _Dumps:
        """Every service, and the entries of its destinations as the kernel sends them."""
        async with self._lock:
            (found,) = await self._channel.dump([(codec.CMD_GET_SERVICE, b"")])
            services = [*map(self._reader.service, found)]
            asked = [(codec.CMD_GET_DEST, codec.encode_key(s.key)) for s in services]
            dumps = await self._channel.dump(asked)
        return [*zip(services, dumps, strict=True)]

    async def read_table(self, expected: Mapping[ServiceKey, ServiceEntry] | None = None) -> Table:
        """Every service with its destinations in the order they were added.

        Entries that the kernel holds as `expected` are those very objects; this makes reading them
        cheap, and so does having read them before. A larger service that is neither is read twice,
        for the kernel does not say what was removed while it was read. Raises KernelError.
        """
        surprised = False
        with _readable():
            for _ in range(DUMP_TRIES):
                self._reader.surprised = False
                with contextlib.suppress(Torn):
                    found = await self._read(expected or {})
                    if surprised or not self._reader.surprised:
                        return found
                    surprised = True
        raise KernelError(errno.EINTR, errors.UNSTEADY)

    async def _read(self, expected: Mapping[ServiceKey, ServiceEntry]) -> Table:
        dumps = await self._dump()
        self._reader.forget({service.key for service, _ in dumps})
        return {
            service.key: await self._reader.entry(service, dump, expected.get(service.key))
            for service, dump in dumps
        }

    async def read_usage(self) -> Mapping[tuple[ServiceKey, DestinationKey], Usage]:
        """Connections and totals of every destination. Raises KernelError.

        The kernel sums up the totals every two seconds; connections are of this moment.
        """
        found: dict[tuple[ServiceKey, DestinationKey], Usage] = {}
        with _readable():
            for service, dump in await self._dump():
                for number, data in enumerate(reversed(dump), 1):
                    destination, usage = self._decoder.decode(data, service.key.family)
                    found[service.key, destination.key] = usage
                    if number % SLICE == 0:
                        await asyncio.sleep(0)
        return found

    async def apply(self, steps: Sequence[Step]) -> list[tuple[Step, KernelError]]:
        """Send the steps in this order; the refused ones come back with the reason.

        A refused step does not stop those after it. Raises KernelError only when the kernel
        cannot be talked to at all; then part of the steps may have been applied.
        """
        requests = []
        key, packed = None, b""
        for number, step in enumerate(steps, 1):
            if step.key is not key:
                key, packed = step.key, codec.encode_key(step.key)
            requests.append(codec.encode_step(step, packed))
            if number % SLICE == 0:
                await asyncio.sleep(0)
        async with self._lock:
            self.writes += len(requests)
            refused = await self._channel.batch(requests)
        return [
            (steps[index], errors.step_error(steps[index], number))
            for index, number in sorted(refused.items())
        ]

    async def sync_daemons(self) -> tuple[SyncDaemon, ...]:
        """The connection synchronisation threads that run, master first."""
        messages = _messages()
        (found,) = await self._channel.dump([(messages.CMD_GET_DAEMON, b"")])
        return tuple(sorted(map(messages.read_daemon, found), key=lambda daemon: daemon.role))

    async def start_sync(self, daemon: SyncDaemon) -> None:
        """Start a thread. Raises KernelError, e.g. ENODEV, or EEXIST if its role runs already."""
        await self._sync(_messages().CMD_NEW_DAEMON, daemon.role, daemon)

    async def stop_sync(self, role: SyncRole) -> None:
        """Stop the thread of this role. Raises KernelError, ESRCH if none runs."""
        await self._sync(_messages().CMD_DEL_DAEMON, role, None)

    async def _sync(self, command: int, role: SyncRole, daemon: SyncDaemon | None) -> None:
        self.writes += 1
        request = (command, _messages().daemon_request(role, daemon))
        for number in (await self._channel.batch([request])).values():
            raise errors.sync_error(role, daemon, number)

    async def timeouts(self) -> tuple[int, int, int]:
        """Connection timeouts of tcp, tcpfin and udp in seconds (`ipvsadm --set`)."""
        messages = _messages()
        tcp, tcp_fin, udp = messages.read_timeouts(await self._channel.ask(messages.CMD_GET_CONFIG))
        return tcp, tcp_fin, udp

    async def set_timeouts(self, tcp: int = 0, tcp_fin: int = 0, udp: int = 0) -> None:
        """Set connection timeouts in seconds; 0 leaves one as it is. Raises KernelError."""
        self.writes += 1
        messages = _messages()
        request = (messages.CMD_SET_CONFIG, messages.timeouts_request(tcp, tcp_fin, udp))
        for number in (await self._channel.batch([request])).values():
            raise KernelError(number, f"ipvsadm --set {tcp} {tcp_fin} {udp}: errno {number}")

    async def info(self) -> tuple[str, int]:
        """Version of IPVS (`1.2.1`) and size of its connection table."""
        return lookup.read_info(await self._channel.ask(lookup.CMD_GET_INFO))
