"""ldirectord's words for what happens, and its name for a check."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from lvsd.core.director import Director, step
from lvsd.core.happenings import (
    CheckFinished,
    ConfigLoaded,
    Drain,
    Event,
    Maintenance,
    RealKey,
    TableAdopted,
)
from lvsd.core.model import (
    CheckKind,
    DestinationKey,
    Family,
    Protocol,
    RealServer,
    ServiceKey,
    Virtual,
    VirtualService,
)
from lvsd.core.sentences import identities, reloaded, sentence, stopped

from .farm import config, entry, real, real_key, service_key, virtual

KEY = RealKey(service_key(), real_key(4))
R, V = "198.51.100.4:80", "192.0.2.1:80"


class Bench:
    def __init__(self, *reals: RealServer, **policy: Any) -> None:
        self.director = Director()
        self.virtual = virtual(*(reals or (real(4, 5),)), **policy)
        self.do(ConfigLoaded(config(self.virtual)))

    def do(self, event: Event) -> list[str]:
        self.director, effects = step(self.director, event, 0.0)
        found = (sentence(effect, self.director) for effect in effects)
        return [said.text for said in found if said is not None]

    def load(self, *virtuals: Virtual) -> list[str]:
        """What is said of a new configuration besides its effects, which are in `told`."""
        before = self.director
        self.told = self.do(ConfigLoaded(config(*virtuals)))
        return [said.text for said in reloaded(before, self.director)]

    def check(self, passed: bool) -> list[str]:
        return self.do(CheckFinished(self.virtual.reals[0].check, passed, "refused"))


def test_a_quiescent_real_is_added_quiesced_and_restored() -> None:
    bench = Bench()

    assert bench.check(True) == [f"Added real server: {R} ({V}) (Weight set to 5)"]
    assert bench.check(False) == [f"Quiescent real server: {R} ({V}) (Weight set to 0)"]
    assert bench.check(True) == [f"Restored real server: {R} ({V}) (Weight set to 5)"]


def test_with_quiescent_no_it_is_deleted_and_added() -> None:
    bench = Bench(quiescent=False)
    bench.check(True)

    assert bench.check(False) == [f"Deleted real server: {R} ({V})"]
    assert bench.check(True) == [f"Added real server: {R} ({V}) (Weight set to 5)"]


def test_soft_failures_are_counted() -> None:
    bench = Bench(fall=3)
    bench.check(True)

    assert bench.check(False) == [f"Soft failure real server: {R} (tcp:{V}) failure 1/3"]
    assert bench.check(True) == [f"Resetting soft failure count: {R} (tcp:{V})"]
    assert bench.check(True) == []


def test_the_fallback_is_added_and_deleted() -> None:
    sorry = real(9, 1, CheckKind.ON)
    bench = Bench(fallback=sorry)

    assert f"Added fallback server: 198.51.100.9:80 ({V}) (Weight set to 1)" in bench.check(False)
    assert f"Deleted fallback server: 198.51.100.9:80 ({V})" in bench.check(True)


def test_maintenance_reads_like_a_failure_and_a_return() -> None:
    bench = Bench()
    bench.check(True)

    assert bench.do(Maintenance({KEY: "/x"})) == [
        f"Quiescent real server: {R} ({V}) (Weight set to 0)"
    ]
    assert bench.check(False) == [], "it is quiescent already"
    assert bench.do(Maintenance({})) == [], "it is down by its checks as well"


def test_maintenance_of_a_failed_real_is_not_told_again() -> None:
    bench = Bench()
    bench.check(False)

    assert bench.do(Maintenance({KEY: "/x"})) == []
    assert bench.check(True) == []
    assert bench.do(Maintenance({})) == [f"Restored real server: {R} ({V}) (Weight set to 5)"]


def test_a_drained_real_that_comes_up_is_not_said_to_be_restored() -> None:
    bench = Bench()
    bench.do(Drain(KEY))

    assert bench.check(True) == []


def test_a_reload_is_told_service_by_service() -> None:
    bench = Bench()
    same = virtual(at="192.0.2.4:80")
    bench.load(same, virtual(at="192.0.2.1:80"), virtual(at="192.0.2.2:80"))

    changed = virtual(at="192.0.2.2:80", persistent=60)
    assert bench.load(same, changed, virtual(at="192.0.2.3:80")) == [
        "Changed virtual server: 192.0.2.2:80",
        "Added virtual server: 192.0.2.3:80",
        "Purged virtual server (start): 192.0.2.1:80",
    ]


def test_a_reload_purges_a_real_and_tells_of_another_weight() -> None:
    bench = Bench(real(4, 5), real(5))
    bench.check(True)

    assert bench.load(virtual(real(4, 7))) == [
        f"Purged real server (start): 198.51.100.5:80 ({V})",
        f"Restored real server: {R} ({V}) (Weight set to 7)",
    ]
    assert bench.load(virtual(real(4, 7), fall=3)) == []


def test_a_reload_says_nothing_of_a_real_that_is_kept_out() -> None:
    bench = Bench(real(4, 5))
    bench.check(True)
    bench.do(Drain(KEY))

    assert bench.load(virtual(real(4, 7))) == []


def test_a_reload_purges_a_fallback_that_is_replaced_and_deletes_one_that_is_removed() -> None:
    old, new = real(8, 1, CheckKind.ON), real(9, 1, CheckKind.ON)
    bench = Bench(fallback=old)
    bench.check(False)

    assert bench.load(virtual(real(4, 5), fallback=new)) == [
        f"Purged real server (start): 198.51.100.8:80 ({V})"
    ]
    assert bench.load(virtual(real(4, 5))) == []
    assert bench.told == [f"Deleted fallback server: 198.51.100.9:80 ({V})"]


def test_a_start_tells_what_it_changes_in_the_table_it_found() -> None:
    web = virtual(real(4, 5), real(5, 1, CheckKind.ON))
    bench = Bench()
    bench.director = Director()
    bench.do(TableAdopted({web.key: entry(web, r4=5, r6=1)}))

    assert bench.load(web) == [
        f"Purged real server (start): 198.51.100.6:80 ({V})",
        f"Added real server: 198.51.100.5:80 ({V}) (Weight set to 1)",
    ]


def test_a_stop_purges_live_reals_and_the_service() -> None:
    bench = Bench(real(4), real(5))
    bench.check(True)

    said = stopped(bench.director.pools[KEY.virtual])
    assert [one.text for one in said] == [
        f"Purged real server (stop): {R} ({V})",
        f"Purged virtual server (stop): {V}",
    ]


@pytest.mark.parametrize(
    ("server", "name"),
    [
        (
            real(4, 2, request=b"/a", receive=b"ok", virtualhost=b"w.example"),
            "negotiate http tcp 198.51.100.4 80 w.example 2 gate /a ok",
        ),
        (real(4, 1, CheckKind.CONNECT), "connect tcp 198.51.100.4 80 1 gate / "),
        (real(4, 1, connects=3), "combined http tcp 198.51.100.4 80 1 gate / "),
        (
            real(4, 1, CheckKind.EXTERNAL, command=("/x", "-q", "v", "80", "r", "80")),
            "external /x -q tcp 198.51.100.4 80 1 gate / ",
        ),
        (replace(real(4), port=0, checkport=81), "negotiate http tcp 198.51.100.4 0 81 1 gate / "),
        (
            real(4, 1, CheckKind.SIMPLETCP, request=b"a::b", receive=rb"\d:"),
            "negotiate simpletcp tcp 198.51.100.4 80 1 gate /a b d ",
        ),
    ],
)
def test_a_check_is_named_as_in_ldirectords_monitor_file(server: RealServer, name: str) -> None:
    bench = Bench(server)

    assert identities(bench.virtual) == {KEY.real: name}


def test_a_mark_for_ipv6_is_a_fwm_in_the_monitor_file() -> None:
    key = ServiceKey(Family.INET6, Protocol.FWM, None, 0, 7)
    server = real(4)
    server = replace(server, key=DestinationKey(ip_address("2001:db8::1"), 0), port=0)

    name = identities(Virtual(VirtualService(key, "rr"), (server,)))[server.key]

    assert name == "negotiate http fwm [2001 db8 1] 0 1 gate / "


def test_maintenance_of_a_service_that_is_not_there_is_not_told() -> None:
    director, effects = step(Director(), Maintenance({KEY: "/maintenance/x"}), 0.0)
    assert effects
    assert [sentence(effect, director) for effect in effects] == [None]
