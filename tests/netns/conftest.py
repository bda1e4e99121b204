"""Every test here may build a segment with directors on it; it is removed whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.network import Network


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as made:
        yield made
