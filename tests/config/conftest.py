"""Loading text without the network and without this machine's interfaces."""

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from lvsd.config import loads
from lvsd.config.addresses import Resolver
from lvsd.core.model import Config, Family, IPAddress

Load = Callable[..., Config]


class LocalResolver(Resolver):
    """Knows localhost; every other host name does not exist."""

    def host(self, name: str, family: Family) -> IPAddress:
        if name != "localhost":
            raise LookupError("Name or service not known")
        return ip_address("127.0.0.1" if family is Family.INET else "::1")


@pytest.fixture(scope="session")
def load_text() -> Load:
    """Load the text of a file called t.conf, on a machine with lo, eth0 and eth1."""

    def load(text: str | bytes, *, node: str = "dir1", path: str = "t.conf") -> Config:
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        interfaces = ("lo", "eth0", "eth1")
        return loads(data, path, node=node, resolver=LocalResolver(), interfaces=interfaces)

    return load
