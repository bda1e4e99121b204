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


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Topology(Layout.dr(directors=1)) as lab:
        yield Cluster.build(lab, CONFIG, lambda node: {"/health": "all is well\n"}).start()


def wait_weight(lab: Topology, weight: int, timeout: float) -> float:
    """When the kernel's table has rs2 (10.77.0.22) at this weight."""
    deadline = time.monotonic() + timeout
    while lab.inside("dirA", weights)["10.77.0.22:80"] != weight:
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
