"""The files of the maintenance folder that name a real server by its port."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvsd.config import loads
from lvsd.daemon.maintenance import MaintenanceFolder


@pytest.mark.parametrize(
    ("real", "file"),
    [
        ("192.0.2.4:8081 gate", "192.0.2.4:8081"),
        ("192.0.2.4:8081 gate", "192.0.2.4:80"),
        ("192.0.2.4:8081 ipip", "192.0.2.4:8081"),
        ("192.0.2.4:8081 masq", "192.0.2.4:8081"),
        ("192.0.2.4 gate", "192.0.2.4:0"),
        ("192.0.2.4 masq", "192.0.2.4:0"),
        ("192.0.2.4 masq", "192.0.2.4:80"),
    ],
)
async def test_the_port_of_a_file_is_the_one_written_or_the_kernels(
    tmp_path: Path, real: str, file: str
) -> None:
    text = f"virtual=192.0.2.1:80\n\treal={real}\n\treal=192.0.2.5:80 gate\n\tchecktype=on\n"
    virtuals = loads(text.encode(), interfaces=[]).virtuals
    (tmp_path / file).touch()
    (tmp_path / "192.0.2.5:8081").touch()
    folder = MaintenanceFolder(lambda files: None)
    try:
        found = await folder.look(str(tmp_path), virtuals)
    finally:
        folder.close()
    assert {key.real: path for key, path in found.items()} == {
        virtuals[0].reals[0].key: str(tmp_path / file)
    }
