"""Announcements on the wire: all of them, no closer than asked for, and adverts in between."""

import itertools
import json
import subprocess
import sys
from ipaddress import ip_address

import pytest

from lvsd.core.model import Pace, Vip
from lvsd.daemon.messages import pace_to_wire

pytestmark = pytest.mark.netns

ADDRESSES = [ip_address(f"10.77.0.{n}") for n in range(100, 110)]
INTERVAL = 0.1
ADVERTINT = 0.2

#: Prints time and kind of each ARP sender and each VRRP packet, until its stdin closes.
LISTEN = """
import select, socket, struct, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind(("eth0", 0))
sock.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS: when it came, not when it was read
print("ready", flush=True)
while True:
    ready, _, _ = select.select([sock, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    frame, told, _, _ = sock.recvmsg(2048, 64)
    seconds, nanoseconds = struct.unpack("qq", told[0][2])
    at = seconds + nanoseconds / 1e9
    if frame[12:14] == b"\\x08\\x06":
        print(at, socket.inet_ntoa(frame[28:32]), flush=True)
    elif frame[12:14] == b"\\x08\\x00" and frame[23] == 112:
        print(at, "advert", flush=True)
"""


@pytest.fixture
def heard(network):
    """A file that fills with the lines of LISTEN in the client."""
    path = network.folder / "heard"
    with path.open("w") as file:
        process = subprocess.Popen(
            ["ip", "netns", "exec", network.client, sys.executable, "-c", LISTEN],
            stdin=subprocess.PIPE,
            stdout=file,
        )
    network.eventually(lambda: "ready" in path.read_text())
    yield lambda: [line.split() for line in path.read_text().splitlines()[1:]]
    process.communicate()


def test_many_addresses_are_announced_at_the_pace_asked_for(network, heard):
    one = network.director(1)
    vips = tuple(Vip(address, 32) for address in ADDRESSES)
    words = {"version": 3, "advertint": ADVERTINT, "lease": False, "garpmasterdelay": 0.0}
    one.write(network.router(addresses=vips, garpmasterrepeat=2, **words))
    document = one.folder / "routers.json"
    paces = [pace_to_wire(Pace(("eth0",), garpinterval=INTERVAL))]
    document.write_text(json.dumps(json.loads(document.read_text()) | {"paces": paces}))
    one.launch()

    said = {str(address) for address in ADDRESSES}

    def announced():
        return [(float(at), what) for at, what in heard() if what in said]

    network.eventually(lambda: len(announced()) == 2 * len(ADDRESSES))
    assert [what for _, what in announced()] == [str(address) for address in ADDRESSES] * 2
    # A busy machine may send one late; the whole cannot be faster than asked for.
    times = [at for at, _ in announced()]
    assert times[-1] - times[0] > (len(times) - 2) * INTERVAL
    # Nor do they hold up the adverts: two announcements are due to each.
    kinds = ["advert" if what == "advert" else "announcement" for _, what in heard()]
    runs = [(kind, len([*run])) for kind, run in itertools.groupby(kinds)]
    assert max(length for kind, length in runs if kind == "announcement") <= 4
