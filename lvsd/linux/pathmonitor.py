"""Notifications about our routes and about rules, with everything else left in the kernel.

A director may carry a full routing table, whose changes must not wake the process that sends
adverts. So the socket has a filter: of routes it takes those to our destinations, of rules the
removals, and nothing that we asked for ourselves. What the kernel does not tell (IPv4 routes go
silently with an interface or an address) is seen from there. linux/rtnetlink.h;
SKF_AD_NLATTR of linux/filter.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator

from lvsd.core.model import Family, Prefix
from lvsd.linux import bpf
from lvsd.linux.bpf import Instruction
from lvsd.linux.route import DELROUTE, DELRULE, NEWROUTE

#: Datagrams read per wake-up.
BATCH = 64

# RTNLGRP_IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE and _IPV6_RULE as bits.
_GROUPS = 0x40 | 0x80 | 0x400 | 0x40000
_LARGEST = 1 << 15
_LD_W, _LD_H, _LD_B, _LD_IMM, _LD_W_X = 0x20, 0x28, 0x30, 0x00, 0x40
_LDX_IMM, _TAX, _JEQ, _RET = 0x01, 0x07, 0x15, 0x06
#: A := offset of the attribute of type X, searched from offset A on; 0 where there is none.
_FIND_ATTRIBUTE: Instruction = (_LD_W, 0, 0, 0xFFFFF000 + 12)
_ACCEPT: Instruction = (_RET, 0, 0, 0xFFFF)
_DROP: Instruction = (_RET, 0, 0, 0)
# Offsets in nlmsghdr and rtmsg.
_TYPE, _PORT, _FAMILY, _ATTRIBUTES = 4, 12, 16, 28
_RTA_DST = 1


class PathMonitor:
    """The event socket. Raises OSError when it cannot be opened.

    `port` is the netlink port of our own requests.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._aim: frozenset[Prefix] = frozenset()
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        try:
            bpf.attach(self._socket, path_filter((), port))
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def aim(self, destinations: Iterable[Prefix]) -> None:
        """Hear of routes to these destinations from now on. Raises OSError."""
        aim = frozenset(destinations)
        if aim != self._aim:
            bpf.attach(self._socket, path_filter(sorted(aim, key=str), self._port))
            self._aim = aim

    def receive(self, limit: int = BATCH) -> Iterator[bytes]:
        """Up to `limit` notifications, as rtnetlink messages.

        Raises OSError when notifications were lost.
        """
        for _ in range(limit):
            try:
                yield self._socket.recv(_LARGEST)
            except BlockingIOError:
                return


def path_filter(destinations: Iterable[Prefix], port: int) -> list[Instruction]:
    """Accept rules that others removed, and routes to these destinations (to any, if too many).

    The loads read in network order, whatever the order of the message.
    """
    head = [
        (_LD_W, 0, 0, _PORT),
        (_JEQ, 0, 1, _swapped("=I", port)),
        _DROP,
        (_LD_H, 0, 0, _TYPE),
        (_JEQ, 4, 0, _swapped("=H", NEWROUTE)),
        (_JEQ, 3, 0, _swapped("=H", DELROUTE)),
        (_JEQ, 0, 1, _swapped("=H", DELRULE)),
        _ACCEPT,
        _DROP,
    ]
    blocks = [instruction for prefix in destinations for instruction in _destination(prefix)]
    if len(head) + len(blocks) + 1 > bpf.MAX_INSTRUCTIONS:
        return [*head, _ACCEPT]
    return [*head, *blocks, _DROP]


def _destination(prefix: Prefix) -> list[Instruction]:
    """Accept this one, else go on behind the block."""
    tests: list[tuple[Instruction, ...]] = []
    family = Family.of(prefix.address)
    tests.append(((_LD_H, 0, 0, _FAMILY), (_JEQ, 0, 0, family << 8 | prefix.length)))
    if prefix.length:
        find = ((_LD_IMM, 0, 0, _ATTRIBUTES), (_LDX_IMM, 0, 0, _RTA_DST), _FIND_ATTRIBUTE)
        words = struct.unpack(f"!{len(prefix.address.packed) // 4}I", prefix.address.packed)
        for n, word in enumerate(words):
            first = (*find, (_TAX, 0, 0, 0)) if n == 0 else ()
            tests.append((*first, (_LD_W_X, 0, 0, 4 + 4 * n), (_JEQ, 0, 0, word)))
    program = [instruction for test in tests for instruction in test]
    ends = len(program) + 1  # behind the acceptance
    return [
        (code, yes, ends - at - 1, k) if code == _JEQ else (code, yes, no, k)
        for at, (code, yes, no, k) in enumerate(program)
    ] + [_ACCEPT]


def _swapped(form: str, value: int) -> int:
    """A field in host order as a load in network order sees it."""
    return int.from_bytes(struct.pack(form, value), "big")
