"""The kernel's own table keeps the contract of `table_contract`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from lvsd.linux.ipvs import Ipvs
from tests.kernel.namespace import own_namespace
from tests.kernel.table_contract import TableContract

pytestmark = pytest.mark.kernel


@pytest.fixture
def namespace() -> Iterator[None]:
    with own_namespace():
        yield


class TestIpvs(TableContract):
    @pytest.fixture
    async def kernel(self, namespace: None) -> AsyncIterator[Ipvs]:
        ipvs = await Ipvs.open()
        try:
            yield ipvs
        finally:
            ipvs.close()
