"""The stable part of the status document, asked of a daemon that serves (docs/status.md)."""

import json

import pytest

from tests.daemon.test_bad_input import Daemon

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
