"""The Director: events in, effects and the wished-for kernel out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsd.core.changes import changes
from lvsd.core.director import (
    Director,
    checks,
    desired,
    find_reals,
    next_deadline,
    step,
    tracked,
    watched,
)
from lvsd.core.fanout import quiet
from lvsd.core.happenings import (
    AllJudged,
    CheckFinished,
    ChecksFinished,
    ConfigLoaded,
    DeadlineReached,
    Drain,
    DrainEnded,
    DrainExpired,
    DrainStarted,
    Effect,
    Event,
    FallbackEntered,
    FallbackLeft,
    HealthChanged,
    LocalAddresses,
    RealKey,
    RouterStates,
    ServiceDown,
    ServiceUp,
    SoftFailure,
    TableAdopted,
    Undrain,
)
from lvsd.core.health import Status
from lvsd.core.model import (
    Actions,
    CheckKind,
    Config,
    Family,
    Protocol,
    ServiceKey,
    SyncDaemon,
    SyncOptions,
    SyncRole,
)
from tests.core.farm import config, entry, held, real, real_key, router, service_key, virtual

HTTP = service_key("192.0.2.1:80")
FALLBACK = real(99, kind=CheckKind.ON)


def play(*events: Event, start: Director | None = None, now: float = 1.0) -> Director:
    director = start or Director()
    for event in events:
        director, _ = step(director, event, now)
    return director


def effects(director: Director, event: Event, now: float = 2.0) -> list[Effect]:
    return list(step(director, event, now)[1])


def passed(last: int, ok: bool = True, **check: object) -> CheckFinished:
    return CheckFinished(real(last, **check).check, ok, "said so")  # type: ignore[arg-type]


def weights(director: Director, at: str = "192.0.2.1:80") -> dict[int, int]:
    return held(desired(director).table[service_key(at)])


def test_a_shared_check_counts_for_every_virtual_that_asks_it() -> None:
    c = config(virtual(real(4)), virtual(real(4), at="192.0.2.2:80", fall=2))
    assert len(checks(c)) == 1
    director = play(ConfigLoaded(c), passed(4), passed(4, False))
    assert weights(director) == {4: 0}
    assert weights(director, "192.0.2.2:80") == {4: 1}


def test_on_and_off_are_never_asked() -> None:
    assert checks(config(virtual(real(4, kind=CheckKind.ON), real(5, kind=CheckKind.OFF)))) == ()


def test_a_question_is_watched_once_where_any_of_its_services_says_so() -> None:
    shared, other = real(4), real(5)
    services = (
        virtual(shared, other),
        virtual(shared, at="192.0.2.2:80", watch=True),
        virtual(shared, at="192.0.2.3:80", watch=True),
    )

    assert watched(config(*services)) == (shared.check,)


def test_a_start_on_a_running_table_changes_nothing_before_the_first_failure() -> None:
    v = virtual(real(4, 2), real(5, 2), fallback=FALLBACK)
    table = {v.key: entry(v, r4=2, r5=0)}
    director = play(TableAdopted(table), ConfigLoaded(config(v)))
    assert desired(director).table == table


def test_all_judged_is_told_once_and_only_when_every_real_had_a_result() -> None:
    director = play(ConfigLoaded(config(virtual(real(4), real(5)))), passed(4))
    assert not director.judged
    assert AllJudged() in effects(director, passed(5, False))
    assert effects(play(passed(5), start=director), passed(5)) == []


def test_a_configuration_without_services_is_judged_at_once() -> None:
    assert AllJudged() in effects(Director(), ConfigLoaded(config()))


def test_effects_tell_of_health_service_and_fallback() -> None:
    director = play(ConfigLoaded(config(virtual(real(4), fallback=FALLBACK))))
    up = effects(director, passed(4))
    key = RealKey(HTTP, real_key(4))
    assert HealthChanged(key, Status.UNKNOWN, Status.UP, "said so") in up
    assert ServiceUp(HTTP) in up
    down = effects(play(passed(4), start=director), passed(4, False))
    assert down == [
        HealthChanged(key, Status.UP, Status.DOWN, "said so"),
        ServiceDown(HTTP),
        FallbackEntered(HTTP, FALLBACK.key),
    ]
    back = effects(play(passed(4, False), start=director), passed(4))
    assert FallbackLeft(HTTP, FALLBACK.key) in back


def test_a_soft_failure_is_told_with_its_count() -> None:
    director = play(ConfigLoaded(config(virtual(real(4), fall=3))), passed(4))
    key = RealKey(HTTP, real_key(4))
    assert effects(director, passed(4, False)) == [SoftFailure(key, 1, 3, "said so")]


def test_a_dead_real_that_fails_for_another_reason_is_not_told_again() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)))), passed(4), passed(4, False))
    assert effects(director, CheckFinished(real(4).check, False, "refused")) == []


def test_results_in_one_batch_count_one_by_one() -> None:
    director = play(ConfigLoaded(config(virtual(real(4), fall=2))), passed(4))
    batch = ChecksFinished((passed(4, False), passed(4, False)))
    assert weights(play(batch, start=director)) == {4: 0}


def test_a_result_for_a_check_nobody_asks_is_ignored() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)))))
    assert step(director, passed(77), 2.0) == (director, ())


# --- reload -------------------------------------------------------------------


def test_a_reload_with_an_equal_configuration_changes_nothing_and_tells_nothing() -> None:
    c = config(virtual(real(4), real(5), fallback=FALLBACK))
    director = play(ConfigLoaded(c), passed(4), passed(5, False))
    after, told = step(director, ConfigLoaded(c), 9.0)
    assert told == ()
    assert desired(after).table == desired(director).table
    assert desired(after).table[HTTP] is desired(director).table[HTTP]


def test_a_changed_check_keeps_the_health() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)))), passed(4))
    changed = config(virtual(real(4, request=b"/other")))
    assert weights(play(ConfigLoaded(changed), start=director)) == {4: 1}


def test_a_changed_weight_follows_at_once_and_a_removed_real_leaves() -> None:
    director = play(ConfigLoaded(config(virtual(real(4), real(5)))), passed(4), passed(5))
    assert weights(play(ConfigLoaded(config(virtual(real(4, 7)))), start=director)) == {4: 7}


def test_a_real_that_is_new_to_the_configuration_but_in_the_table_keeps_its_weight() -> None:
    v = virtual(real(4), real(5))
    director = play(ConfigLoaded(config(virtual(real(4)))), passed(4))
    director = play(TableAdopted({v.key: entry(v, r4=1, r5=1)}), start=director)
    assert weights(play(ConfigLoaded(config(v)), start=director)) == {4: 1, 5: 1}


def test_a_new_real_makes_the_farm_unjudged_until_its_first_result() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)))), passed(4))
    director = play(ConfigLoaded(config(virtual(real(4), real(5)))), start=director)
    assert not director.judged
    assert play(passed(5), start=director).judged


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=30), st.integers(0, 29))
def test_a_reload_at_any_moment_leaves_the_wish_as_it_is(
    results: list[tuple[int, bool]], moment: int
) -> None:
    c = config(virtual(*(real(n) for n in range(1, 5)), fallback=FALLBACK, fall=2, rise=2))
    director = play(ConfigLoaded(c))
    for n, (last, ok) in enumerate(results):
        director = play(passed(last, ok), start=director)
        if n == moment:
            assert step(director, ConfigLoaded(c), 5.0) == (director, ())


def test_changes_are_told_in_words() -> None:
    old = config(virtual(real(4), real(5)), virtual(real(4), at="192.0.2.3:80"))
    new = config(virtual(real(4, 5), real(6)), virtual(real(4), at="192.0.2.9:80"))
    assert changes(old, new) == (
        "changed weight 1 → 5 of real 198.51.100.4:80 in virtual tcp 192.0.2.1:80",
        "added real 198.51.100.6:80 to virtual tcp 192.0.2.1:80",
        "removed real 198.51.100.5:80 from virtual tcp 192.0.2.1:80",
        "added virtual tcp 192.0.2.9:80",
        "removed virtual tcp 192.0.2.3:80",
    )
    assert changes(old, old) == ()


def test_changes_never_show_a_secret() -> None:
    old = config(routers=(router(authpass=b"old-one"),))
    new = config(routers=(router(authpass=b"new-one"),))
    assert changes(old, new) == ("changed authpass of vrrp VI_1",)


# --- drains -------------------------------------------------------------------


@pytest.fixture
def two() -> Director:
    return play(ConfigLoaded(config(virtual(real(4), real(5)))), passed(4), passed(5))


def test_a_drain_sets_the_weight_to_0_and_undrain_restores_it(two: Director) -> None:
    key = RealKey(HTTP, real_key(4))
    drained = play(Drain(key), start=two)
    assert weights(drained) == {4: 0, 5: 1}
    assert effects(two, Drain(key)) == [DrainStarted(key, False, None)]
    assert weights(play(Undrain(key), start=drained)) == {4: 1, 5: 1}
    assert effects(drained, Undrain(key)) == [DrainEnded(key)]


def test_a_passing_check_does_not_end_a_drain(two: Director) -> None:
    drained = play(Drain(RealKey(HTTP, real_key(4))), start=two)
    assert weights(play(passed(4, False), passed(4), start=drained)) == {4: 0, 5: 1}


def test_at_its_deadline_a_drained_real_leaves_the_table_until_undrained(two: Director) -> None:
    key = RealKey(HTTP, real_key(4))
    drained = play(Drain(key, deadline_at=30.0), start=two)
    assert next_deadline(drained) == 30.0
    early, told = step(drained, DeadlineReached(), 29.0)
    assert (early, told) == (drained, ())
    late, told = step(drained, DeadlineReached(), 30.0)
    assert told == (DrainExpired(key),)
    assert weights(late) == {5: 1}
    assert next_deadline(late) is None
    assert weights(play(Undrain(key), start=late)) == {4: 1, 5: 1}


def test_a_drain_restored_before_the_configuration_holds_from_the_start() -> None:
    key = RealKey(HTTP, real_key(4))
    director = play(Drain(key), ConfigLoaded(config(virtual(real(4)))), passed(4))
    assert weights(director) == {4: 0}


def test_a_drain_survives_a_reload_and_ends_with_its_real(two: Director) -> None:
    key = RealKey(HTTP, real_key(4))
    drained = play(Drain(key), start=two)
    kept = play(ConfigLoaded(config(virtual(real(4), real(5, 9)))), start=drained)
    assert weights(kept) == {4: 0, 5: 9}
    gone = effects(drained, ConfigLoaded(config(virtual(real(5)))))
    assert DrainEnded(key, removed=True) in gone


def test_operators_name_reals_by_address_with_or_without_port_in_one_virtual_or_all() -> None:
    c = config(virtual(real(4)), virtual(real(4), at="192.0.2.2:80"))
    director = play(ConfigLoaded(c))
    assert len(find_reals(director, "198.51.100.4")) == 2
    assert len(find_reals(director, "198.51.100.4:80", "192.0.2.2:80")) == 1
    assert len(find_reals(director, "198.51.100.4:80", "tcp 192.0.2.2:80")) == 1


@pytest.mark.parametrize(
    ("real_name", "virtual_name", "complaint"),
    [
        ("198.51.100.9", None, 'no real server "198.51.100.9"'),
        ("198.51.100.4:81", None, 'no real server "198.51.100.4:81"'),
        ("198.51.100.4", "192.0.2.7:80", 'no virtual "192.0.2.7:80" in the configuration'),
    ],
)
def test_an_unknown_name_is_told_to_the_operator(
    two: Director, real_name: str, virtual_name: str | None, complaint: str
) -> None:
    with pytest.raises(LookupError) as caught:
        find_reals(two, real_name, virtual_name)
    assert str(caught.value) == complaint


# --- roles --------------------------------------------------------------------


def roles(state: str) -> RouterStates:
    return RouterStates({"VI_1": state})


def in_table(director: Director) -> bool:
    return HTTP in desired(director).table


def test_a_standby_holds_the_table_unless_told_otherwise() -> None:
    c = config(virtual(real(4)), routers=(router(),))
    assert in_table(play(ConfigLoaded(c), roles("backup")))


def test_without_standbytable_only_the_master_holds_the_service() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)), routers=(router(),), standbytable=False)))
    assert not in_table(play(roles("backup"), start=director))
    assert in_table(play(roles("master"), start=director))


def test_without_standbytable_a_service_of_no_router_is_always_held() -> None:
    c = config(virtual(real(4)), routers=(router("VI_1", "192.0.2.77"),), standbytable=False)
    assert in_table(play(ConfigLoaded(c), roles("backup")))


def test_before_roles_are_known_a_bound_service_stays_as_it_was_found() -> None:
    v = virtual(real(4))
    c = config(v, routers=(router(),), standbytable=False)
    assert not in_table(play(ConfigLoaded(c)))
    assert in_table(play(TableAdopted({v.key: entry(v, r4=1)}), ConfigLoaded(c)))


@pytest.mark.parametrize("peer", [True, False])
def test_a_service_with_this_director_or_its_peer_as_real_is_on_the_master_only(
    peer: bool,
) -> None:
    address = ip_address("198.51.100.4")
    routers = (router(peers=(address,) if peer else ()),)
    local = LocalAddresses(frozenset() if peer else frozenset((address,)))
    director = play(local, ConfigLoaded(config(virtual(real(4)), routers=routers)))
    assert not in_table(play(roles("backup"), start=director))
    assert in_table(play(roles("master"), start=director))


def test_addresses_learnt_after_the_configuration_count_as_well() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)), routers=(router(),))), roles("backup"))
    assert in_table(director)
    learnt = LocalAddresses(frozenset((ip_address("198.51.100.4"),)))
    assert not in_table(play(learnt, start=director))


def test_under_a_sync_daemon_such_a_service_is_on_both_with_backup_only() -> None:
    local = LocalAddresses(frozenset((ip_address("198.51.100.4"),)))
    routers = (router(syncdaemon=("eth1", 51)),)
    director = play(local, ConfigLoaded(config(virtual(real(4)), routers=routers)), roles("backup"))
    assert in_table(director)
    assert desired(director).sysctls["net.ipv4.vs.backup_only"] == "1"


def test_with_both_threads_backup_only_would_stop_the_master_too() -> None:
    local = LocalAddresses(frozenset((ip_address("198.51.100.4"),)))
    routers = (router(syncdaemon=("eth1", 51), syncoptions=SyncOptions(both=True)),)
    director = play(local, ConfigLoaded(config(virtual(real(4)), routers=routers)), roles("backup"))
    assert not in_table(director)
    assert "net.ipv4.vs.backup_only" not in desired(director).sysctls


def test_both_threads_run_in_any_state_where_asked() -> None:
    options = SyncOptions(both=True, maxlen=1000, port=9000)
    routers = (router(syncdaemon=("eth1", 51), syncoptions=options),)
    director = play(ConfigLoaded(config(routers=routers)), roles("backup"))
    threads = desired(director).sync_daemons
    assert [thread.role for thread in threads] == [*SyncRole]
    assert {(t.syncid, t.port, t.maxlen) for t in threads} == {(51, 9000, 1000)}


def test_sync_daemons_follow_the_roles() -> None:
    routers = (router(syncdaemon=("eth1", 51)), router("VI_2", vrid=52, syncdaemon=("eth1", 51)))
    director = play(ConfigLoaded(config(routers=routers)))
    assert desired(director).sync_daemons is None
    both = play(RouterStates({"VI_1": "master", "VI_2": "backup"}), start=director)
    assert desired(both).sync_daemons == (
        SyncDaemon(SyncRole.MASTER, "eth1", 51),
        SyncDaemon(SyncRole.BACKUP, "eth1", 51),
    )
    fault = play(RouterStates({"VI_1": "fault", "VI_2": "initialize"}), start=director)
    assert desired(fault).sync_daemons == (SyncDaemon(SyncRole.BACKUP, "eth1", 51),)


def test_sysctls_are_asked_for_only_where_they_are_needed() -> None:
    def wanted(c: Config) -> dict[str, str]:
        return dict(desired(play(ConfigLoaded(c))).sysctls)

    template = {"net.ipv4.vs.expire_quiescent_template": "1"}
    assert wanted(config(virtual(real(4)))) == {}
    assert wanted(config(virtual(real(4), persistent=300))) == template
    assert wanted(config(virtual(real(4), persistent=300, quiescent=False))) == {}
    synced = config(routers=(router(syncdaemon=("eth1", 0)),))
    assert wanted(synced) == {"net.ipv4.vs.sync_threshold": "2 50"}


def test_tracked_virtuals_are_told_once_they_are_judged() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)))))
    assert tracked(director) == {}
    names = {"192.0.2.1:80", "tcp 192.0.2.1:80"}
    assert tracked(play(passed(4, False), start=director)) == dict.fromkeys(names, False)
    assert tracked(play(passed(4), start=director)) == dict.fromkeys(names, True)


def test_a_quiet_farm_is_the_same_object_whoever_passes() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)))), passed(4))
    assert play(passed(4), start=director) is director


def test_what_is_known_already_changes_nothing() -> None:
    director = play(ConfigLoaded(config(virtual(real(4)))))
    key = RealKey(service_key(), real_key(4))
    director, _ = step(director, RouterStates({"VI_1": "master"}), 1.0)
    assert step(director, RouterStates({"VI_1": "master"}), 2.0) == (director, ())
    assert step(director, Undrain(key), 2.0) == (director, ())

    drained, told = step(director, Drain(key), 3.0)
    assert told == (DrainStarted(key, False, None),)
    assert step(drained, Drain(key), 4.0) == (drained, ())


def test_of_two_verdicts_only_the_news_is_told() -> None:
    director = play(ConfigLoaded(config(virtual(real(4), real(5)))))
    director = play(passed(4), passed(5), start=director)

    key = RealKey(service_key(), real_key(5))
    assert effects(director, ChecksFinished((passed(4), passed(5, False)))) == [
        HealthChanged(key, Status.UP, Status.DOWN, "said so")
    ]


def test_a_firewall_mark_belongs_to_every_router() -> None:
    mark = ServiceKey(Family.INET, Protocol.FWM, None, 0, 7)
    web = virtual(real(4))
    marked = replace(web, service=replace(web.service, key=mark))
    routers = (router("VI_1"), router("VI_2", "192.0.2.2", vrid=52))
    director = play(ConfigLoaded(config(marked, routers=routers, standbytable=False)))

    assert director.bound == {mark: frozenset(("VI_1", "VI_2"))}
    assert str(mark) == "7"
    assert str(replace(mark, family=Family.INET6)) == "7 IPv6"


def test_a_real_is_named_with_its_virtual() -> None:
    assert str(RealKey(service_key(), real_key(4))) == "192.0.2.1:80 198.51.100.4:80"


def test_a_pass_is_quiet_when_it_would_change_nothing() -> None:
    shared = real(4)
    first, second = virtual(shared), virtual(shared, at="192.0.2.2:80", fall=2, rise=2)
    check = shared.check
    one, _ = step(Director(), ConfigLoaded(config(first)), 0.0)
    assert not quiet(one, check, "fine")  # nobody was judged

    one, _ = step(one, CheckFinished(check, True, "fine"), 1.0)
    assert quiet(one, check, "fine")
    assert not quiet(one, check, "also fine")

    both, _ = step(one, ConfigLoaded(config(first, second)), 2.0)
    assert not quiet(both, check, "fine")  # the new place has to be judged
    both, _ = step(both, CheckFinished(check, True, "fine"), 3.0)
    assert quiet(both, check, "fine")

    both, _ = step(both, CheckFinished(check, False, "refused"), 4.0)
    assert not quiet(both, check, "refused")
    both, _ = step(both, CheckFinished(check, True, "fine"), 5.0)
    assert quiet(both, check, "fine")  # one failure of two was forgotten, and the other came back


def test_no_pass_is_quiet_that_a_monitor_file_notes() -> None:
    noted = virtual(real(4), actions=Actions(monitorfile="/var/log/it"))
    director, _ = step(Director(), ConfigLoaded(config(noted)), 0.0)
    check = noted.reals[0].check
    director, _ = step(director, CheckFinished(check, True, "fine"), 1.0)
    assert not quiet(director, check, "fine")


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.sampled_from("ab")), max_size=30))
def test_what_is_called_quiet_changes_nothing(story: list[tuple[int, bool, str]]) -> None:
    reals = real(4), real(5)
    virtuals = (virtual(*reals, at=f"192.0.2.{n}:80", fall=n, rise=n) for n in (1, 2, 3))
    director, _ = step(Director(), ConfigLoaded(config(*virtuals)), 0.0)
    for at, (number, passed, reason) in enumerate(story):
        check = reals[number].check
        called_quiet = quiet(director, check, reason)
        after, _ = step(director, CheckFinished(check, passed, reason), float(at))
        if passed:
            assert called_quiet == (after is director)
        director = after
