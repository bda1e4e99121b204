"""An independent decoder, scapy, reads every packet of an election and a hand-over."""

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP
from scapy.layers.vrrp import VRRP, VRRPv3

from tests.interop.capture import Capture

pytestmark = [pytest.mark.interop, pytest.mark.netns]

FIRST, SECOND = "10.77.0.1", "10.77.0.2"


@pytest.mark.parametrize("version", [2, 3])
def test_scapy_agrees_with_every_packet_of_an_election_and_a_hand_over(network, version):
    first, second = network.pair()
    wire = Capture(network.client)
    first.start(network.router(version=version, priority=150))
    network.eventually(lambda: first.state() == "master" and first.holds())
    second.start(network.router(version=version, priority=100))
    network.eventually(lambda: second.state() == "backup")
    wire.wait_adverts(FIRST, 2)
    assert first.stop() == 0
    network.eventually(lambda: second.state() == "master" and second.holds())
    wire.wait_adverts(SECOND, 1)

    for source, priority in ((FIRST, 150), (SECOND, 100)):
        adverts = wire.adverts(source)
        assert len(adverts) >= 2
        for frame in adverts:
            check_advert(frame, version, priority)
    said = [frame[VRRP if version == 2 else VRRPv3].priority for frame in wire.adverts(FIRST)]
    assert said[-1] == 0
    assert set(said[:-1]) <= {150, 0}
    for number in (1, 2):
        check_announcements(wire, f"02:00:00:77:00:{number:02x}")
    wire.close()


def check_advert(frame, version, priority):
    ip, kind = frame[IP], VRRP if version == 2 else VRRPv3
    assert (frame.dst, ip.dst) == ("01:00:5e:00:00:12", "224.0.0.18")
    assert (ip.ttl, ip.tos, ip.proto) == (255, 0xC0, 112)
    message = frame[kind]
    assert (message.version, message.type, message.vrid) == (version, 1, 51)
    assert message.priority in (priority, 0)
    assert (message.ipcount, message.addrlist) == (1, ["10.77.0.100"])
    assert message.adv == (1 if version == 2 else 100)
    if version == 2:
        assert (message.authtype, message.auth1, message.auth2) == (0, 0, 0)
    again = ip.copy()  # scapy fills both checksums in anew
    given = (again.chksum, again[kind].chksum)
    del again.chksum, again[kind].chksum
    made = IP(bytes(again))
    assert (made.chksum, made[kind].chksum) == given


def check_announcements(wire, mac):
    announced = [f for f in wire.frames if ARP in f and f[ARP].psrc == "10.77.0.100"]
    mine = [f for f in announced if f.src == mac]
    assert len(mine) >= 5
    for frame in mine:
        arp = frame[ARP]
        assert (frame.dst, arp.op, arp.hwsrc) == ("ff:ff:ff:ff:ff:ff", 1, mac)
        assert (arp.pdst, arp.hwdst) == ("10.77.0.100", "ff:ff:ff:ff:ff:ff")
