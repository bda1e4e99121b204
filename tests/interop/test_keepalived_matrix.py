"""What lvsd and keepalived 2.2.7 make of each other besides the usual pair.

Differences of keepalived's that are stated here: it drops an advert whose VIP list is not its own,
and one whose version 3 checksum leaves the pseudo-header out.
"""

from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, Track, TrackKind, Vip
from tests.interop.capture import Capture, message
from tests.interop.peers import Keepalived

pytestmark = [pytest.mark.interop, pytest.mark.netns]

VIP = "10.77.0.100"
UNICAST = "unicast_src_ip {}\n unicast_peer {{\n {}\n }}"
#: version, the addresses of the first and of the second router, the VIP.
CASES = {
    "v2-unicast": (2, "10.77.0.1", "10.77.0.2", VIP),
    "v3-unicast": (3, "10.77.0.1", "10.77.0.2", VIP),
    "v3-ipv6-unicast": (3, "fd77::1", "fd77::2", "fd77::100"),
}


@pytest.fixture
def wire(network):
    """What the client's interface hears."""
    capture = Capture(network.client)
    yield capture
    capture.close()


def vips(*addresses):
    return tuple(Vip(ip_address(address), 32) for address in addresses)


def heard(director):
    return director.states()[0]["counters"]


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def unicast(version, own, other, vip):
    """The configuration of lvsd's instance."""
    family = Family.of(ip_address(vip))
    length = 32 if family is Family.INET else 128
    return {
        "version": version,
        "family": family,
        "source": ip_address(own),
        "peers": (ip_address(other),),
        "addresses": (Vip(ip_address(vip), length),),
    }


def test_unicast_hands_over_from_lvsd(network, case):
    version, one, two, vip = case
    first, second = network.pair()
    first.start(network.router(priority=150, **unicast(version, one, two, vip)))
    more = UNICAST.format(two, one)
    with Keepalived(network, second, vip, version=version, more=more) as peer:
        network.eventually(lambda: first.state() == "master" and peer.state == "backup")
        network.eventually(lambda: first.holds(vip))
        probe = network.ping(vip)

        assert first.stop() == 0
        network.eventually(lambda: peer.state == "master" and second.holds(vip))

        assert probe.longest_gap() < 0.2


def test_unicast_hands_over_from_keepalived(network, case):
    version, one, two, vip = case
    first, second = network.pair()
    more = UNICAST.format(one, two)
    with Keepalived(network, first, vip, version=version, priority=150, more=more) as peer:
        network.eventually(lambda: first.holds(vip))
        second.start(network.router(**unicast(version, two, one, vip)))
        network.eventually(lambda: second.state() == "backup" and second.states()[0]["master"])

        peer.stop()

        network.eventually(lambda: second.state() == "master" and second.holds(vip))
    assert second.states()[0]["reason"] == f"{one} gave up"


def test_a_better_keepalived_comes_over_unicast_and_lvsd_yields(network, case):
    version, one, two, vip = case
    first, second = network.pair()
    first.start(network.router(priority=100, **unicast(version, one, two, vip)))
    network.eventually(lambda: first.state() == "master" and first.holds(vip))
    more = UNICAST.format(two, one)
    with Keepalived(network, second, vip, version=version, priority=150, more=more) as peer:
        network.eventually(lambda: first.state() == "backup" and not first.holds(vip))
        network.eventually(lambda: peer.state == "master" and second.holds(vip))


def test_a_better_lvsd_comes_over_unicast_and_keepalived_yields(network, case):
    version, one, two, vip = case
    first, second = network.pair()
    more = UNICAST.format(one, two)
    with Keepalived(network, first, vip, version=version, priority=100, more=more) as peer:
        network.eventually(lambda: first.holds(vip))
        second.start(network.router(priority=150, **unicast(version, two, one, vip)))

        network.eventually(lambda: second.state() == "master" and second.holds(vip))
        network.eventually(lambda: peer.state == "backup" and not first.holds(vip))


def test_of_equal_priorities_a_running_master_keeps_its_role_whatever_its_address(network, wire):
    """Backups accept an equal priority (RFC 5798 §6.4.2), so nothing moves."""
    first, second = network.pair()
    first.start(network.router(priority=100))  # the lower address
    network.eventually(lambda: first.state() == "master" and first.holds())
    with Keepalived(network, second, VIP, priority=100) as peer:
        network.eventually(lambda: peer.state == "backup")
        wire.wait_adverts("10.77.0.1", 5)

        assert peer.state == "backup"
        assert first.state() == "master"


def test_equal_masters_that_meet_settle_on_the_higher_address(network):
    first, second = network.pair()
    network.plug(second, connected=False)
    first.start(network.router(priority=100))
    with Keepalived(network, second, VIP, priority=100) as peer:
        network.eventually(lambda: first.state() == "master" and peer.state == "master")

        network.plug(second, connected=True)

        network.eventually(lambda: first.state() == "backup" and not first.holds())
        assert peer.state == "master"
        assert second.holds()


def test_a_better_keepalived_with_nopreempt_leaves_lvsd_master(network, wire):
    first, second = network.pair()
    first.start(network.router(priority=100))
    network.eventually(lambda: first.state() == "master")
    with Keepalived(network, second, VIP, priority=150, more="nopreempt") as peer:
        network.eventually(lambda: peer.state == "backup")
        wire.wait_adverts("10.77.0.1", 5)

        assert peer.state == "backup"
        assert first.state() == "master"


def test_a_better_lvsd_with_nopreempt_leaves_keepalived_master(network, wire):
    first, second = network.pair()
    with Keepalived(network, second, VIP, priority=100) as peer:
        network.eventually(second.holds)
        first.start(network.router(priority=150, preempt=False))
        network.eventually(lambda: first.state() == "backup" and first.states()[0]["master"])
        wire.wait_adverts("10.77.0.2", 5)

        assert first.state() == "backup"
        assert peer.state == "master"


def test_keepalived_drops_another_vip_list_and_lvsd_does_not(network, wire):
    """Two masters by keepalived's choice; lvsd yields as soon as the better one speaks."""
    first, second = network.pair()
    first.start(network.router(priority=150, addresses=vips(VIP, "10.77.0.101")))
    network.eventually(lambda: first.state() == "master")
    with Keepalived(network, second, VIP, priority=100) as peer:
        network.eventually(lambda: peer.state == "master")
        wire.wait_adverts("10.77.0.2", 3)

        assert first.state() == "master"


def test_lvsd_obeys_a_better_keepalived_with_another_vip_list(network):
    first, second = network.pair()
    first.start(network.router(priority=100, addresses=vips(VIP, "10.77.0.101")))
    network.eventually(lambda: first.state() == "master")
    with Keepalived(network, second, VIP, priority=150) as peer:
        network.eventually(lambda: first.state() == "backup")

        assert peer.state == "master"
        assert not heard(first)["rejected_checksum"]


def test_keepalived_rejects_version_3_without_the_pseudo_header(network):
    first, second = network.pair()
    first.start(network.router(version=3, priority=150, v3checksumasv2=True))
    network.eventually(lambda: first.state() == "master")
    with Keepalived(network, second, VIP, version=3, priority=100) as peer:
        network.eventually(lambda: peer.state == "master")

        assert "hecksum" in peer.log


def test_keepalived_s_checksum_has_the_pseudo_header_and_status_says_so(network):
    first, second = network.pair()
    with Keepalived(network, first, VIP, version=3, priority=150):
        network.eventually(first.holds)
        second.start(network.router(version=3, v3checksumasv2=True))
        network.eventually(lambda: second.state() == "backup" and second.states()[0]["master"])

        network.eventually(lambda: second.states()[0]["checksum_reading"])
        assert "without" not in second.states()[0]["checksum_reading"]
        assert not heard(second)["rejected_checksum"]
        network.eventually(lambda: "checksum_reading_differed" in second.log)
        assert "v3checksumasv2=no would do so too" in second.log


REVERSED = {"eth1": 20, "eth2": -30}


def priority(wire, source):
    """That of the last advert of a host, 0 before the first."""
    found = wire.adverts(source)
    return message(found[-1]).priority if found else 0


def test_reversed_weights_make_the_same_priority(network, wire):
    """One master each of a router of its own, tracking the same two interfaces."""
    first, second = network.pair()
    for director in (first, second):
        for name in REVERSED:
            inside, other_end = ("-n", director.namespace, "link"), f"far{name}"
            network.ip(*inside, "add", name, "type", "veth", "peer", "name", other_end)
            for end in (name, other_end):
                network.ip(*inside, "set", end, "up")
    tracks = tuple(Track(TrackKind.INTERFACE, n, w, reverse=True) for n, w in REVERSED.items())
    lines = "\n".join(f"{name} weight {weight} reverse" for name, weight in REVERSED.items())
    other = {"vrid": 52, "addresses": vips("10.77.0.101"), "tracks": tracks}
    with Keepalived(network, first, VIP, more=f"track_interface {{\n{lines}\n}}"):
        second.start(network.router(**other))

        for down, expected in ((), 80), (("eth1",), 100), (("eth1", "eth2"), 130):
            for director in (first, second):
                for name in down:
                    network.ip("-n", director.namespace, "link", "set", name, "down")
            for host in ("10.77.0.1", "10.77.0.2"):
                wire.wait_for(
                    lambda host=host, expected=expected: priority(wire, host) == expected,
                    f"priority {expected} from {host}",
                )
