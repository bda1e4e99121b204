"""Routers on the wire between the processes: nothing is lost, and versions may differ."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address

from lvsd.core.model import (
    Family,
    Identity,
    Pace,
    PeerTtl,
    RouterConfig,
    SyncOptions,
    Track,
    TrackKind,
    Vip,
)
from lvsd.daemon.messages import pace_from_wire, pace_to_wire, router_from_wire, router_to_wire

PLAIN = RouterConfig("VI_1", "eth0", 51, 100, (Vip(ip_address("192.0.2.1"), 32),))
FULL = replace(
    PLAIN,
    family=Family.INET6,
    addresses=(Vip(ip_address("2001:db8::1"), 128, "eth1", "", 253),),
    excluded=(Vip(ip_address("192.0.2.9"), 24, "eth1", "eth1:x"),),
    authpass=b"\xff\x00x",
    peers=(ip_address("fe80::2"),),
    peer_ttls=(PeerTtl(ip_address("fe80::2"), 1, 9),),
    source=ip_address("fe80::1"),
    syncdaemon=("eth1", 51),
    syncoptions=SyncOptions(both=True, maxlen=1000, group=ip_address("ff02::51")),
    tracks=(Track(TrackKind.SCRIPT, "s", -20, reverse=True),),
    notify=("/bin/a", "b"),
    notifystop=("/bin/stop",),
    downtimeradverts=5,
    garpmasterrefresh=2.5,
    scriptuser=Identity("nobody", "daemon"),
)


def travelled(router: RouterConfig) -> RouterConfig:
    return router_from_wire(json.loads(json.dumps(router_to_wire(router))))


def test_a_router_arrives_as_it_was_sent() -> None:
    assert travelled(PLAIN) == PLAIN
    assert travelled(FULL) == FULL
    assert all(
        isinstance(getattr(travelled(FULL), name), type(getattr(FULL, name)))
        for name in FULL.__slots__
    )


def test_a_pace_arrives_as_it_was_sent_and_new_fields_are_left_out() -> None:
    pace = Pace(("eth0", "eth1"), 0.01, 2.0)
    assert pace_from_wire(json.loads(json.dumps(pace_to_wire(pace)))) == pace
    assert pace_from_wire({"gnainterval": 1.0, "newer": 3}) == Pace((), 0.0, 1.0)


def test_what_another_version_does_not_know_is_left_out() -> None:
    wire = router_to_wire(FULL)
    needed = ("name", "interface", "vrid", "priority", "addresses", "family")

    assert router_from_wire({**wire, "yet_unknown": [1]}) == FULL
    assert router_from_wire({name: router_to_wire(PLAIN)[name] for name in needed}) == PLAIN
