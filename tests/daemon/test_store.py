"""The files of the state directory: kept over restarts, and never trusted."""

from __future__ import annotations

import json
import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsd.core.director import Director, DrainState
from lvsd.core.happenings import Drain, RealKey
from lvsd.core.model import (
    DestinationKey,
    Family,
    Protocol,
    ServiceKey,
)
from lvsd.daemon.lastgood import LastGood, Running
from lvsd.daemon.store import Store, drains_of, restored
from lvsd.daemon.watch import Signature

WEB = ServiceKey(Family.INET, Protocol.TCP, ip_address("192.0.2.1"), 80)
MARK = ServiceKey(Family.INET6, Protocol.FWM, None, 0, 7)
REAL = DestinationKey(ip_address("2001:db8::4"), 8080)


async def test_drains_come_back_as_they_were_stored(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state"), str(tmp_path / "run"), 0.0)
    drains = {
        RealKey(WEB, REAL): DrainState(110.0, by_hand=False),
        RealKey(MARK, REAL): DrainState(None, by_hand=True),
    }
    await store.save_drains(drains_of(Director(drains=drains), lambda at: at + 1000))
    assert list(restored(store.drains(), 1050.0)) == [
        Drain(RealKey(WEB, REAL), 60.0, by_hand=False),
        Drain(RealKey(MARK, REAL), None, by_hand=True),
    ]


async def test_the_manifest_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    store = Store(str(tmp_path), str(tmp_path), 0.0)
    await store.save_manifest({WEB, MARK}, {"net.ipv4.vs.backup_only": "0"})
    assert store.manifest() == ({WEB, MARK}, {"net.ipv4.vs.backup_only": "0"})
    assert (tmp_path / "manifest.json").stat().st_mode & 0o777 == 0o600


async def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path), str(tmp_path), 0.0)
    await store.save_manifest({WEB}, {})
    (tmp_path / ".manifest.json.new").mkdir()
    await store.save_manifest({MARK}, {})
    assert store.manifest()[0] == {WEB}


SPOILT = {
    "empty": b"",
    "no JSON": b"\xff{",
    "deep": b"[" * 200_000,
    "another shape": b'{"services": 5}',
    "no protocol": b'[{"virtual": {"family": 2, "protocol": 99, "address": "192.0.2.1", '
    b'"port": 80}, "address": "192.0.2.4", "port": 80}]',
    "no deadline": b'[{"virtual": {"family": 2, "protocol": 6, "address": "192.0.2.1", '
    b'"port": 80}, "address": "192.0.2.4", "port": 80, "deadline": 1e308}]',
}


@pytest.mark.parametrize("name", SPOILT)
async def test_a_spoilt_file_is_not_used_and_is_set_aside(tmp_path: Path, name: str) -> None:
    for file in ("drain.json", "manifest.json"):
        (tmp_path / file).write_bytes(SPOILT[name])
    store = Store(str(tmp_path), str(tmp_path), 0.0)
    assert (store.drains(), store.manifest()) == ([], (set(), {}))
    assert (tmp_path / "drain.json").read_bytes() == SPOILT[name]  # reading changes nothing
    await store.save_drains([])
    await store.save_manifest({WEB}, {})
    assert (tmp_path / "drain.json.bad").read_bytes() == SPOILT[name]
    assert (tmp_path / "manifest.json.bad").read_bytes() == SPOILT[name]
    assert store.manifest() == ({WEB}, {})


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
async def test_a_device_or_a_pipe_in_the_state_folder_costs_no_time(
    tmp_path: Path, target: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "drain.json").symlink_to(target)
    assert Store(str(tmp_path), str(tmp_path), 0.0).drains() == []


async def test_the_manifest_cannot_name_other_settings_than_ours(tmp_path: Path) -> None:
    names = ["net.ipv4.vs.backup_only", "kernel/core_pattern", "net/ipv4/vs/../ip_forward"]
    stored = {"services": [], "sysctls": dict.fromkeys(names, "1")}
    (tmp_path / "manifest.json").write_text(json.dumps(stored))
    assert Store(str(tmp_path), str(tmp_path), 0.0).manifest()[1] == {names[0]: "1"}


async def test_what_cannot_be_stored_is_noted_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    store = Store(str(tmp_path / "state"), str(tmp_path), 0.0)
    await store.save_drains([])
    (note,) = store.notes()
    assert note.startswith(f"{tmp_path}/state/drain.json cannot be written (File exists)")
    (tmp_path / "state").unlink()
    await store.save_drains([])
    assert store.notes() == []


async def test_a_link_is_replaced_and_never_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("drain.json", ".drain.json.new"):
        (tmp_path / name).symlink_to(victim)
    store = Store(str(tmp_path), str(tmp_path), 0.0)
    await store.save_drains([])
    assert victim.read_text() == "precious"
    assert (tmp_path / "drain.json").read_text() == "[]"
    assert not (tmp_path / "drain.json").is_symlink()


async def test_the_running_configuration_belongs_to_one_life_of_main(tmp_path: Path) -> None:
    store = Store(str(tmp_path), str(tmp_path), 5.25)
    assert LastGood(str(tmp_path), 5.25).about() is None
    seen: Signature = {"/etc/lvsd/\udcff.conf": (1, 2, 3), "/gone": None}
    running = Running("abc", ("/etc/lvsd/\udcff.conf",), ("w",), seen)

    await store.save_last_good("virtual=…\n", running)

    assert LastGood(str(tmp_path), 5.25).about() == running
    assert (tmp_path / "last-good.conf").read_text().endswith("virtual=…\n")
    reborn = LastGood(str(tmp_path), 6.0)  # process ids repeat, in containers always
    assert reborn.about() is None
