"""Echo requests on loopback, and in a network namespace of their own where silence is needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from ipaddress import ip_address

import pytest

from lvsd.checks.engine import Engine
from lvsd.checks.ping import Pinger, checksum
from lvsd.checks.reactor import Reactor
from lvsd.core.model import Check, CheckKind, Family
from tests.checks.kinds import Results, ask, condition

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("no_leaks")]

PROGRAM = """
import asyncio, sys
from ipaddress import ip_address
from lvsd.checks.engine import Engine
from lvsd.core.model import Check, CheckKind

async def main():
    verdict = asyncio.get_running_loop().create_future()
    engine = Engine(lambda result: verdict.done() or verdict.set_result(result))
    address, attempts = ip_address(sys.argv[1]), int(sys.argv[2])
    check = Check(CheckKind.PING, address, 0, 60.0, 0.8, attempts=attempts)
    engine.set_checks([check])
    engine.trigger(check)
    result = await verdict
    print(result.passed, result.reason, 0.8 <= result.latency <= 1.3, sep="|")
    engine.close()

asyncio.run(main())
"""


def isolated(setup: str, address: str, attempts: int = 1) -> str:
    """The verdict of one ping in a namespace that `setup` prepared; it ends with the process."""
    command = f'{setup}\nexec "$0" -c "$1" {address} {attempts}'
    ran = subprocess.run(
        ["unshare", "--net", "sh", "-ec", command, sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "::1"])
async def test_a_living_host_answers(address: str) -> None:
    result = await ask(Check(CheckKind.PING, ip_address(address), 0, 60.0, 2.0))
    assert (result.passed, result.reason) == (True, "echo reply")
    assert result.latency < 1


async def test_many_pings_share_one_socket_and_none_is_mixed_up() -> None:
    results = Results()
    engine = Engine(results)
    addresses = [ip_address(f"127.0.{n}.1") for n in range(200)]
    engine.set_checks(Check(CheckKind.PING, a, 0, 60.0, 2.0) for a in addresses)
    await results.until(200)
    engine.close()
    assert all(r.passed for r in results.all)
    assert {r.check.address for r in results.all} == set(addresses)


async def test_a_reply_from_another_host_does_not_count() -> None:
    reactor = Reactor(asyncio.get_running_loop())
    pinger = reactor.shared("ping", lambda: Pinger(reactor, Family.INET))
    answered = []
    here, there = ip_address("127.0.0.1"), ip_address("127.0.0.2")
    wrong = pinger.expect(there, lambda: answered.append("wrong"))
    right = pinger.expect(here, lambda: answered.append("right"))
    pinger.send(here, wrong)
    pinger.send(here, right)  # replies arrive in this order
    await condition(lambda: bool(answered))
    reactor.close()
    assert answered == ["right"]


def test_a_silent_host_is_down_in_time() -> None:
    setup = "ip link set lo up; echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all"
    assert isolated(setup, "127.0.0.1", 3) == "False|no echo reply within 0.8 s|True"


def test_a_silent_ipv6_host_is_down_in_time() -> None:
    setup = "ip link set lo up; echo 1 > /proc/sys/net/ipv6/icmp/echo_ignore_all"
    assert isolated(setup, "::1") == "False|no echo reply within 0.8 s|True"


def test_a_later_attempt_counts() -> None:
    setup = (
        "ip link set lo up; echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all\n"
        # the second request goes out after 0.4 s; the host answers as soon as Python has begun
        '(while ! grep -qs "^ *[0-9]*: 00000000:0001" /proc/net/raw; do :; done;'
        " echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_all) &"
    )
    assert isolated(setup, "127.0.0.1", 2).startswith("True|echo reply")


def test_a_host_without_route_fails_at_once() -> None:
    assert isolated("true", "192.0.2.1") == "False|network unreachable|False"


def test_an_unprivileged_process_uses_the_datagram_socket() -> None:
    setup = "ip link set lo up; echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"
    command = f'{setup}\nexec setpriv --bounding-set -net_raw "$0" -c "$1" 127.0.0.1 1'
    ran = subprocess.run(
        ["unshare", "--net", "sh", "-ec", command, sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.stdout.startswith("True|echo reply"), ran.stderr


@pytest.mark.parametrize(("data", "total"), [(b"", 0xFFFF), (b"\x01", 0xFEFF), (b"\xff\xff", 0)])
def test_checksum(data: bytes, total: int) -> None:
    assert checksum(data) == total
