"""Every test here builds a segment with an lvsd and a foreign router on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.network import Network


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as made:
        yield made
