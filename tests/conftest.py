"""Where each test runs.

Tests in `kernel`, `netns`, `interop` and `service` carry the mark of their folder. An ordinary
user's run becomes that of root in a user namespace. What still cannot run here (no IPVS in the
kernel, programs that must belong to root) runs in the lab's VM; those of `service` always do, in a
VM with systemd. When there can be no VM either, it fails and says why. `--lab-opt-out` is the
explicit way to leave out the tests of these folders; those marked `long` are in only with `--long`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.lab import user
from tests.lab.layout import Layout
from tests.lab.outside import Remote
from tests.lab.run import native
from tests.lab.topology import Topology

MARKS = ("kernel", "netns", "interop", "service")
REMOTES = pytest.StashKey[list[Remote]]()
AWAY = pytest.StashKey[Remote]()
LEFT_OUT = pytest.StashKey[int]()
UNASKED = pytest.StashKey[int]()
TOO_LONG = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the lab, of the simulation and of the mutated files."""
    group = parser.getgroup("lvsd's lab")
    group.addoption(
        "--lab-opt-out",
        action="store_true",
        help="leave out every test that needs root, namespaces or a kernel with IPVS",
    )
    group.addoption("--long", action="store_true", help="run the tests marked long as well")
    group.addoption(
        "--lab-timeout", type=float, default=2400.0, help="seconds the VM may live (2400)"
    )
    group = parser.getgroup("lvsd's simulation")
    seeds = int(os.environ.get("LVSD_SEEDS", "10000"))
    group.addoption("--seeds", type=int, default=seeds, help=f"stories to play ({seeds})")
    group.addoption("--seed", type=int, help="play the story of this seed only")
    group.addoption("--rewrite", action="store_true", help="write the traces of the scenarios anew")
    group = parser.getgroup("lvsd's reader of configurations")
    group.addoption("--inputs", type=int, default=5000, help="mutated files to read (5000)")
    group.addoption("--input", type=int, help="read the mutated file of this number only")


def pytest_configure(config: pytest.Config) -> None:
    """Become root if need be.

    A run in the background ignores ^C, and the programs under test would inherit that.
    """
    if os.geteuid() != 0 and user.possible():
        capture = config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()
        command = [sys.executable, "-m", "pytest", *config.invocation_params.args]
        user.become_root(list(map(str, command)))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark by folder, so that no mark is forgotten."""
    folder = item.nodeid.split("/")[1:2]
    if folder and folder[0] in MARKS:
        item.add_marker(folder[0])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Decide which tests run here, which in the VM (last), which not at all."""
    _leave_out_servers(config, items)
    _leave_out_long(config, items)
    marked = [item for item in items if any(item.get_closest_marker(mark) for mark in MARKS)]
    if config.getoption("--lab-opt-out"):
        config.stash[LEFT_OUT] = len(marked)
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in set(marked)]
        return
    if "LVSD_IN_VM" in os.environ:
        return
    limit = config.getoption("--lab-timeout")
    service = [item for item in marked if item.get_closest_marker("service")]
    names = _marks_of_the_vm(marked)
    kernel = [item for item in items if any(item.get_closest_marker(name) for name in names)]
    kernel = [item for item in kernel if item not in service]
    remotes = config.stash[REMOTES] = []
    for away, systemd in ((kernel, False), (service, True)):
        if away:
            remotes.append(Remote(config, away, limit, systemd=systemd))
        for item in away:
            item.stash[AWAY] = remotes[-1]
    order: list[Remote | None] = [None, *remotes]
    items.sort(key=lambda item: order.index(item.stash.get(AWAY, None)))


def _leave_out_servers(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Debian's servers want users of their own, so only the machine's root can start them."""
    if user.is_root() and not config.getoption("--lab-opt-out"):
        return
    asked = [item for item in items if item.get_closest_marker("servers")]
    config.stash[UNASKED] = len(asked)
    config.hook.pytest_deselected(items=asked)
    items[:] = [item for item in items if item not in set(asked)]


def _leave_out_long(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What was not asked for. In the VM every test was."""
    if config.getoption("--long") or "LVSD_IN_VM" in os.environ:
        return
    left = [item for item in items if item.get_closest_marker("long")]
    config.stash[TOO_LONG] = len(left)
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in set(left)]


def _marks_of_the_vm(marked: list[pytest.Item]) -> set[str]:
    """What this machine cannot run, or this user."""
    names = set() if user.is_root() else {"root"}
    if os.geteuid() != 0:
        names |= {*MARKS}
    elif any(item.get_closest_marker("kernel") for item in marked) and not native():
        names.add("kernel")
    return names


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Replay the VM's reports for a test that runs there."""
    remote = item.stash.get(AWAY, None)
    if remote is None:
        return None
    for other in item.config.stash[REMOTES]:
        if other is not remote:
            other.close()  # one VM at a time
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in remote.run(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the VMs."""
    for remote in config.stash.get(REMOTES, []):
        remote.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out on request, and what an ordinary user should know."""
    if os.geteuid() != 0:
        terminalreporter.write_line(
            "no root, and no user namespace to be root in (`make setup` says why): tests of "
            "netns and interop ran in the VM, and some of daemon cannot pass",
            yellow=True,
        )
    if unasked := config.stash.get(UNASKED, 0):
        terminalreporter.write_line(
            f"{unasked} tests with real servers were NOT run: they need the machine's root",
            yellow=True,
        )
    if too_long := config.stash.get(TOO_LONG, 0):
        terminalreporter.write_line(f"{too_long} tests are left for `make test-long`", yellow=True)
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"--lab-opt-out: {left_out} tests of {', '.join(MARKS)} were NOT run", yellow=True
        )


@pytest.fixture
def topology() -> Iterator[Callable[[Layout], Topology]]:
    """Builds topologies, and removes them after the test: `lab = topology(Layout.dr())`."""
    with contextlib.ExitStack() as stack:
        yield lambda layout: stack.enter_context(Topology(layout))
