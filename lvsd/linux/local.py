"""What this host has: its addresses, for telling real servers that are this very director, and
its interfaces by name."""

from __future__ import annotations

import contextlib
import socket

from lvsd.core.model import IPAddress
from lvsd.linux import KernelError
from lvsd.linux.interface import address_messages, read_address
from lvsd.linux.rtnl import PROTOCOL_VRRP, AddressSocket


def local_addresses() -> frozenset[IPAddress]:
    """Every address of every interface, without those that a VRRP daemon installed.

    Raises KernelError when the kernel does not answer.
    """
    try:
        with contextlib.closing(AddressSocket()) as kernel:
            told = [read_address(message) for message in address_messages(kernel)]
    except OSError as error:
        raise KernelError(error.errno or 0, f"ip address show: {error}") from error
    found = [entry for _, entry in filter(None, told)]
    return frozenset(entry.address for entry in found if entry.protocol != PROTOCOL_VRRP)


def interface_index(name: str) -> int:
    """The number of an interface, which another of the same name does not get; 0 if none has it."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
