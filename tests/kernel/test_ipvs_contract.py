"""The kernel's own table keeps the contract of `table_contract`."""

from __future__ import annotations

import pytest

from tests.kernel.namespace import kernel, namespace
from tests.kernel.table_contract import TableContract

pytestmark = pytest.mark.kernel

__all__ = ["kernel", "namespace"]


class TestIpvs(TableContract):
    """Every promise, kept by the kernel."""
