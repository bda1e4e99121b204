"""What the kernel tells of neighbours: a reason to ask them again, or none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from lvsd.core.model import IPAddress
from lvsd.linux.neighbours import Neighbours
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

REAL = ip_address("10.77.0.21")


class Doubts:
    """What the kernel of the director has cast doubt on so far."""

    def __init__(self, lab: Topology) -> None:
        self.lab = lab
        self.source = lab.inside("dirA", Neighbours)
        self.found: list[IPAddress] = []

    def look(self) -> list[IPAddress]:
        self.found += self.source.receive()
        return self.found

    def send(self) -> None:
        """Have the real server's address resolved."""

        def datagram() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"", (str(REAL), 9))

        self.lab.inside("dirA", datagram)

    def forget(self) -> None:
        """The director forgets the neighbour, which is a reason of its own."""
        self.lab.ip("dirA", ["neigh flush dev eth0"])
        self.wait()
        self.found.clear()

    def resolved(self) -> bool:
        return "lladdr" in self.lab.exec("dirA", ["ip", "neigh", "show", str(REAL)]).stdout

    def wait(self) -> None:
        wait_until(lambda: REAL in self.look(), 30, f"doubt about {REAL}")


@pytest.fixture
def doubts(topology: Callable[[Layout], Topology]) -> Iterator[Doubts]:
    doubts = Doubts(topology(Layout.dr(reals=1)))
    doubts.send()
    wait_until(doubts.resolved, 30, f"{REAL} is known")
    yield doubts
    doubts.source.close()


def test_a_neighbour_that_answers_is_no_reason(doubts: Doubts) -> None:
    doubts.send()

    assert doubts.look() == []


def test_another_mac_is_a_reason(doubts: Doubts) -> None:
    doubts.lab.ip("rs1", ["link set eth0 address 02:00:00:77:99:99"])
    doubts.forget()

    doubts.send()

    doubts.wait()


def test_an_interface_that_goes_down_is_a_reason(doubts: Doubts) -> None:
    doubts.lab.ip("dirA", ["link set eth0 down"])

    doubts.wait()


def test_one_that_does_not_answer_any_more_is_a_reason(doubts: Doubts) -> None:
    doubts.lab.ip("rs1", ["link set eth0 down"])
    doubts.forget()

    doubts.send()

    doubts.wait()


def test_garbage_is_passed_over(doubts: Doubts) -> None:
    for length in range(64):
        assert [*doubts.source._doubts(b"\1" * length)] == []
    assert [*doubts.source._doubts(b"\x1c\0\0\0\x1c\0" + bytes(24))] == []
    nameless = b"\x1c\0\0\0\x1d\0" + bytes(10) + b"\2" + bytes(11)  # no address at all
    assert [*doubts.source._doubts(nameless)] == []
