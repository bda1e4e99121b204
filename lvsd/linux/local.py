"""What this host has: its addresses, for telling real servers that are this very director, and
its interfaces by name."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lvsd.core.model import IPAddress
from lvsd.linux import KernelError
from lvsd.linux.rtnl import PROTOCOL_VRRP

_TIME_LIMIT = 5.0


async def local_addresses() -> frozenset[IPAddress]:
    """Every address of every interface, without those that a VRRP daemon installed.

    Raises KernelError when the kernel does not answer.
    """
    try:
        async with asyncio.timeout(_TIME_LIMIT), AsyncIPRoute() as ipr:
            messages = [message async for message in await ipr.get_addr()]
    except (OSError, NetlinkError, TimeoutError) as error:
        number = getattr(error, "errno", None) or getattr(error, "code", None) or 0
        raise KernelError(int(number), f"ip address show: {error}") from error
    found = (
        message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        for message in messages
        if message.get_attr("IFA_PROTO") != PROTOCOL_VRRP
    )
    return frozenset(ip_address(text) for text in found if text)


def interface_index(name: str) -> int:
    """The number of an interface, which another of the same name does not get; 0 if none has it."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
