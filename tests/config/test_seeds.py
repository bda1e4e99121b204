"""The files of the seeds: as printed, as pasted, and corrected by following the messages."""

import re
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lvsd.config import ConfigError
from lvsd.core.model import CheckKind, Forwarding

DATA = Path(__file__).parent / "data"


def test_seed_003_loads_as_printed(load_text):
    config = load_text((DATA / "seed-003.conf").read_bytes())
    assert config.warnings == ()
    assert config.autoreload
    assert config.logfile == "/var/log/ldirectord.log"
    (virtual,) = config.virtuals
    assert str(virtual.key) == "192.168.195.200:80"
    assert virtual.service.scheduler == "wlc"
    assert virtual.quiescent
    assert virtual.fallback is None
    assert [(str(r.key), r.forwarding, r.weight) for r in virtual.reals] == [
        ("192.168.195.134:80", Forwarding.ROUTE, 1),
        ("192.168.195.135:80", Forwarding.ROUTE, 1),
    ]
    check = virtual.reals[0].check
    assert check.kind is CheckKind.HTTP
    assert check.request == b"/test.html"
    assert check.receive == b"fake"
    assert (check.interval, check.timeout) == (5, 3)
    assert check.address == IPv4Address("192.168.195.134")


def test_seed_004_as_pasted_names_every_mistake_in_one_run(load_text):
    with pytest.raises(ConfigError) as caught:
        load_text((DATA / "seed-004.conf").read_bytes())
    lines = [(d.line, d.column) for d in caught.value.errors]
    assert lines == [(5, 9), (8, 1), (10, 9), (11, 9), (14, 1), (15, 1)]
    texts = [d.text for d in caught.value.errors]
    assert 'write logfile="/var/log/ldirectord.log"' in texts[0]
    assert "indent this line and the 5 lines after it with a TAB or 4 blanks" in texts[1]
    assert 'write request="/.testpage"' in texts[2]
    assert 'write receive="test page"' in texts[3]
    assert "the blank line 14" in texts[4]
    assert "indent this line and the line after it" in texts[5]
    warnings = [str(d) for d in caught.value.warnings]
    assert any("traffic goes to port 80, but checks ask port 53" in w for w in warnings)


def follow(text: str, error: ConfigError) -> str:
    """Do what the messages say, and nothing else."""
    lines: list[str | None] = list(text.split("\n"))
    for d in (*error.errors, *error.warnings):
        i = d.line - 1
        if replaced := re.search(r"use straight double quotes: write (.*)", d.text):
            lines[i] = replaced[1]
    for d in error.warnings:
        if address := re.search(r"write ([0-9.]+:[0-9]+)$", d.text):
            old = lines[d.line - 1] or ""
            words = old[d.column - 1 :].split()
            lines[d.line - 1] = old[: d.column - 1] + " ".join([address[1], *words[1:]])
    for d in error.errors:
        if indent := re.search(
            r"indent this line(?: and the (?:(\d+) lines|line) after it)?", d.text
        ):
            count = int(indent[1] or 1) if "after it" in indent[0] else 0
            for i in range(d.line - 1, d.line + count):
                lines[i] = f"\t{lines[i]}"
    for d in error.errors:
        if "remove it" in d.text:
            lines[d.line - 1] = None
    return "\n".join(line for line in lines if line is not None)


def test_seed_004_loads_once_the_messages_are_followed(load_text):
    text = (DATA / "seed-004.conf").read_text()
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    config = load_text(follow(text, caught.value))
    assert not [w for w in config.warnings if "quiescent" not in w and "checkcount" not in w]
    (virtual,) = config.virtuals
    assert virtual.service.scheduler == "rr"
    assert virtual.fall == 3
    assert [(str(r.key), r.weight, r.check.port) for r in virtual.reals] == [
        ("192.168.1.4:80", 5, 80),
        ("192.168.1.5:80", 5, 80),
    ]
    assert virtual.reals[0].check.request == b"/.testpage"
    assert virtual.reals[0].check.receive == b"test page"


def test_a_port_that_direct_routing_cannot_change_stays_the_checks_port(load_text):
    config = load_text("virtual=192.168.1.1:80\n\treal=192.168.1.4:53 gate 5\n\tservice=http\n")
    (real,) = config.virtuals[0].reals
    assert (real.key.port, real.check.port) == (80, 53)
