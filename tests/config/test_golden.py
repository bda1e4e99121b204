"""NN-name.conf with its normal form and warnings (.ok), or with its messages (.errors).

`LVSD_REWRITE=1 pytest tests/config` writes the expectations anew; read the diff.
"""

import os
from pathlib import Path

import pytest

from lvsd.config import ConfigError, render

CASES = sorted((Path(__file__).parent / "golden").glob("*.conf"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_golden(load_text, case):
    try:
        config = load_text(case.read_bytes(), path=case.name)
    except ConfigError as problem:
        suffix = ".errors"
        text = "".join(f"{d}\n" for d in (*problem.errors, *problem.warnings))
    else:
        suffix = ".ok"
        text = "".join(f"# {w}\n" for w in config.warnings) + render(config)
    expected = case.with_suffix(suffix)
    if os.environ.get("LVSD_REWRITE") == "1":
        for old in (case.with_suffix(".ok"), case.with_suffix(".errors")):
            old.unlink(missing_ok=True)
        expected.write_text(text, "utf-8", "surrogateescape")
    assert expected.exists(), f"no {expected.name}; run once with LVSD_REWRITE=1"
    assert text == expected.read_text("utf-8", "surrogateescape")
