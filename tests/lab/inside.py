"""The pytest plugin in the VM: each report is a JSON line in $LVSD_RESULTS/reports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

REPORTS = "reports"


def pytest_configure(config: pytest.Config) -> None:
    """Register the writer."""
    config.pluginmanager.register(Writer(config), "lvsd-lab-writer")


class Writer:
    """Writes test reports, and what could not be collected, as they come."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._path = Path(os.environ["LVSD_RESULTS"], REPORTS)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test."""
        self._write(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Failures only: the other side has collected by itself."""
        if report.failed:
            self._write(report)

    def _write(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._path.open("a") as reports:
            reports.write(json.dumps(data, default=str) + "\n")
