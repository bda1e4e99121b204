"""Certificates and the proof that nothing leaks."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.checks import certificates


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return certificates.authority()


@pytest.fixture(scope="session")
def cafile(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority's certificate in a file."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """A server's context with a certificate for www.example.test and 127.0.0.1."""
    return certificates.server_side()


def descriptors() -> set[str]:
    """What the descriptors of this process point at, sockets and the like by number."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:  # the listing's own
            continue
    return found


def awaited() -> set[str]:
    """The threads with which Python 3.11's asyncio waits for processes, by name."""
    return {one.name for one in threading.enumerate() if "-waitpid-" in one.name}


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fails the test when it leaves descriptors open, or processes that nobody waited for."""
    before = descriptors()
    yield
    deadline = asyncio.get_running_loop().time() + 5
    while leaked := (descriptors() - before) | awaited():
        gc.collect()
        assert asyncio.get_running_loop().time() < deadline, f"leaked: {leaked}"
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)  # the loop hears of the end of a process
