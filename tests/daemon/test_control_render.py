"""What `lvsd status` prints: ipvsadm's columns to the blank, and lvsd's words beside them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from lvsd.control import render
from lvsd.control.status import (
    ConfigStatus,
    RealStatus,
    RouterStatus,
    Status,
    SyncDaemonStatus,
    TableStatus,
    VirtualStatus,
)

NOW = 100_000.0


def real(address: str, **other: Any) -> RealStatus:
    fields: dict[str, Any] = {
        "real": f"{address}:80",
        "forwarding": "gate",
        "weight": 1,
        "effective_weight": 1,
        "health": "up",
        "admin": "enabled",
        "reason": "",
        "since": NOW - 12,
    }
    return RealStatus(**{**fields, **other})


def virtual(*reals: RealStatus, **other: Any) -> VirtualStatus:
    fields: dict[str, Any] = {
        "virtual": "192.168.1.1:80",
        "protocol": "tcp",
        "scheduler": "wlc",
        "up": True,
        "fallback": None,
    }
    return VirtualStatus(reals=list(reals), **{**fields, **other})


def router(**other: Any) -> RouterStatus:
    fields: dict[str, Any] = {
        "name": "VI_1",
        "interface": "eth0",
        "vrid": 51,
        "family": "inet",
        "version": 2,
        "state": "master",
        "reason": "no advertisement heard",
        "since": NOW - 7500,
        "priority": 150,
        "effective_priority": 150,
        "master": "192.168.1.2",
        "addresses": ["192.168.1.1/32"],
        "counters": {},
    }
    return RouterStatus(**{**fields, **other})


def document(**other: Any) -> dict[str, Any]:
    config = ConfigStatus(path="/etc/lvsd/lvsd.conf", sha256="ab" * 32, loaded=NOW - 60)
    fields: dict[str, Any] = {
        "version": "0.1.0",
        "pid": 42,
        "since": NOW - 7500,
        "host": "dir1",
        "config": config,
    }
    decoded: dict[str, Any] = json.loads(msgspec.json.encode(Status(**{**fields, **other})))
    return decoded


def test_the_listing_is_that_of_ipvsadm_to_the_blank() -> None:
    down = real("192.168.1.5", effective_weight=0, health="down", reason="status 500", active=3)

    text = render.listing(document(virtuals=[virtual(real("192.168.1.4"), down)]))

    assert text == (
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port Scheduler Flags\n"
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        "TCP  192.168.1.1:80 wlc\n"
        "  -> 192.168.1.4:80               Route   1      0          0         \n"
        "  -> 192.168.1.5:80               Route   0      3          0         \n"
    )


def test_marks_flags_protocols_and_methods_are_ipvsadms() -> None:
    text = render.listing(
        document(
            virtuals=[
                virtual(virtual="1", protocol="fwm", scheduler="rr", flags="persistent 300"),
                virtual(virtual="2", protocol="fwm", family="inet6"),
                virtual(virtual="[2001:db8::1]:53", protocol="udp", family="inet6", flags="ops"),
                virtual(
                    real("a", real="[2001:db8::4]:80", forwarding="masq"),
                    real("b", forwarding="ipip"),
                    real("c", forwarding="local"),
                    protocol="sctp",
                ),
            ],
            table=TableStatus(version="1.2.2", size=32768),
        )
    )

    assert text.splitlines()[0] == "IP Virtual Server version 1.2.2 (size=32768)"
    assert text.splitlines()[3:] == [
        "FWM  1 rr persistent 300",
        "FWM  2 IPv6 wlc",
        "UDP  [2001:db8::1]:53 wlc ops",
        "SCTP 192.168.1.1:80 wlc",
        "  -> [2001:db8::4]:80             Masq    1      0          0         ",
        "  -> b:80                         Tunnel  1      0          0         ",
        "  -> c:80                         Local   1      0          0         ",
    ]


def test_the_listing_leaves_out_what_the_kernel_does_not_hold() -> None:
    gone = real("192.168.1.5", effective_weight=0, health="down", installed=False)
    sorry = real("127.0.0.1", forwarding="local")
    shown = virtual(gone, fallback="127.0.0.1:80", fallback_real=sorry)
    hidden = virtual(real("192.168.1.4"), virtual="192.168.1.9:80", installed=False)

    text = render.listing(document(virtuals=[shown, hidden]))

    assert "192.168.1.5" not in text
    assert "192.168.1.9" not in text
    assert "  -> 127.0.0.1:80                 Local   1" in text


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({}, ""),
        ({"reason": "found in the table with weight"}, "found in the table with weight"),
        ({"reason": "refused", "streak": 1}, "failing: refused"),
        ({"health": "down", "reason": "status 500"}, "down 12s: status 500"),
        ({"health": "unknown"}, "unknown"),
        ({"admin": "drain"}, "draining"),
        ({"admin": "drain", "deadline": NOW + 190}, "draining (3m10s left)"),
        ({"admin": "disabled", "installed": False}, "disabled, not in the table"),
        ({"health": "down", "reason": "a\x1b[2Jb"}, "down 12s: a\\x1b[2Jb"),
        ({"check": "on"}, "never checked"),
        ({"health": "down", "admin": "drain", "reason": "x"}, "down 12s: x, draining"),
        ({"admin": "drain", "reason": "maintenance: /m/web1"}, "maintenance: /m/web1"),
        ({"admin": "disabled", "reason": "maintenance: /m/web1"}, "maintenance: /m/web1"),
        (
            {"health": "unknown", "admin": "drain", "reason": "maintenance: /m/web1"},
            "maintenance: /m/web1, unknown",
        ),
    ],
)
def test_a_row_says_why_a_real_is_not_simply_up(fields: dict[str, Any], note: str) -> None:
    shown = render.status(document(virtuals=[virtual(real("192.168.1.4", **fields))]), NOW)

    (row,) = [line for line in shown.splitlines() if line.startswith("  -> 192")]
    columns = "  -> 192.168.1.4:80               Route   1      0          0         "
    assert row == (f"{columns}  {note}" if note else columns)


def test_a_status_shows_header_routers_table_and_sync_daemons() -> None:
    text = render.status(
        document(
            vrrp=[router(), router(name="VI_10", effective_priority=110, state="backup")],
            virtuals=[virtual(real("192.168.1.4"))],
            syncdaemons=[SyncDaemonStatus(role="master", interface="eth1", syncid=51)],
        ),
        NOW,
    )

    assert text.splitlines() == [
        "lvsd 0.1.0 on dir1, pid 42, up 2h05m",
        "config /etc/lvsd/lvsd.conf, sha256 abababababab, loaded 1m00s ago",
        "",
        "VRRP  Interface VRID State  Priority  Master      For   Reason",
        "VI_1  eth0      51   MASTER 150       192.168.1.2 2h05m no advertisement heard",
        "VI_10 eth0      51   BACKUP 110 (150) 192.168.1.2 2h05m no advertisement heard",
        "",
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  192.168.1.1:80 wlc",
        "  -> 192.168.1.4:80               Route   1      0          0         ",
        "",
        "master sync daemon (mcast=eth1, syncid=51)",
    ]


def test_a_refused_reload_stands_before_everything_else() -> None:
    config = ConfigStatus(path="/etc/lvsd/lvsd.conf", errors=["lvsd.conf:3:1: error: no"])

    text = render.status(document(config=config, vrrp=[router()]), NOW)

    assert "CONFIG REFUSED" in text
    assert text.index("  lvsd.conf:3:1: error: no") < text.index("VI_1")


def test_a_missing_director_is_said_loudly() -> None:
    text = render.status(document(director="down", vrrp=[router()]), NOW)

    assert "THE DIRECTOR PROCESS IS AWAY" in text


def test_drift_foreign_services_and_repairs_are_noted() -> None:
    table = TableStatus(
        in_sync=False,
        drift=["weight of 192.168.1.4:80 is 7, not 1"],
        errors=["-e -t 192.168.1.1:80: refused"],
        foreign=["TCP 10.0.0.1:22 rr"],
        last_repair=NOW - 5,
    )

    text = render.status(document(table=table, notes=["take care"]), NOW)

    for line in (
        "the kernel's table is not as it should be",
        "  weight of 192.168.1.4:80 is 7, not 1",
        "  -e -t 192.168.1.1:80: refused",
        "not lvsd's, left alone: TCP 10.0.0.1:22 rr",
        "last repair of the table: 5s ago",
        "note: take care",
    ):
        assert line in text.splitlines()


def test_a_service_that_is_down_says_so() -> None:
    text = render.status(document(virtuals=[virtual(up=False)]), NOW)

    assert "TCP  192.168.1.1:80 wlc  DOWN" in text.splitlines()


def test_main_s_minimal_document_can_be_shown() -> None:
    minimal = document(vrrp=[router()])
    minimal["director"] = "down"
    minimal["table"] = {"in_sync": False, "foreign": [], "last_repair": None}
    minimal["config"] = {"path": "/x", "sha256": "", "loaded": None, "errors": []}

    text = render.status(minimal, NOW)

    assert "THE DIRECTOR PROCESS IS AWAY" in text
    assert "VI_1" in text
    assert "table is not as it should be" not in text


def test_a_plan_lists_its_steps_and_its_source() -> None:
    step = "ipvsadm -A -t 192.168.1.1:80 -s wlc"

    assert render.plan({"steps": [step], "source": "test"}) == f"1 step (test):\n  {step}\n"
    assert render.plan({"steps": [], "source": "test"}) == "Nothing to do (test).\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86400, "1d00h"),
        (360000, "4d04h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_a_router_says_what_moves_its_priority_whom_it_hears_and_what_is_wrong() -> None:
    told = router(
        state="backup",
        effective_priority=130,
        priority_parts=["base 150", "script chk -20 (down)"],
        last_heard=NOW - 2,
        last_heard_from="192.168.1.3",
        notes=["adverts dropped: ttl 2"],
    )

    text = render.status(document(vrrp=[told]), NOW)

    assert "  VI_1: priority 130: base 150, script chk -20 (down)\n" in text
    assert f"  VI_1: last heard 192.168.1.3 {render.duration(2)} ago\n" in text
    assert "  VI_1: adverts dropped: ttl 2\n" in text


def test_a_router_in_order_says_nothing_more() -> None:
    told = router(priority_parts=["base 150", "script chk +0 (up)"], last_heard=NOW - 2)

    assert "VI_1:" not in render.status(document(vrrp=[told]), NOW)
