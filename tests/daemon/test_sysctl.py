"""Settings under /proc/sys: names, values and clear refusals."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lvsd.linux import KernelError, sysctl


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("net/ipv4/vs/expire_nodest_conn", "net/ipv4/conf/eth0.100/rp_filter"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("0\n")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "net/ipv4/conf/eth0.100/rp_filter",
        "net.ipv4.conf.eth0/100.rp_filter",
        "net/ipv4/vs/expire_nodest_conn",
        "net.ipv4.vs.expire_nodest_conn",
    ],
)
def test_both_spellings_of_a_name_mean_the_same_setting(root: Path, name: str) -> None:
    sysctl.write(name, 1, root=root)
    assert sysctl.read(name, root=root) == "1"
    assert sum("1" in path.read_text() for path in root.rglob("*") if path.is_file()) == 1


def test_a_setting_of_the_running_kernel_is_read() -> None:
    assert sysctl.read("net/ipv4/ip_forward") in ("0", "1")


def test_a_missing_setting_is_named_and_not_created(root: Path) -> None:
    with pytest.raises(KernelError, match=r"net/ipv4/vs/nothing: .*no such setting") as refused:
        sysctl.write("net/ipv4/vs/nothing", 1, root=root)
    assert refused.value.errno == errno.ENOENT
    assert not (root / "net/ipv4/vs/nothing").exists()


@pytest.mark.parametrize("name", ["", "net/../../etc/passwd", "/etc/passwd", "net//ipv4", "net/"])
def test_a_name_that_leaves_the_tree_is_refused(root: Path, name: str) -> None:
    with pytest.raises(KernelError, match="not the name of a setting"):
        sysctl.read(name, root=root)
