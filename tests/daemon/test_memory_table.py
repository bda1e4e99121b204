"""The table of `--table=none` keeps the contract the kernel keeps."""

from __future__ import annotations

import pytest

from lvsd.linux.memory import MemoryTable
from tests.kernel.table_contract import TableContract


class TestMemoryTable(TableContract):
    @pytest.fixture
    async def kernel(self) -> MemoryTable:
        return await MemoryTable.open()
