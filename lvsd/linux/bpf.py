"""Classic BPF socket filters (linux/filter.h): the kernel drops what is not for us.

Only the few instructions needed. Every comparison with a set is a chain of "equal, accept"
pairs, so no jump is longer than its eight bits however large the set is.
"""

from __future__ import annotations

import socket
import struct
from array import array
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

Instruction = tuple[int, int, int, int]

SO_ATTACH_FILTER = 26
#: BPF_MAXINSNS of linux/bpf_common.h.
MAX_INSTRUCTIONS = 4096

_LD_W, _LD_H, _LD_B = 0x20, 0x28, 0x30
_LD_B_X = 0x50
_LDX_MSH = 0xB1  # X := 4 * (byte at k & 0x0f), the length of an IPv4 header
_JEQ = 0x15
_RET = 0x06
_ACCEPT: Instruction = (_RET, 0, 0, 0xFFFF)
_DROP: Instruction = (_RET, 0, 0, 0)

ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
_ICMPV6 = 58
_NEIGHBOUR_ADVERTISEMENT = 136
#: SKF_LL_OFF of linux/filter.h: offsets from here on are in the Ethernet header.
_LINK_LAYER = 0xFFE00000
_SENDER = 6
# Offsets in an Ethernet frame: the sender address of ARP; next header, type and target of NA.
_ARP_SENDER = 14 + 14
_NEXT_HEADER = 14 + 6
_ICMPV6_TYPE = 14 + 40
_NA_TARGET = 14 + 40 + 8


def vrrp_filter(vrids: Iterable[int], *, ipv4: bool, sender: bytes = b"") -> list[Instruction]:
    """Accept adverts for these VRIDs only; with `sender` those from this MAC only.

    Raw IPv4 sockets hand the filter the IP header too, raw IPv6 ones start at the payload.
    """
    load = [(_LDX_MSH, 0, 0, 0), (_LD_B_X, 0, 0, 1)] if ipv4 else [(_LD_B, 0, 0, 1)]
    return [*_from(sender), *load, *_one_of(sorted(vrids)), _DROP]


def _from(sender: bytes) -> list[Instruction]:
    if not sender:
        return []
    head, tail = struct.unpack("!IH", sender)
    return [
        (_LD_W, 0, 0, _LINK_LAYER + _SENDER),
        (_JEQ, 1, 0, head),
        _DROP,
        (_LD_H, 0, 0, _LINK_LAYER + _SENDER + 4),
        (_JEQ, 1, 0, tail),
        _DROP,
    ]


def arp_filter(addresses: Iterable[IPv4Address]) -> list[Instruction]:
    """Accept ARP frames whose sender claims one of these addresses."""
    return [(_LD_W, 0, 0, _ARP_SENDER), *_one_of(map(int, sorted(addresses))), _DROP]


def na_filter(addresses: Iterable[IPv6Address]) -> list[Instruction]:
    """Accept neighbour advertisements for these targets (any, if the set is too large)."""
    head = [
        (_LD_B, 0, 0, _NEXT_HEADER),
        (_JEQ, 1, 0, _ICMPV6),
        _DROP,
        (_LD_B, 0, 0, _ICMPV6_TYPE),
        (_JEQ, 1, 0, _NEIGHBOUR_ADVERTISEMENT),
        _DROP,
    ]
    targets = [i for address in sorted(addresses) for i in _target(address)]
    if len(head) + len(targets) + 1 > MAX_INSTRUCTIONS:
        return [*head, _ACCEPT]
    return [*head, *targets, _DROP]


def attach(sock: socket.socket, program: list[Instruction]) -> None:
    """Attach a program to a socket, replacing its former one. Raises OSError."""
    attach_code(sock, assemble(program))


def assemble(program: list[Instruction]) -> bytes:
    """A program as the kernel's struct sock_filter[]."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def attach_code(sock: socket.socket, code: bytes) -> None:
    """Attach an assembled program. Raises OSError."""
    memory = array("B", code)
    fprog = struct.pack("@HP", len(code) // 8, memory.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


def _one_of(values: Iterable[int]) -> list[Instruction]:
    return [i for value in values for i in ((_JEQ, 0, 1, value), _ACCEPT)]


def _target(address: IPv6Address) -> list[Instruction]:
    words = struct.unpack("!4I", address.packed)
    program: list[Instruction] = []
    for n, word in enumerate(words):
        to_next = 2 * (3 - n) + 1  # past the remaining pairs and the acceptance
        program += [(_LD_W, 0, 0, _NA_TARGET + 4 * n), (_JEQ, 0, to_next, word)]
    return [*program, _ACCEPT]
