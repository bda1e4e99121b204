"""The netlink channel where IPVS is missing or talks nonsense; no kernel with IPVS needed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct

import pytest

from lvsd.core.model import SyncDaemon, SyncRole
from lvsd.linux import KernelError
from lvsd.linux.ipvs import Ipvs, channel, errors, lookup

FAMILY = 30


def reply(kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def entry(sequence: int, attributes: bytes = b"", flags: int = 2) -> bytes:
    return reply(FAMILY, sequence, bytes(4) + attributes, flags)


def done(sequence: int, flags: int = 2) -> bytes:
    return reply(3, sequence, bytes(4), flags)


def failed(sequence: int, number: int) -> bytes:
    return reply(2, sequence, struct.pack("=i", -number) + bytes(16))


class Kernel:
    """The other end of the channel's sockets: each conversation follows the script given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *script: list[bytes]) -> None:
        self.script = list(script)
        self.ends: list[socket.socket] = []
        monkeypatch.setattr(channel, "_open", self.open)

    def open(self) -> tuple[socket.socket, int]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        for datagram in self.script.pop(0):
            theirs.send(datagram)
        self.ends.append(theirs)
        return ours, FAMILY

    def close(self) -> None:
        for end in self.ends:
            end.close()


async def test_a_kernel_without_ipvs_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookup, "FAMILY_NAME", "IPVS_ABSENT")
    with pytest.raises(KernelError, match="no IPVS: load it with `modprobe ip_vs`") as refused:
        await Ipvs.open()
    assert refused.value.errno == errno.ENOENT


async def test_a_dump_that_was_interrupted_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted = [entry(1, b"old"), done(1, flags=2 | 0x10), entry(2, b"new!") + done(2)]
    kernel = Kernel(monkeypatch, interrupted)
    talk = channel.Channel()
    assert await talk.dump([(4, b"")]) == [[b"new!"]]
    talk.close()
    kernel.close()


async def test_a_table_that_never_rests_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, [done(n, flags=2 | 0x10) for n in range(1, 9)])
    with pytest.raises(KernelError, match="faster than it can be read"):
        await channel.Channel().dump([(4, b"")])
    kernel.close()


async def test_replies_to_somebody_else_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, [failed(77, 5), failed(1, errno.EEXIST) + failed(2, 0)])
    talk = channel.Channel()
    assert await talk.batch([(5, b""), (5, b"")]) == {0: errno.EEXIST}
    talk.close()
    kernel.close()


async def test_a_silent_kernel_ends_in_an_error_and_a_new_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "TIME_LIMIT", 0.05)
    kernel = Kernel(monkeypatch, [], [failed(2, 0)])
    talk = channel.Channel()
    with pytest.raises(KernelError, match="did not answer") as late:
        await talk.batch([(5, b"")])
    assert late.value.errno == errno.ETIMEDOUT
    assert await talk.batch([(5, b"")]) == {}
    talk.close()
    kernel.close()


@pytest.mark.parametrize("garbage", [bytes(16), struct.pack("=IHHII", 99, 2, 0, 1, 0)])
async def test_a_message_of_a_wrong_length_is_an_error_not_a_stall(
    monkeypatch: pytest.MonkeyPatch, garbage: bytes
) -> None:
    kernel = Kernel(monkeypatch, [garbage])
    async with asyncio.timeout(5):
        with pytest.raises(KernelError, match="wrong length"):
            await channel.Channel().dump([(4, b"")])
    kernel.close()


async def test_an_unreadable_entry_is_an_error_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch, [entry(1, b"\xff\xff\x01\x80") + done(1)])
    ipvs = Ipvs(channel.Channel())
    with pytest.raises(KernelError, match="unreadable IPVS dump"):
        await ipvs.read_table()
    ipvs.close()
    kernel.close()


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOMEM, errno.EINVAL, errno.EIO])
def test_every_refusal_of_a_sync_daemon_is_one_clear_line(number: int) -> None:
    daemon = SyncDaemon(SyncRole.MASTER, "eth1", 51)
    for error in (
        errors.sync_error(SyncRole.MASTER, daemon, number),
        errors.sync_error(SyncRole.MASTER, None, number),
    ):
        assert error.errno == number
        assert str(error).startswith("ipvsadm --st")
        assert "\n" not in str(error)


def test_general_reasons_keep_the_words_of_ipvsadm() -> None:
    assert errors.general_reason(errno.ENOMEM) == "Memory allocation problem"
    assert "CAP_NET_ADMIN" in errors.general_reason(errno.EPERM)
    assert errors.general_reason(errno.EIO) == os.strerror(errno.EIO)
