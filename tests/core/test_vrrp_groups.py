"""VirtualRouters: reload, removal, and sync groups that move together."""

from __future__ import annotations

from dataclasses import replace

from lvsd.core.model import Family, Vip
from lvsd.core.vrrp import (
    ChildLost,
    DeadlineReached,
    Effect,
    Event,
    Key,
    LinkChanged,
    NeighbourAnnounced,
    Relieved,
    Resume,
    SendAdvert,
    ServicesReady,
    Shutdown,
    Startup,
    State,
    StepDown,
    StepDownFailed,
    VipsBound,
    VipsReleased,
    VirtualRouters,
    effective_priority,
    faults,
)

from .vrrp_world import HIGH, KEY, OWN, VIP, VIP2, advert, config

KEY2 = ("eth1", 52, Family.INET)
SECOND = replace(
    config(name="VI_2", addresses=(Vip(VIP2, 32),)), interface="eth1", vrid=52, priority=90
)


class Set:
    """A VirtualRouters and its clock."""

    def __init__(self, *configs) -> None:
        self.routers, self.now = VirtualRouters(), 0.0
        self.configure(*configs)
        self.do(None, Startup())

    def configure(self, *configs) -> list[tuple[Key, Effect]]:
        sources = {c.key: OWN for c in configs}
        self.routers, effects = self.routers.configure(configs, sources, self.now)
        return list(effects)

    def do(self, key: Key | None, event: Event, now: float | None = None):
        self.now = self.now if now is None else now
        self.routers, effects = self.routers.step(key, event, self.now)
        return list(effects)

    def deadline(self):
        return self.do(None, DeadlineReached(), self.routers.next_deadline())

    def states(self) -> list[State]:
        return [vr.state for vr in self.routers.routers.values()]


def grouped() -> Set:
    return Set(config(syncgroup="G1"), replace(SECOND, syncgroup="G1"))


def masters() -> Set:
    """A group that is MASTER in both members."""
    group = grouped()
    group.deadline()
    group.deadline()
    assert group.states() == [State.MASTER, State.MASTER]
    group.do(None, VipsBound())
    return group


# --- the collection -------------------------------------------------------------------------


def test_routers_are_independent_without_a_group() -> None:
    pair = Set(config(), SECOND)

    effects = pair.deadline()

    assert (KEY, SendAdvert(100)) in effects
    assert pair.states() == [State.MASTER, State.BACKUP]
    assert list(pair.routers.desired()) == [KEY, KEY2]
    assert pair.routers.desired()[KEY2] == ()


def test_an_empty_collection_has_nothing_to_do_and_is_stopped() -> None:
    none = VirtualRouters()

    assert none.next_deadline() is None
    assert none.stopped()


def test_an_unknown_key_is_ignored() -> None:
    pair = Set(config())

    assert pair.do(KEY2, LinkChanged(False)) == []


def test_an_unchanged_configuration_sends_nothing() -> None:
    pair = Set(config(), SECOND)
    pair.deadline()
    before = pair.routers

    assert pair.configure(config(), SECOND) == []

    assert pair.routers == before


def test_a_removed_master_serves_until_relieved_and_is_forgotten() -> None:
    pair = Set(config(), SECOND)
    pair.deadline()

    assert pair.configure(SECOND) == [(KEY, SendAdvert(0))]
    assert pair.routers.desired()[KEY] == config().addresses
    pair.do(KEY, NeighbourAnnounced(VIP))
    pair.do(KEY, VipsReleased())

    assert list(pair.routers.routers) == [KEY2]
    assert not pair.routers.stopped()


def test_a_removed_backup_is_forgotten_at_once() -> None:
    pair = Set(config(), SECOND)

    pair.configure(config())

    assert list(pair.routers.routers) == [KEY]


def test_a_router_that_is_wanted_back_while_it_stops_starts_again() -> None:
    pair = Set(config())
    pair.deadline()
    pair.configure()
    wanted = config(priority=77)

    pair.configure(wanted)
    assert pair.states() == [State.MASTER]
    pair.do(KEY, NeighbourAnnounced(VIP))
    pair.do(KEY, VipsReleased())

    assert pair.states() == [State.BACKUP]
    assert pair.routers.routers[KEY].config == wanted


def test_a_new_router_knows_what_the_child_said_before() -> None:
    pair = Set()
    pair.do(None, ServicesReady(True))
    pair.do(None, ChildLost(True))

    pair.configure(config(has_services=True))
    pair.do(KEY, Startup())

    assert pair.states() == [State.BACKUP]
    assert effective_priority(pair.routers.routers[KEY]) == 1


def test_a_shutdown_of_all_is_complete_when_all_are_stopped() -> None:
    pair = Set(config(), SECOND)
    pair.deadline()

    pair.do(None, Shutdown())
    assert not pair.routers.stopped()
    pair.deadline()
    pair.do(None, VipsReleased())

    assert pair.routers.stopped()
    assert list(pair.routers.routers) == [KEY, KEY2]


# --- sync groups ----------------------------------------------------------------------------


def test_a_group_becomes_master_when_every_member_wants_to() -> None:
    group = grouped()

    group.deadline()
    assert group.states() == [State.BACKUP, State.BACKUP]
    effects = group.deadline()

    assert group.states() == [State.MASTER, State.MASTER]
    assert [key for key, effect in effects if isinstance(effect, SendAdvert)] == [KEY, KEY2]


def test_a_member_that_hears_its_master_holds_the_group_back() -> None:
    group = grouped()

    for second in range(1, 10):
        group.do(KEY2, replaced(advert(150)), float(second))
        group.do(None, DeadlineReached())

    assert group.states() == [State.BACKUP, State.BACKUP]


def test_a_member_that_waits_gives_up_when_it_hears_a_master() -> None:
    group = grouped()
    group.deadline()

    group.do(KEY, advert(0))
    assert group.routers.routers[KEY].wants_master
    group.do(KEY, advert(150))
    group.deadline()

    assert group.states() == [State.BACKUP, State.BACKUP]


def replaced(event):
    return replace(event, advert=replace(event.advert, vrid=52, addresses=(VIP2,)))


def test_when_one_member_yields_all_yield() -> None:
    group = masters()

    group.do(KEY2, replaced(advert(150)))

    assert group.states() == [State.BACKUP, State.BACKUP]
    reason = group.routers.routers[KEY].reason
    assert reason == "sync group G1: not master everywhere"


def test_a_fault_of_one_member_is_a_fault_of_all_until_it_is_gone() -> None:
    group = masters()

    effects = group.do(KEY2, LinkChanged(False))

    assert group.states() == [State.INITIALIZE, State.INITIALIZE]
    assert [e for k, e in effects if k == KEY] == [SendAdvert(0), SendAdvert(0)]
    assert faults(group.routers.routers[KEY]) == ("sync group G1: VI_2: interface eth1 is down",)
    group.do(None, VipsReleased())
    group.do(KEY2, LinkChanged(True))

    assert group.states() == [State.BACKUP, State.BACKUP]


def test_a_step_down_of_one_member_is_one_of_the_group() -> None:
    group = masters()

    effects = group.do(KEY2, StepDown())
    assert effects == [(KEY, SendAdvert(0)), (KEY2, SendAdvert(0))]
    group.do(KEY, NeighbourAnnounced(VIP))
    assert group.states() == [State.BACKUP, State.MASTER]
    effects = group.do(KEY2, NeighbourAnnounced(VIP2))

    assert isinstance(effects[0][1], Relieved)
    assert group.states() == [State.BACKUP, State.BACKUP]
    group.do(KEY, Resume())
    assert not any(vr.stepped_down for vr in group.routers.routers.values())


def test_a_step_down_that_fails_for_one_member_ends_as_backup_in_all() -> None:
    group = masters()
    group.do(KEY, StepDown())
    group.do(KEY, NeighbourAnnounced(VIP))

    effects = group.deadline()

    assert any(isinstance(effect, StepDownFailed) for _, effect in effects)
    assert group.states() == [State.BACKUP, State.BACKUP]


def test_a_step_down_that_fails_for_all_leaves_the_group_master() -> None:
    group = masters()
    group.do(KEY, StepDown())

    group.deadline()

    assert group.states() == [State.MASTER, State.MASTER]


def test_a_router_that_leaves_the_group_while_it_waits_becomes_master() -> None:
    group = grouped()
    group.deadline()

    group.configure(config(), replace(SECOND, syncgroup="G1"))

    assert group.states()[0] is State.MASTER


def test_a_stopping_member_no_longer_holds_the_rest_back() -> None:
    group = grouped()
    group.deadline()

    group.configure(config(syncgroup="G1"))

    assert group.states() == [State.MASTER]


def test_the_higher_address_does_not_split_a_group() -> None:
    group = masters()

    group.do(KEY, advert(100, HIGH))

    assert group.states() == [State.BACKUP, State.BACKUP]
