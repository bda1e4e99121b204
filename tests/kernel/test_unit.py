"""The unit, and the modules to load at boot, as systemd itself reads them."""

import re
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


def test_systemd_loads_the_modules_and_passes_over_what_this_kernel_has_not():
    loader = "/lib/systemd/systemd-modules-load"

    loaded = subprocess.run(
        [loader, SYSTEMD / "lvsd.modules-load.conf"], capture_output=True, text=True
    )

    assert loaded.returncode == 0, loaded.stderr
    # Not every distribution builds this one.
    assert set(re.findall(r"module '(\w+)'", loaded.stderr)) <= {"ip_vs_twos"}
