"""GET /metrics: a small OpenMetrics reader checks the form, and values are compared."""

from __future__ import annotations

import re

from lvsd.control import metrics
from lvsd.control.status import (
    ConfigStatus,
    RealStatus,
    RouterStatus,
    Stats,
    Status,
    TableStatus,
    VirtualStatus,
)

STATUS = Status(
    version="0.1.0",
    pid=1,
    since=1000.5,
    host="dir1",
    config=ConfigStatus(path="/x", loaded=2000.0, errors=["bad"]),
    vrrp=[
        RouterStatus(
            name='VI "1"\\\n',
            interface="eth0",
            vrid=51,
            family="inet",
            version=2,
            state="master",
            reason="",
            since=1500.0,
            priority=150,
            effective_priority=110,
            master=None,
            addresses=[],
            counters={"sent": 7, "rejected_ttl": 2},
            lateness=0.002,
            lateness_max=0.25,
        )
    ],
    virtuals=[
        VirtualStatus(
            virtual="192.0.2.1:80",
            protocol="tcp",
            scheduler="rr",
            up=True,
            fallback=None,
            reals=[
                RealStatus(
                    real="192.0.2.4:80",
                    forwarding="gate",
                    weight=5,
                    effective_weight=0,
                    health="down",
                    admin="enabled",
                    reason="refused",
                    since=1.0,
                    active=3,
                    stats=Stats(conns=2**40, inbytes=9),
                    latency=0.25,
                )
            ],
        )
    ],
    table=TableStatus(in_sync=False, foreign=["TCP 192.0.2.9:22 rr"], repairs=4),
)

SAMPLE = re.compile(r'(\w+)(\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+]+)')


def read(text: str) -> dict[str, float]:
    """Samples by name and labels; asserts the rules of OpenMetrics 1.0 on the way."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    samples: dict[str, float] = {}
    name, kind, seen = "", "", set[str]()
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in seen, "families must not be interleaved"
            seen.add(name)
        elif line.startswith("# UNIT "):
            assert line.split(" ")[2] == name
            assert name.endswith(f"_{line.split(' ')[3]}")
        elif line.startswith("# HELP "):
            assert line.split(" ")[2] == name
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            suffix = {"counter": "_total", "info": "_info", "gauge": ""}[kind]
            assert found[1] == name + suffix
            key = found[1] + (found[2] or "")
            assert key not in samples, "a sample appears once"
            samples[key] = float(found[3])
    return samples


REAL = '{virtual="192.0.2.1:80",protocol="tcp",family="inet",real="192.0.2.4:80"'


def test_the_exposition_is_openmetrics_with_the_values_of_the_status() -> None:
    samples = read(metrics.render(STATUS))

    assert samples['lvsd_build_info{version="0.1.0"}'] == 1
    assert samples["lvsd_start_time_seconds"] == 1000.5
    assert samples["lvsd_config_ok"] == 0
    assert samples[f"lvsd_real_weight{REAL}}}"] == 5
    assert samples[f"lvsd_real_effective_weight{REAL}}}"] == 0
    assert samples[f'lvsd_real_health{REAL},health="down"}}'] == 1
    assert samples[f'lvsd_real_health{REAL},health="up"}}'] == 0
    assert samples[f"lvsd_real_active_connections{REAL}}}"] == 3
    assert samples[f"lvsd_real_connections_total{REAL}}}"] == 2**40
    assert samples[f"lvsd_real_check_seconds{REAL}}}"] == 0.25
    assert samples["lvsd_table_in_sync"] == 0
    assert samples["lvsd_table_foreign_services"] == 1
    assert samples["lvsd_table_repairs_total"] == 4


def test_labels_are_escaped_and_states_are_one_hot() -> None:
    samples = read(metrics.render(STATUS))

    labels = r'router="VI \"1\"\\\n",interface="eth0",vrid="51",family="inet"'
    states = {s: samples[f'lvsd_vrrp_state{{{labels},state="{s}"}}'] for s in metrics.ROUTER_STATES}
    assert states == {"initialize": 0, "backup": 0, "master": 1, "fault": 0}
    assert samples[f'lvsd_vrrp_events_total{{{labels},event="rejected_ttl"}}'] == 2
    assert samples[f"lvsd_vrrp_effective_priority{{{labels}}}"] == 110
    assert samples[f"lvsd_vrrp_advert_lateness_seconds{{{labels}}}"] == 0.002
    assert samples[f"lvsd_vrrp_advert_lateness_max_seconds{{{labels}}}"] == 0.25


def test_an_empty_daemon_has_metrics() -> None:
    empty = Status(version="0.1.0", pid=1, since=1.0, host="h", config=ConfigStatus(path="/x"))

    samples = read(metrics.render(empty))

    assert samples["lvsd_config_ok"] == 1
    assert not any(name.startswith("lvsd_vrrp") for name in samples)
