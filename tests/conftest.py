"""Where each test runs.

Tests in `kernel`, `netns` and `interop` carry the mark of their folder. What this machine
cannot run itself (no IPVS in the kernel, no root) runs in the lab's VM; when there can be no
VM either, it fails and says why. `--lab-opt-out` is the explicit way to leave those tests out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.lab.layout import Layout
from tests.lab.outside import Remote
from tests.lab.run import native
from tests.lab.topology import Topology

MARKS = ("kernel", "netns", "interop")
REMOTE = pytest.StashKey[Remote]()
AWAY = pytest.StashKey[bool]()
LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The lab's options."""
    group = parser.getgroup("lvsd's lab")
    group.addoption(
        "--lab-opt-out",
        action="store_true",
        help="leave out every test that needs root, namespaces or a kernel with IPVS",
    )
    group.addoption(
        "--lab-timeout", type=float, default=2400.0, help="seconds the VM may live (2400)"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark by folder, so that no mark is forgotten."""
    folder = item.nodeid.split("/")[1:2]
    if folder and folder[0] in MARKS:
        item.add_marker(folder[0])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Decide which tests run here, which in the VM (last), which not at all."""
    marked = [item for item in items if any(item.get_closest_marker(mark) for mark in MARKS)]
    if config.getoption("--lab-opt-out"):
        config.stash[LEFT_OUT] = len(marked)
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in set(marked)]
        return
    kernel = [item for item in marked if item.get_closest_marker("kernel")]
    away = [] if kernel and native() else kernel
    if os.geteuid() != 0:
        away = marked
    if away:
        for item in away:
            item.stash[AWAY] = True
        items.sort(key=lambda item: item.stash.get(AWAY, False))
        config.stash[REMOTE] = Remote(config, away, config.getoption("--lab-timeout"))


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Replay the VM's reports for a test that runs there."""
    if not item.stash.get(AWAY, False):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in item.config.stash[REMOTE].run(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the VM."""
    if remote := config.stash.get(REMOTE, None):
        remote.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out on request."""
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"--lab-opt-out: {left_out} tests of {', '.join(MARKS)} were NOT run", yellow=True
        )


@pytest.fixture
def topology() -> Iterator[Callable[[Layout], Topology]]:
    """Builds topologies, and removes them after the test: `lab = topology(Layout.dr())`."""
    with contextlib.ExitStack() as stack:
        yield lambda layout: stack.enter_context(Topology(layout))
