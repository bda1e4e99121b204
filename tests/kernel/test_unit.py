"""The unit as systemd itself reads it."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

SYSTEMD = Path(__file__).parents[2] / "systemd"


def test_systemd_finds_no_fault_in_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    assert analyze, "systemd-analyze is needed (package systemd)"
    text = (SYSTEMD / "lvsd.service").read_text()
    unit = tmp_path / "lvsd.service"
    # The program need not be installed here; everything else is as shipped.
    unit.write_text(text.replace("ExecStart=/usr/bin/lvsd run", "ExecStart=/bin/true run"))

    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)

    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
