"""Tests that this kernel cannot run are run in the VM, all in one session, and reported here.

The VM's pytest writes its reports as they come; each is replayed as if the test had run here,
so there is one run with one closing line. What the VM did not report has failed, with the
reason. Nothing is skipped.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.lab.inside import REPORTS
from tests.lab.tree import LabError, ensure
from tests.lab.vm import Vm, check_possible

COMMAND = "exec python3 -m pytest -p tests.lab.inside -p no:cacheprovider -q @$LVSD_RESULTS/tests"


class Remote:
    """The VM's test session. Started at the first test that needs it.

    `systemd` boots the VM with systemd as process 1.
    """

    def __init__(
        self,
        config: pytest.Config,
        items: Sequence[pytest.Item],
        limit: float,
        *,
        systemd: bool = False,
    ) -> None:
        self._config, self._limit, self._systemd = config, limit, systemd
        self._tests = [item.nodeid for item in items]
        self._vm: Vm | None = None
        self._error: str | None = None
        self._seen = 0
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._collect_errors = ""

    def run(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """The reports of one test, as they come."""
        # Waiting for the VM is no hang of this process.
        faulthandler.cancel_dump_traceback_later()
        started = time.time()
        try:
            if self._vm is None and self._error is None:
                self._start()
            while True:
                queue = self._reports.get(item.nodeid, [])
                while queue:
                    report = queue.pop(0)
                    yield report
                    if report.when == "teardown":
                        return
                if self._error is not None:
                    raise LabError(self._error)
                self._poll()
        except LabError as error:
            self._error = str(error)
            yield _failed(item, f"{error}\n{self._collect_errors}", started)

    def close(self) -> None:
        """End the VM."""
        if self._vm is not None:
            self._vm.__exit__(None, None, None)
            self._vm = None

    def _start(self) -> None:
        check_possible()
        tree = ensure()
        print("lab: booting a kernel with IPVS ...", file=sys.stderr, flush=True)
        command = ["sh", "-c", COMMAND]
        self._vm = Vm(tree, command, timeout=self._limit, systemd=self._systemd).__enter__()
        (self._vm.results / "tests").write_text("\n".join(self._tests) + "\n")

    def _poll(self) -> None:
        """Read what is new. Once the session has ended, what is missing is an error."""
        if self._vm is None:
            raise LabError("the lab's VM is not running")
        status = self._vm.status()
        if not self._read() and status is not None:
            raise LabError(f"pytest in the VM ended ({status}) without it\n{self._vm.tail()}")
        if status is None:
            time.sleep(0.05)

    def _read(self) -> bool:
        path = self._vm.results / REPORTS if self._vm else None
        if path is None or not path.exists():
            return False
        lines = path.read_text().split("\n")[:-1]
        for line in lines[self._seen :]:
            report = self._config.hook.pytest_report_from_serializable(
                config=self._config, data=json.loads(line)
            )
            if isinstance(report, pytest.TestReport):
                self._reports.setdefault(report.nodeid, []).append(report)
            else:
                self._collect_errors += f"{report.nodeid}: {report.longrepr}\n"
        new, self._seen = len(lines) > self._seen, len(lines)
        return new


def _failed(item: pytest.Item, reason: str, started: float) -> pytest.TestReport:
    now = time.time()
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=reason,
        when="call",
        start=started,
        stop=now,
        duration=now - started,
    )
