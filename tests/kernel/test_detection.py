"""A real server that misbehaves is at weight 0 in time, measured in the kernel's own table.

The bound: interval + (N - 1) * max(interval, timeout) + timeout + 0.5 s, N the failure count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.lab.cluster import Cluster
from tests.lab.layout import Layout
from tests.lab.topology import Topology
from tests.lab.weights import weights

INTERVAL, TIMEOUT, FAILURES = 1.0, 1.0, 2
BOUND = INTERVAL + (FAILURES - 1) * max(INTERVAL, TIMEOUT) + TIMEOUT + 0.5
#: What emulation costs on top: programs run some twenty times slower there.
SLOWNESS = 1.0 if os.environ.get("LVSD_IN_VM") else 0.0

CONFIG = """\
checkinterval=1
checktimeout=1
failurecount=2
quiescent=yes
virtual=10.77.0.100:80
\treal=10.77.0.21:80 gate
\treal=10.77.0.22:80 gate
\tservice=http
\trequest="/health"
\treceive="all is well"
\tscheduler=rr
"""
#: The same servers, asked so seldom that only a watch connection can tell in time.
WATCHED = """\
virtual=10.77.0.100:81
\treal=10.77.0.21:81 gate
\treal=10.77.0.22:81 gate
\tcheckport=80
\tchecktype=connect
\tcheckinterval=3600
\tfailurecount=3
\twatch=yes
\tfailfast=yes
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Topology(Layout.dr(directors=1)) as lab:
        yield Cluster.build(
            lab, CONFIG + WATCHED, lambda node: {"/health": "all is well\n"}
        ).start()


def wait_weight(lab: Topology, weight: int, timeout: float, port: int = 80) -> float:
    """When the kernel's table has rs2 (10.77.0.22) at this weight."""
    deadline = time.monotonic() + timeout
    while lab.inside("dirA", weights)[f"10.77.0.22:{port}"] != weight:
        assert time.monotonic() < deadline, f"not at weight {weight} within {timeout} s"
        time.sleep(0.01)
    return time.monotonic()


@pytest.mark.parametrize("failure", ["wrong", "500", "refuse", "reset", "close", "hang", "slow"])
def test_a_failing_real_is_at_weight_0_in_time(
    cluster: Cluster, failure: str, record_property: pytest.RecordProperty
) -> None:
    lab, victim, director = cluster.lab, cluster.reals[1], cluster.directors[0]
    wait_weight(lab, 1, 30)

    at = victim.kill() if failure == "refuse" else victim.mode(failure)
    out = wait_weight(lab, 0, BOUND + SLOWNESS + 5) - at

    record_property("weight 0 after, s", f"{out:.2f} (bound {BOUND} + {SLOWNESS})")
    print(f"{failure}: weight 0 after {out:.2f} s (bound {BOUND:.1f} s)")
    assert out <= BOUND + SLOWNESS
    assert lab.inside("dirA", weights)["10.77.0.21:80"] == 1, "the healthy one stays"
    reason = director.real("10.77.0.22:80")["reason"]
    assert reason, "there is a reason"

    if failure == "refuse":
        victim.start()
    victim.mode("ok")
    wait_weight(lab, 1, 30)


def test_a_watched_process_that_dies_is_out_at_once_and_back_when_it_returns(
    cluster: Cluster, record_property: pytest.RecordProperty
) -> None:
    lab, victim = cluster.lab, cluster.reals[1]
    wait_weight(lab, 1, 30, port=81)

    at = victim.kill()
    out = wait_weight(lab, 0, 30, port=81) - at
    victim.start()
    wait_weight(lab, 1, 60, port=81)

    record_property("weight 0 after, s", f"{out:.3f}")
    print(f"watched: weight 0 after {out:.3f} s, checked every hour")
    assert lab.inside("dirA", weights)["10.77.0.21:81"] == 1, "the healthy one stays"
