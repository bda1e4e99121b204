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
import select, socket, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sock.bind(("eth0", 0))
print("ready", flush=True)
while True:
    ready, _, _ = select.select([sock, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    frame = sock.recv(2048)
    if frame[12:14] == b"\\x08\\x06":
        print(time.monotonic(), socket.inet_ntoa(frame[28:32]), flush=True)
    elif frame[12:14] == b"\\x08\\x00" and frame[23] == 112:
        print(time.monotonic(), "advert", flush=True)
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


def gaps(times):
    return [later - earlier for earlier, later in itertools.pairwise(times)]


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
    # The client may be late to read one frame; the whole cannot be faster than asked for.
    times = [at for at, _ in announced()]
    assert times[-1] - times[0] > (len(times) - 2) * INTERVAL
    adverts = [float(at) for at, what in heard() if what == "advert"]
    assert max(gaps(adverts)) < 3 * ADVERTINT
