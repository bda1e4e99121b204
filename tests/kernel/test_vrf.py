"""A pair of directors whose interface belongs to a VRF: multicast, unicast and IPv6."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

VIPS = {"10.77.0.100", "10.77.0.101", "fd77::100"}
TABLE = 1010
#: The operator's own: the same words as in the configuration, without lvsd's protocol.
RULE = "from 10.77.0.100 priority 99 table 99"
COMMON = "interface=eth0\n\tpriority=dirA:150,dirB:100"
CONFIG = f"""\
vrrp=MULTICAST
\t{COMMON}
\tvirtualrouterid=51
\taddress=10.77.0.100
\troute=10.90.0.0/16 via 10.77.0.2 src 10.77.0.100
\troute=fd90::/16 via fd77::2
\troute=10.91.0.0/16 via 10.77.0.2 table 99 onlink
\trule={RULE} notrack
\tsyncgroup=ALL
vrrp=UNICAST
\t{COMMON}
\tvirtualrouterid=52
\taddress=10.77.0.101
\tpeer=10.77.0.11
\tpeer=10.77.0.12
\tsyncgroup=ALL
vrrp=SIX
\t{COMMON}
\tvirtualrouterid=53
\taddress=fd77::100
\tsyncgroup=ALL
"""


@pytest.fixture
def pair() -> Iterator[tuple[Director, Director]]:
    with Topology(Layout.dr(reals=0)) as lab:
        for number, node in ((11, "dirA"), (12, "dirB")):
            lab.ip(
                node,
                [
                    f"link add blue type vrf table {TABLE}",
                    "link set blue up",
                    "link set eth0 master blue",
                    # Entering a VRF takes the IPv6 addresses away.
                    f"address replace fd77::{number}/64 dev eth0 nodad",
                    f"rule add {RULE}",
                ],
            )
        made = [Director(lab, node, CONFIG, table="none").start() for node in ("dirA", "dirB")]
        yield made[0], made[1]
        for director in made:
            if director.process is not None and director.process.alive():
                director.stop()


def states(director: Director) -> set[str]:
    return {router["state"] for router in director.status().get("vrrp", [])}


def routes(director: Director, table: object) -> set[str]:
    """Destinations of our routes in a table."""
    found = set()
    for family in ("-4", "-6"):
        words = ["ip", family, "route", "show", "table", str(table), "proto", "18"]
        said = director.lab.exec(director.node, words, check=False).stdout  # it may not exist
        found |= {line.split()[0] for line in said.splitlines()}
    return found


def serves(director: Director) -> bool:
    """Everything a master has, where it belongs."""
    return (
        states(director) == {"master"}
        and director.lab.addresses(director.node) >= VIPS
        and routes(director, TABLE) >= {"10.90.0.0/16", "fd90::/16"}
        and routes(director, 99) == {"10.91.0.0/16"}
    )


def idles(director: Director) -> bool:
    held = director.lab.addresses(director.node) & VIPS
    return not held and not routes(director, TABLE) and not routes(director, 99)


def test_a_pair_in_a_vrf_hands_over_both_ways(pair: tuple[Director, Director]) -> None:
    first, second = pair
    lab = first.lab
    wait_until(lambda: serves(first), 60, f"dirA serves:\n{first.log()}")
    wait_until(lambda: states(second) == {"backup"} and idles(second), 30, "dirB is backup")
    wait_until(lambda: all(r["last_heard"] for r in second.status()["vrrp"]), 30, "adverts arrive")
    for vip in VIPS:
        lab.exec("client", ["ping", "-c", "1", "-W", "2", vip])
    assert not routes(first, "main")

    first.command("stepdown")
    wait_until(lambda: serves(second) and idles(first), 30, "dirB serves")
    second.kill_main()
    wait_until(lambda: serves(first) and idles(second), 30, "the guard of dirB hands over")

    lab.exec("dirA", ["ip", "link", "set", "eth0", "nomaster"])
    lab.exec("dirA", ["ip", "address", "replace", "fd77::11/64", "dev", "eth0", "nodad"])
    moved = {"10.90.0.0/16", "fd90::/16"}
    wait_until(lambda: routes(first, "main") == moved, 60, "the routes leave with the interface")
    assert not routes(first, TABLE)

    assert first.stop() == 0
    for director in pair:
        assert "from 10.77.0.100 lookup 99" in lab.exec(director.node, ["ip", "rule"]).stdout
