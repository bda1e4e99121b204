"""The applier keeps its promises on the kernel's own table."""

from __future__ import annotations

import pytest

from tests.daemon.applier_contract import ApplierContract
from tests.kernel.namespace import kernel, namespace

pytestmark = pytest.mark.kernel

__all__ = ["kernel", "namespace"]


class TestOnKernel(ApplierContract):
    """Every promise, in a kernel with IPVS."""
