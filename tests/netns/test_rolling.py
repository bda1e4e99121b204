"""An address leaves the VIP list of one director first, then of the other: nothing is lost."""

import os
import signal
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import Vip
from tests.interop.capture import Capture

pytestmark = pytest.mark.netns

BOTH = (Vip(ip_address("10.77.0.100"), 32), Vip(ip_address("10.77.0.101"), 32))


@pytest.mark.parametrize("advertint", [1.0, 0.1])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["master-first", "backup-first"])
def test_a_rolling_change_of_the_vip_list_loses_nothing(network, order, advertint):
    pair = network.pair()
    config = network.router(version=3, advertint=advertint, addresses=BOTH)
    configs = [replace(config, priority=150), config]
    for director, each in zip(pair, configs, strict=True):
        director.start(each)
    network.eventually(lambda: pair[0].state() == "master" and pair[1].state() == "backup")
    network.eventually(lambda: pair[0].holds() and pair[0].holds("10.77.0.101"))
    probe, owner, wire = network.ping(), network.own(pair[1]), Capture(network.client)

    for which in order:
        pair[which].write(replace(configs[which], addresses=BOTH[:1]))
        os.kill(pair[which].pid, signal.SIGHUP)
        network.eventually(lambda which=which: not pair[which].holds("10.77.0.101"))
        # Longer than a backup's patience: a list that differs must not count as silence.
        wire.wait_adverts(pair[0].address, 5)
    wire.close()

    assert probe.longest_gap() < 0.2
    assert not [at for at, held in owner.stop() if held]
    assert pair[1].state() == "backup"
