"""Sync daemons on netlink: what is asked for is what a dump says."""

from ipaddress import ip_address

import pytest

from lvsd.core.model import SyncDaemon, SyncRole
from lvsd.linux.ipvs.messages import daemon_request, read_daemon

PLAIN = SyncDaemon(SyncRole.BACKUP, "eth1", 51)


@pytest.mark.parametrize(
    "daemon",
    [
        PLAIN,
        SyncDaemon(SyncRole.MASTER, "eth1", 0, 9000, 3, ip_address("239.0.0.1"), 1000),
        SyncDaemon(SyncRole.MASTER, "eth1", 255, group=ip_address("ff02::51")),
    ],
)
def test_a_request_reads_back(daemon):
    read = read_daemon(daemon_request(daemon.role, daemon))
    assert (read, read.maxlen) == (daemon, daemon.maxlen)


def test_defaults_are_left_to_the_kernel():
    assert len(daemon_request(PLAIN.role, PLAIN)) < len(
        daemon_request(PLAIN.role, SyncDaemon(PLAIN.role, "eth1", 51, ttl=2))
    )
