"""An independent decoder, scapy, reads every packet of an election and a hand-over.

One segment, two directors, and an instance of each kind on both at once: the packets are captured
once, and each test looks at one thing about them. The second director forwards IPv6.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP
from scapy.utils import checksum

from lvsd.core.model import Family, Vip
from tests.interop.capture import Capture, message, network
from tests.netns.network import Director, Network

pytestmark = [pytest.mark.interop, pytest.mark.netns]

PRIORITY = {1: 150, 2: 100}
GROUPS = {
    4: ("224.0.0.18", "01:00:5e:00:00:12"),
    6: ("ff02::12", "33:33:00:00:00:12"),
}
EXCLUDED = "10.77.0.190"


@dataclass(frozen=True)
class Instance:
    """One kind of instance; its VRID and addresses follow from its number."""

    number: int
    version: int
    family: int = 4
    unicast: bool = False
    authpass: bytes = b""
    excluded: tuple[str, ...] = ()
    pseudo_header: bool = True

    @property
    def vrid(self) -> int:
        return 50 + self.number

    @property
    def advertised(self) -> list[str]:
        if self.family == 4:
            return [f"10.77.0.{100 + self.number}"]
        return [f"fe80::ab:{self.number}", f"fd77::ab:cd{self.number:02x}"]

    @property
    def announced(self) -> list[str]:
        return [*self.advertised, *self.excluded]

    def source(self, director: int) -> str:
        """What its adverts come from; a unicast IPv6 instance is told its address."""
        if self.family == 4:
            return f"10.77.0.{director}"
        return f"fd77::{director}" if self.unicast else f"fe80::ff:fe77:{director}"

    def destination(self, director: int) -> tuple[str, str]:
        """Where its adverts go: address and MAC."""
        other = 3 - director
        return (self.source(other), mac(other)) if self.unicast else GROUPS[self.family]

    def router(self, director: int) -> Any:
        length = 32 if self.family == 4 else 128
        return Network.router(
            name=f"VI_{self.vrid}",
            vrid=self.vrid,
            priority=PRIORITY[director],
            version=self.version,
            family=Family.INET if self.family == 4 else Family.INET6,
            addresses=tuple(Vip(ip_address(address), length) for address in self.advertised),
            excluded=tuple(Vip(ip_address(address), 32) for address in self.excluded),
            authpass=self.authpass,
            v3checksumasv2=not self.pseudo_header,
            source=ip_address(self.source(director)) if self.unicast else None,
            peers=(ip_address(self.source(3 - director)),) if self.unicast else (),
            garpmasterdelay=1.0,
        )


INSTANCES = {
    "v2": Instance(1, 2, excluded=(EXCLUDED,)),
    "v2 PASS": Instance(2, 2, authpass=b"1111"),
    "v2 unicast": Instance(3, 2, unicast=True),
    "v3": Instance(4, 3),
    "v3 without pseudo-header": Instance(5, 3, pseudo_header=False),
    "v3 unicast": Instance(6, 3, unicast=True),
    "v3 IPv6": Instance(7, 3, family=6),
    "v3 IPv6 unicast": Instance(8, 3, family=6, unicast=True),
}
EVERY_INSTANCE = pytest.mark.parametrize("instance", INSTANCES.values(), ids=INSTANCES.keys())
EITHER = pytest.mark.parametrize("director", [1, 2])


def mac(director: int) -> str:
    return f"02:00:00:77:00:{director:02x}"


@dataclass(frozen=True)
class Wire:
    """The packets of the scenario: those of both directors, and those the client saw."""

    directors: Capture
    client: Capture
    #: The multicast groups of each director's eth0 while the first was master.
    groups: dict[int, str]


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with Network(tmp_path_factory.mktemp("decoder")) as net:
        first, second = net.pair()
        second.python("open('/proc/sys/net/ipv6/conf/eth0/forwarding', 'w').write('1')")
        made = Wire(Capture(second.namespace), Capture(net.client), {})
        play(net, first, second, made)
        made.directors.read()
        made.client.read()
        yield made
        made.directors.close()
        made.client.close()


def play(net: Network, first: Director, second: Director, wire: Wire) -> None:
    """The first becomes master, the second its backup; the first stops."""
    first.start(*(instance.router(1) for instance in INSTANCES.values()))
    net.eventually(lambda: are(first, "master"))
    second.start(*(instance.router(2) for instance in INSTANCES.values()))
    wait_announced(wire.directors, mac(1))
    net.eventually(lambda: are(second, "backup"))
    wire.groups.update({1: groups(first), 2: groups(second)})
    ask(net, wire.client, "10.77.0.101")
    ask(net, wire.client, INSTANCES["v3 IPv6"].advertised[1])
    wire.directors.wait_adverts(mac(1), 2 * len(INSTANCES))
    assert first.stop() == 0
    net.eventually(lambda: are(second, "master"))
    wait_announced(wire.directors, mac(2))
    wire.directors.wait_adverts(mac(2), 2 * len(INSTANCES))


def are(director: Director, state: str) -> bool:
    states = [router["state"] for router in director.states()]
    return len(states) == len(INSTANCES) and set(states) == {state}


def groups(director: Director) -> str:
    command = ["ip", "-n", director.namespace, "-6", "maddress", "show", "dev", "eth0"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_announced(capture: Capture, source: str) -> None:
    """Until the second burst is out."""
    for instance in INSTANCES.values():
        for address in instance.announced:
            capture.wait_for(
                lambda address=address: len(capture.announcements(source, address)) >= 10,
                f"{source} did not announce {address} ten times",
            )


def ask(net: Network, capture: Capture, address: str) -> None:
    """Let the client ask for the MAC of an address."""
    probe = net.ping(address)
    capture.wait_for(lambda: answers(capture, address), f"nobody answers for {address}")
    probe.stop()


def answers(capture: Capture, address: str) -> list[tuple[str, str]]:
    """(Ethernet source, MAC told) of each answer to a request for an address."""
    found = []
    for frame in capture.read():
        if ARP in frame and frame[ARP].op == 2 and frame[ARP].psrc == address:
            found.append((frame.src, frame[ARP].hwsrc))
        elif ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].S and frame[ICMPv6ND_NA].tgt == address:
            found.append((frame.src, frame[ICMPv6NDOptDstLLAddr].lladdr))
    return found


def adverts(wire: Wire, instance: Instance, director: int) -> list[Any]:
    """The adverts of an instance; each test looks at some."""
    found = wire.directors.adverts(mac(director), vrid=instance.vrid)
    assert len(found) >= 2
    return found


@EITHER
@EVERY_INSTANCE
def test_every_advert_has_the_header_that_the_rfcs_ask_for(wire, instance, director):
    address, link = instance.destination(director)
    for frame in adverts(wire, instance, director):
        packet = network(frame)
        assert (frame.src, frame.dst) == (mac(director), link)
        assert (packet.version, packet.src) == (instance.family, instance.source(director))
        assert packet.dst == address
        if instance.family == 4:
            assert (packet.ttl, packet.tos, packet.proto) == (255, 0xC0, 112)
            assert (packet.ihl, packet.frag, packet.len) == (5, 0, 20 + len(message(frame)))
        else:
            assert (packet.hlim, packet.tc, packet.nh) == (255, 0xC0, 112)


@EITHER
@EVERY_INSTANCE
def test_every_advert_has_the_fields_of_its_instance(wire, instance, director):
    said = [message(frame) for frame in adverts(wire, instance, director)]
    for advert in said:
        assert (advert.version, advert.type, advert.vrid) == (instance.version, 1, instance.vrid)
        assert (advert.ipcount, advert.addrlist) == (
            len(instance.advertised),
            instance.advertised,  # in order, and without the excluded
        )
        if instance.version == 2:
            assert advert.adv == 1
            assert advert.authtype == (1 if instance.authpass else 0)
            assert advert.auth1 == int.from_bytes(instance.authpass)
            assert advert.auth2 == 0
        else:
            assert (advert.res, advert.adv) == (0, 100)
    priorities = [advert.priority for advert in said]
    if director == 1:
        assert priorities[-1] == 0  # the orderly stop
        priorities = [priority for priority in priorities if priority]
    assert set(priorities) == {PRIORITY[director]}


@EITHER
@EVERY_INSTANCE
def test_every_checksum_is_the_one_that_scapy_computes(wire, instance, director):
    for frame in adverts(wire, instance, director):
        again = network(frame).copy()
        given = message(again).chksum
        if instance.pseudo_header:
            del message(again).chksum
            assert message(type(again)(bytes(again))).chksum == given
        else:  # scapy knows one reading of version 3 only
            assert checksum(bytes(message(frame))) == 0
        if instance.family == 4:
            given = again.chksum
            del again.chksum
            assert type(again)(bytes(again)).chksum == given


@EITHER
@EVERY_INSTANCE
def test_each_address_is_announced_five_times_and_five_times_again(wire, instance, director):
    for address in instance.announced:
        frames = wire.directors.announcements(mac(director), address)

        assert len(frames) == 10
        for frame in frames:
            check = check_arp if instance.family == 4 or address == EXCLUDED else check_na
            check(frame, mac(director), address, router=director == 2)


def check_arp(frame, source, address, router):
    arp = frame[ARP]
    assert (frame.dst, arp.op, arp.hwsrc) == ("ff:ff:ff:ff:ff:ff", 1, source)
    assert (arp.psrc, arp.pdst, arp.hwdst) == (address, address, "ff:ff:ff:ff:ff:ff")


def check_na(frame, source, address, router):
    packet, told = frame[IPv6], frame[ICMPv6ND_NA]
    assert (frame.dst, packet.dst) == ("33:33:00:00:00:01", "ff02::1")
    assert (packet.src, packet.hlim, packet.nh) == (address, 255, 58)
    assert (told.tgt, told.R, told.S, told.O) == (address, router, 0, 1)
    assert frame[ICMPv6NDOptDstLLAddr].lladdr == source
    given = told.cksum
    again = packet.copy()
    del again[ICMPv6ND_NA].cksum
    assert IPv6(bytes(again))[ICMPv6ND_NA].cksum == given


@pytest.mark.parametrize("address", ["10.77.0.101", INSTANCES["v3 IPv6"].advertised[1]])
def test_requests_for_the_address_are_answered_by_the_master(wire, address):
    assert set(answers(wire.client, address)) == {(mac(1), mac(1))}


def test_the_master_alone_is_in_the_solicited_node_group(wire):
    for instance in INSTANCES.values():
        if instance.family == 6:
            tail = int(ip_address(instance.advertised[1])) & 0xFFFFFF
            group = str(ip_address(int(ip_address("ff02::1:ff00:0")) + tail))
            assert group in wire.groups[1].split()
            assert group not in wire.groups[2].split()


def test_nobody_sends_router_advertisements(wire):
    assert not [frame for frame in wire.directors.frames if ICMPv6ND_RA in frame]


def test_a_unicast_advert_goes_to_nobody_else(wire):
    vrids = {instance.vrid for instance in INSTANCES.values() if instance.unicast}
    seen = {message(frame).vrid for frame in wire.client.frames if message(frame) is not None}
    assert seen
    assert not seen & vrids
