"""The stable part of the status document, asked of a daemon that serves (docs/status.md)."""

import json
import os
import signal
import time

import pytest

from tests.daemon.test_bad_input import Daemon
from tests.netns.network import eventually

pytestmark = pytest.mark.netns


@pytest.fixture
def daemon(tmp_path):
    one = Daemon(tmp_path)
    yield one
    one.close()


def test_the_status_document_has_the_keys_of_the_contract(daemon):
    status = json.loads(json.dumps(daemon.status()))

    assert {
        *("version", "pid", "since", "host", "config", "vrrp", "virtuals", "syncdaemons", "table")
    } <= status.keys()
    assert {"path", "sha256", "loaded", "errors"} <= status["config"].keys()
    assert {
        *("name", "interface", "vrid", "family", "version", "state", "reason", "since"),
        *("priority", "effective_priority", "master", "addresses", "counters"),
        *("lateness", "lateness_max"),
    } <= status["vrrp"][0].keys()
    virtual = status["virtuals"][0]
    keys = {"virtual", "protocol", "scheduler", "up", "fallback", "reals"}
    assert keys <= virtual.keys()
    assert {
        *("real", "forwarding", "weight", "effective_weight", "health", "admin", "reason"),
        *("since", "active", "inactive", "stats"),
    } <= virtual["reals"][0].keys()
    stats = {"conns", "inpkts", "outpkts", "inbytes", "outbytes"}
    assert virtual["reals"][0]["stats"].keys() == stats
    assert {"in_sync", "foreign", "last_repair"} <= status["table"].keys()
    assert (virtual["virtual"], virtual["protocol"]) == ("10.9.0.100:80", "tcp")
    assert (status["vrrp"][0]["state"], status["vrrp"][0]["family"]) == ("master", "inet")
    assert status["config"]["errors"] == []
    assert {"asked", "finished", "local_errors", "lateness", "watching"} <= status["checks"].keys()


def test_an_advertisement_that_leaves_late_is_told(daemon):
    pid = daemon.status()["pid"]
    os.kill(pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    eventually(lambda: time.monotonic() > stopped_at + 1.75)  # an interval is one second
    os.kill(pid, signal.SIGCONT)

    eventually(lambda: daemon.status()["vrrp"][0]["lateness_max"] > 0.5)

    (router,) = daemon.status()["vrrp"]
    assert router["lateness"] == router["lateness_max"]
    assert router["counters"]["adverts_late"] == 1
    assert any(note.startswith("advertisements left up to") for note in router["notes"])
