"""The applier keeps its promises on the table of `--table=none`."""

from __future__ import annotations

import pytest

from lvsd.linux.memory import MemoryTable
from tests.daemon.applier_contract import ApplierContract


class TestOnMemory(ApplierContract):
    """Every promise, anywhere."""

    @pytest.fixture
    async def kernel(self) -> MemoryTable:
        return await MemoryTable.open()
