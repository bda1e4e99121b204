"""What is read of interfaces and addresses is what pyroute2's parsers read of the same bytes.

A VRF, which not every kernel has, is one that pyroute2 has written.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from lvsd.linux.interface import (
    address_messages,
    interface_messages,
    read_address,
    read_interface,
)
from lvsd.linux.rtnl import AddressSocket
from tests.lab.layout import Layout
from tests.lab.topology import Topology

MACHINERY = (
    "link add a0 type veth peer name b0",
    "link set a0 up",
    "link add m0 link eth0 address 02:00:00:00:00:07 type macvlan mode private",
    "link add m1 link eth0 type macvlan mode bridge",
    "link add br0 type bridge",
    "link set b0 master br0",
    "addr add 10.5.0.1/24 dev a0",
    "addr add 10.5.0.2/32 dev a0 valid_lft 60 preferred_lft 60",
    "addr add 10.6.0.1 peer 10.6.0.2/32 dev eth0",
    "addr add fd05::1/64 dev eth0 nodad",
    "addr add fd05::2/128 dev eth0 valid_lft 60 preferred_lft 0 nodad",
)


def interface(message: Any) -> tuple[object, ...]:
    """As pyroute2 has it, in the order of Interface."""
    up, running, silent = (bool(message["flags"] & flag) for flag in (0x1, 0x40, 0x80))
    return (
        *(message.get("ifname"), message["index"], message.get("address").replace(":", "")),
        *(up and running, not silent, message.get("master") or 0),
        *(0, up, message.get(("linkinfo", "kind")) or ""),
        *(message.get(("linkinfo", "data", "macvlan_mode")) or "", message.get("link") or 0),
    )


def address(message: Any) -> tuple[object, ...]:
    """As pyroute2 has it: the index, then in the order of BoundAddress."""
    return (
        *(message["index"], message.get("local") or message.get("address")),
        *(message["prefixlen"], message["scope"], message["flags"]),
        *(message.get("proto") or 0, message.get("cacheinfo")["ifa_valid"] == 0xFFFFFFFF),
    )


def test_pyroute2_reads_the_same(topology: Callable[[Layout], Topology]) -> None:
    lab = topology(Layout.dr(reals=0, directors=1))
    lab.ip("dirA", MACHINERY)
    with closing(lab.inside("dirA", AddressSocket)) as kernel:
        links, addresses = [*interface_messages(kernel)], [*address_messages(kernel)]

    ours = [found for found in map(read_interface, links) if found]
    told = [(f.name, f.index, f.mac.hex(), *astuple(f)[3:]) for f in ours]
    assert told == [interface(m) for link in links for m in MarshalRtnl().parse(link)]
    assert {f.name: f.mode for f in ours if f.mode} == {"m0": "private", "m1": "bridge"}
    held = [
        (index, str(found.address), *astuple(found)[1:])
        for index, found in filter(None, map(read_address, addresses))
    ]
    assert held == [address(m) for each in addresses for m in MarshalRtnl().parse(each)]
    assert {row[1] for row in held} > {"10.5.0.2", "10.6.0.1", "fd05::2"}


def test_a_vrf_tells_its_table() -> None:
    data = {"attrs": [("IFLA_VRF_TABLE", 100000)]}
    info = {"attrs": [("IFLA_INFO_KIND", "vrf"), ("IFLA_INFO_DATA", data)]}
    message = ifinfmsg()
    message["index"] = 7
    message["attrs"] = [("IFLA_IFNAME", "red"), ("IFLA_LINKINFO", info)]
    message.encode()

    found = read_interface(bytes(message.data))

    assert found is not None
    assert (found.name, found.index, found.kind, found.table) == ("red", 7, "vrf", 100000)
