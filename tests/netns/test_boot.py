"""What a start learns from the system."""

import time

import pytest

pytestmark = pytest.mark.netns


def test_the_delay_after_boot_counts_from_the_boot(network):
    director = network.director(1)
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)

    director.start(network.router(delayafterboot=uptime + 4, priority=255))

    network.eventually(lambda: "after boot" in "".join(s["reason"] for s in director.states()))
    assert not director.holds()
    network.eventually(director.holds)
    assert time.clock_gettime(time.CLOCK_BOOTTIME) >= uptime + 4
