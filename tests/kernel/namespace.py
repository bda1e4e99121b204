"""An empty IPVS table for each test, in a network namespace of its own: never the host's."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from lvsd.core.plan import DelService
from lvsd.linux.ipvs import Ipvs

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def own_namespace() -> Iterator[None]:
    """Enter a new namespace (loopback up), leave it again; threads started inside share it.

    Nameless: the kernel drops it with the last thing that uses it, also when a test is killed.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _checked(_libc.unshare(_CLONE_NEWNET))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        _checked(_libc.setns(home, _CLONE_NEWNET))
        os.close(home)


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    """One namespace for all tests of a module; making one takes most of a second in a VM."""
    with own_namespace():
        yield


@pytest.fixture
async def kernel(namespace: None) -> AsyncIterator[Ipvs]:
    """The kernel's table, empty, and emptied again whatever the test did."""
    ipvs = await Ipvs.open()
    try:
        yield ipvs
        for daemon in await ipvs.sync_daemons():
            await ipvs.stop_sync(daemon.role)
        assert await ipvs.apply([DelService(key) for key in await ipvs.read_table()]) == []
    finally:
        ipvs.close()
