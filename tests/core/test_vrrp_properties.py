"""What holds for every history of a VirtualRouter."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsd.core.model import Track, TrackKind, Vip
from lvsd.core.packet import Reason
from lvsd.core.vrrp import (
    AdvertReceived,
    AdvertRejected,
    Announce,
    ChildLost,
    DeadlineReached,
    LeaseRefreshed,
    LinkChanged,
    NeighbourAnnounced,
    Reconfigured,
    RefreshLease,
    Resume,
    SendAdvert,
    ServicesReady,
    Shutdown,
    SourceChanged,
    Startup,
    State,
    StateChanged,
    StepDown,
    TrackChanged,
    VipsBound,
    VipsFailed,
    VipsLost,
    VipsReleased,
    VirtualRouter,
    counters,
    desired,
    destinations,
    effective_priority,
    faults,
    master_down_interval,
    next_deadline,
    reported_state,
    step,
    stopped,
)
from lvsd.core.vrrp.timers import RELIEF_DELAY

from .vrrp_world import HIGH, LOW, OWN, VIP, VIP2, Bench, advert, backup, config, master

TRACK = Track(TrackKind.SCRIPT, "chk")
WEIGHTED = Track(TrackKind.SCRIPT, "disk", -40)
CONFIGS = [
    config(),
    config(priority=200, addresses=(Vip(VIP, 32), Vip(VIP2, 32)), tracks=(WEIGHTED,)),
    config(preempt=False, has_services=True, lease=False, startupdelay=3.0),
    config(version=3, advertint=0.3, preemptdelay=2.0, tracks=(TRACK,)),
    config(priority=255, peers=(LOW, OWN, HIGH), advertint=3.0, startupdelay=40.0),
]
EVENTS = [
    Startup(),
    *map(ServicesReady, (True, False)),
    *(advert(p, s) for p, s in product((0, 50, 100, 150, 255), (LOW, HIGH))),
    advert(100, OWN, interval=2.0, addresses=(VIP2,)),
    AdvertRejected(Reason.CHECKSUM),
    *map(NeighbourAnnounced, (VIP, VIP2)),
    *map(LinkChanged, (True, True, False)),
    *map(SourceChanged, (OWN, OWN, None)),
    *(TrackChanged(t, up) for t, up in product((TRACK, WEIGHTED), (True, False))),
    VipsBound(),
    VipsBound(),
    VipsReleased(),
    VipsReleased(),
    VipsFailed("EPERM"),
    VipsLost((VIP,)),
    LeaseRefreshed(),
    LeaseRefreshed(),
    Shutdown(),
    StepDown(),
    Resume(),
    *map(Reconfigured, CONFIGS),
    *map(ChildLost, (True, False)),
    *[DeadlineReached()] * 12,
]
HISTORIES = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.sampled_from([0.0, 0.0, 0.05, 0.3, 1.0, "due", 4.0])),
    max_size=60,
)


@settings(max_examples=200)
@given(st.sampled_from(CONFIGS), HISTORIES)
def test_every_history_keeps_the_promises(first, history) -> None:
    vr, now, told, confirmed = VirtualRouter.initial(first, OWN), 0.0, State.INITIALIZE, False
    for event, passes in [(Startup(), 0.0), *history]:
        due = next_deadline(vr)
        if passes == "due":
            now = max(now, due or now)
        else:
            now += passes
        before, (vr, effects) = vr, step(vr, event, now)

        assert step(before, event, now) == (vr, effects)
        assert bool(desired(vr)) is (vr.state is State.MASTER or vr.release_at is not None)
        if vr.release_at is not None:
            assert vr.state is State.BACKUP
            assert vr.since < vr.release_at <= vr.since + RELIEF_DELAY
        if vr.state is not before.state or event == VipsBound():
            confirmed = vr.state is State.MASTER and event == VipsBound()
        for effect in effects:
            match effect:
                case SendAdvert(priority=priority):
                    assert OWN in (before.source, vr.source)
                    assert destinations(vr)
                    assert priority in (0, effective_priority(vr))
                    last_word = before.state is State.MASTER and isinstance(event, AdvertReceived)
                    assert priority == 0 or vr.state is State.MASTER or last_word
                case Announce(addresses=addresses) if addresses != (OWN,):
                    assert confirmed
                    assert vr.state is State.MASTER
                    assert set(addresses) <= {vip.address for vip in desired(vr)}
                case RefreshLease():
                    assert any(isinstance(e, SendAdvert) for e in effects)
                    assert vr.state is State.MASTER
                case StateChanged(old=old, new=new):
                    assert old is told
                    told = new
        if any(isinstance(effect, StateChanged) for effect in effects):
            assert told is vr.state
        assert reported_state(vr) in (told, "fault")
        if vr.state is not State.INITIALIZE:
            assert not faults(vr)
        after = next_deadline(vr)
        if isinstance(event, DeadlineReached) and after is not None:
            assert after > now
        assert all(counters(vr)[name] >= n for name, n in counters(before).items())
        if vr.stopping and stopped(vr):
            assert next_deadline(vr) is None


@settings(max_examples=100)
@given(st.sampled_from(CONFIGS), HISTORIES)
def test_every_history_can_be_ended_by_a_shutdown(first, history) -> None:
    vr, now = VirtualRouter.initial(first, OWN), 0.0
    for event, passes in history:
        now += passes if isinstance(passes, float) else 0.7
        vr, _ = step(vr, event, now)

    vr, _ = step(vr, Shutdown(), now)
    limit = now + max(1.0, vr.config.advertint)
    while (at := next_deadline(vr)) is not None:
        assert at <= limit
        vr, _ = step(vr, DeadlineReached(), at)
    vr, _ = step(vr, VipsReleased(), limit)

    assert stopped(vr)
    assert desired(vr) == ()


@settings(max_examples=100)
@given(st.sampled_from(CONFIGS), HISTORIES, st.lists(st.floats(0, 1), max_size=8))
def test_a_deadline_before_its_time_changes_nothing(first, history, fractions) -> None:
    vr, now = VirtualRouter.initial(first, OWN), 0.0
    for event, passes in history:
        now += passes if isinstance(passes, float) else 0.7
        vr, _ = step(vr, event, now)
    vr, _ = step(vr, DeadlineReached(), now)
    due = next_deadline(vr)
    until = now + 10.0 if due is None else due

    for fraction in sorted(fractions):
        at = now + fraction * (until - now)
        if at < until and vr.state is not State.MASTER:
            assert step(vr, DeadlineReached(), at) == (vr, ())


@given(
    version=st.sampled_from([2, 3]),
    priority=st.integers(1, 254),
    hundredths=st.integers(5, 1000),
    lost=st.lists(st.integers(0, 2), min_size=1, max_size=30),
    jitter=st.floats(0, 0.001),
)
def test_two_adverts_lost_in_a_row_never_cause_a_transition(
    version, priority, hundredths, lost, jitter
) -> None:
    interval = hundredths / 100 if version == 3 else float(hundredths % 20 + 1)
    bench = backup(version=version, priority=priority, advertint=interval)
    sent = 0

    for missing in lost:
        sent += missing + 1
        arrives = sent * interval * (1 + 1e-9) + (jitter * interval if missing else 0.0)
        bench.do(DeadlineReached(), arrives - 1e-6 * interval)
        bench.do(advert(255, HIGH, interval, version=version), arrives)
        assert bench.state is State.BACKUP


@given(st.sampled_from([2, 3]), st.integers(1, 254), st.integers(1, 4095))
def test_the_third_lost_advert_does(version, priority, hundredths) -> None:
    interval = hundredths / 100 if version == 3 else float(hundredths % 255 + 1)
    bench = backup(version=version, priority=priority, advertint=interval)
    bench.do(advert(255, HIGH, interval, version=version), 0.0)

    bench.deadline()

    assert bench.now == pytest.approx(master_down_interval(version, priority, interval))
    assert bench.state is State.MASTER


def test_elections_of_every_priority_against_every_priority() -> None:
    for ours in (1, 2, 99, 100, 101, 253, 254):
        serving = master(priority=ours).vr
        waiting = backup(priority=ours).vr
        for theirs, source in product(range(256), (LOW, OWN, HIGH)):
            event = advert(theirs, source)
            served, _ = step(serving, event, serving.sent_at + 0.5)
            waited, _ = step(waiting, event, 1.0)

            yields = theirs > ours or (theirs == ours and source == HIGH)
            assert (served.state is State.BACKUP) is yields
            restarted = waited.master_down_at == 1.0 + 3 + (256 - ours) / 256
            assert restarted is (theirs >= ours)


def test_a_master_alone_stays_master_for_a_day_of_adverts() -> None:
    bench = master(advertint=10.0)
    became = bench.vr.since

    while bench.now < 86400:
        if RefreshLease() in bench.deadline():
            bench.do(LeaseRefreshed(), bench.now + 0.01)

    assert (bench.vr.since, bench.state) == (became, State.MASTER)


def test_a_bench_that_never_started_has_no_deadline() -> None:
    assert next_deadline(Bench().vr) is None
