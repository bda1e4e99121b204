"""Whole daemons, without IPVS, on the machines of a topology: what tests of a pair share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

VIP, OTHER = "10.77.0.100", "10.77.0.101"
FIRST, SECOND = "10.77.0.11", "10.77.0.12"


def block(name: str, vrid: int, priority: int, *addresses: str, advertint: float = 0.2) -> str:
    """A `vrrp=` block, version 3."""
    lines = [
        f"vrrp={name}",
        "\tinterface=eth0",
        f"\tvirtualrouterid={vrid}",
        f"\tpriority={priority}",
        "\tversion=3",
        f"\tadvertint={advertint:g}",
        *(f"\taddress={address}" for address in addresses),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def settled(*addresses: str, advertint: float = 0.2) -> Iterator[tuple[Director, Director]]:
    """dirA, which is master with priority 150, and dirB, its backup with 100."""
    with Topology(Layout.dr(reals=0)) as lab:
        first, second = (
            Director(lab, node, config(priority, *addresses, advertint=advertint), table="none")
            for node, priority in (("dirA", 150), ("dirB", 100))
        )
        first.start()
        second.start()
        first.wait_state("master")
        second.wait_state("backup")
        wait_until(lambda: first.holds(addresses[0]), 5, "the VIP is bound")
        yield first, second
        first.stop()
        second.stop()


def config(priority: int, *addresses: str, advertint: float = 0.2) -> str:
    """The file of one director with one router."""
    return block("VI_1", 51, priority, *addresses, advertint=advertint)


def reload(director: Director, text: str) -> None:
    """Write another configuration and have it taken."""
    director.config.write_text(text)
    director.command("reload")


def router(director: Director) -> dict[str, Any]:
    """The status of the first router."""
    return dict(director.status()["vrrp"][0])


def events(director: Director) -> str:
    """What `lvsd events` prints."""
    return director.command("events")


def isolate(lab: Topology, *nodes: str, isolated: bool) -> None:
    """Whether these machines can reach everybody but each other, at the switch."""
    for node in nodes:
        words = ["bridge", "link", "set", "dev", lab.port(node)]
        lab.exec("sw", [*words, "isolated", "on" if isolated else "off"])


def drop_multicast(lab: Topology, *nodes: str, dropped: bool) -> None:
    """Whether the switch loses what goes to a group before it reaches these machines."""
    for node in nodes:
        words = ["bridge", "link", "set", "dev", lab.port(node)]
        lab.exec("sw", [*words, "mcast_flood", "off" if dropped else "on"])


def neighbour(lab: Topology, address: str, node: str = "client") -> str:
    """The MAC that a machine sends to for an address, "" if it has none."""
    words = lab.exec(node, ["ip", "neigh", "show", address]).stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def mac(lab: Topology, node: str) -> str:
    """The MAC of a machine's eth0."""
    words = lab.exec(node, ["ip", "-o", "link", "show", "eth0"]).stdout.split()
    return words[words.index("link/ether") + 1]
