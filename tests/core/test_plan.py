"""plan(): the fewest legal steps, additions before removals, nobody else's services touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsd.core.model import (
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    ServiceEntry,
    ServiceFlag,
    ServiceKey,
    Table,
    VirtualService,
)
from lvsd.core.plan import (
    DelDest,
    DelService,
    NewDest,
    NewService,
    SetDest,
    SetService,
    Step,
    describe,
    normal_destination,
    normal_service,
    plan,
)

WEB = ServiceKey(Family.INET, Protocol.TCP, ip_address("192.168.1.1"), 80)
OTHER = ServiceKey(Family.INET, Protocol.UDP, ip_address("192.168.1.1"), 53)
MARK = ServiceKey(Family.INET6, Protocol.FWM, None, 0, 7)
WEB6 = ServiceKey(Family.INET6, Protocol.TCP, ip_address("2001:db8::1"), 443)
KEYS = (WEB, OTHER, MARK, WEB6)
REALS = tuple(DestinationKey(ip_address(f"192.168.1.{n}"), 80) for n in range(4, 9))


def dest(number: int, weight: int = 1, **more: int) -> Destination:
    return Destination(REALS[number], Forwarding.ROUTE, weight, **more)


def entry(service: VirtualService, *destinations: Destination) -> ServiceEntry:
    return ServiceEntry(service, {d.key: d for d in destinations})


def table(*entries: ServiceEntry) -> Table:
    return {e.service.key: e for e in entries}


destinations = st.builds(
    Destination,
    st.sampled_from(REALS),
    st.sampled_from([Forwarding.MASQ, Forwarding.ROUTE, Forwarding.TUNNEL]),
    st.integers(0, 3),
    u_threshold=st.integers(0, 1),
    tun_type=st.sampled_from([0, 2]),
)
services = st.builds(
    VirtualService,
    st.sampled_from(KEYS),
    st.sampled_from(["rr", "wlc"]),
    st.sampled_from([ServiceFlag.NONE, ServiceFlag.PERSISTENT, ServiceFlag.ONEPACKET]),
    timeout=st.sampled_from([0, 300]),
    prefixlen=st.sampled_from([24, 32]),
)
entries = st.builds(
    lambda service, found: entry(service, *found),
    services,
    st.lists(destinations, unique_by=lambda d: d.key),
)
tables = st.lists(entries, unique_by=lambda e: e.service.key).map(lambda found: table(*found))


class StrictTable:
    """Takes steps as the kernel does and fails on the first illegal one."""

    def __init__(self, start: Table) -> None:
        self.services = {key: e.service for key, e in start.items()}
        self.destinations = {key: dict(e.destinations) for key, e in start.items()}
        self.capacity = [self.weights()]

    def weights(self) -> int:
        return sum(d.weight for found in self.destinations.values() for d in found.values())

    def take(self, step: Step) -> None:
        match step:
            case NewService(service):
                assert service.key not in self.services
                self.services[service.key] = service
                self.destinations[service.key] = {}
            case SetService(service):
                assert service.key in self.services
                self.services[service.key] = service
            case DelService(key):
                del self.services[key], self.destinations[key]
            case NewDest(key, destination):
                assert destination.key not in self.destinations[key]
                self.destinations[key][destination.key] = destination
            case SetDest(key, destination):
                assert destination.key in self.destinations[key]
                self.destinations[key][destination.key] = destination
            case DelDest(key, name):
                del self.destinations[key][name]
        self.capacity.append(self.weights())

    def normal(self) -> object:
        return normal({k: ServiceEntry(s, self.destinations[k]) for k, s in self.services.items()})


def normal(found: Table) -> object:
    return {
        key: (
            normal_service(e.service),
            {k: normal_destination(d) for k, d in e.destinations.items()},
        )
        for key, e in found.items()
    }


def touched(step: Step) -> object:
    match step:
        case NewService() | SetService() | DelService():
            return step.key
        case NewDest(key, destination) | SetDest(key, destination):
            return key, destination.key
        case DelDest(key, name):
            return key, name


@given(tables, tables)
def test_the_steps_turn_the_actual_table_into_the_desired_one_legally(
    actual: Table, desired: Table
) -> None:
    strict = StrictTable(actual)
    for step in plan(actual, desired, actual.keys()):
        strict.take(step)
    assert strict.normal() == normal(desired)


@given(tables, tables)
def test_capacity_first_grows_and_only_then_shrinks(actual: Table, desired: Table) -> None:
    strict = StrictTable(actual)
    for step in plan(actual, desired, actual.keys()):
        strict.take(step)
    peak = strict.capacity.index(max(strict.capacity))
    assert strict.capacity[:peak] == sorted(strict.capacity[:peak])
    assert strict.capacity[peak:] == sorted(strict.capacity[peak:], reverse=True)


@given(tables, tables, st.sets(st.sampled_from(KEYS)))
def test_foreign_services_are_never_touched(
    actual: Table, desired: Table, owned: set[ServiceKey]
) -> None:
    assert {step.key for step in plan(actual, desired, owned)} <= owned | desired.keys()


@given(tables, tables)
def test_no_key_is_touched_twice(actual: Table, desired: Table) -> None:
    keys = [touched(step) for step in plan(actual, desired, actual.keys())]
    assert len(keys) == len(set(keys))


@given(tables)
def test_nothing_to_do_is_the_empty_tuple(wished: Table) -> None:
    assert plan(wished, wished, wished.keys()) == ()


def test_the_order_of_destinations_is_no_difference() -> None:
    service = VirtualService(WEB, "wlc")
    one, other = entry(service, dest(0), dest(1)), entry(service, dest(1), dest(0))
    assert plan(table(one), table(other), ()) == ()


def test_tunnel_details_count_only_with_ipip() -> None:
    service = VirtualService(WEB, "wlc")
    plain, odd = dest(0), dest(0, tun_type=1, tun_port=6080)
    assert plan(table(entry(service, plain)), table(entry(service, odd)), ()) == ()
    tunnel = replace(plain, forwarding=Forwarding.TUNNEL)
    other = replace(odd, forwarding=Forwarding.TUNNEL)
    steps = plan(table(entry(service, tunnel)), table(entry(service, other)), ())
    assert steps == (SetDest(WEB, other),)


def test_a_new_service_comes_before_its_destinations() -> None:
    wish = entry(VirtualService(WEB, "wlc"), dest(0), dest(1))
    steps = (NewService(wish.service), NewDest(WEB, dest(0)), NewDest(WEB, dest(1)))
    assert plan({}, table(wish), ()) == steps


def test_what_the_kernel_adds_by_itself_is_no_difference() -> None:
    wish = VirtualService(WEB, "wlc", ServiceFlag.PERSISTENT, 300)
    held = VirtualService(WEB, "wlc", ServiceFlag.PERSISTENT | ServiceFlag.HASHED, 300)
    assert plan(table(entry(held)), table(entry(wish)), ()) == ()


def test_netmask_and_timeout_count_only_with_persistence() -> None:
    plain, other = VirtualService(WEB, "wlc"), VirtualService(WEB, "wlc", prefixlen=24, timeout=9)
    assert plan(table(entry(plain)), table(entry(other)), ()) == ()
    sticky = VirtualService(WEB, "wlc", ServiceFlag.PERSISTENT, 300, 24)
    wider = VirtualService(WEB, "wlc", ServiceFlag.PERSISTENT, 300, 32)
    assert plan(table(entry(sticky)), table(entry(wider)), ()) == (SetService(wider),)


def test_a_forwarding_method_somebody_changed_is_put_back_in_place() -> None:
    service = VirtualService(WEB, "wlc")
    held = Destination(REALS[0], Forwarding.LOCAL, 1)
    steps = plan(table(entry(service, held)), table(entry(service, dest(0))), ())
    assert steps == (SetDest(WEB, dest(0)),)


def test_the_fallback_comes_before_the_dead_reals_go() -> None:
    service = VirtualService(WEB, "wlc")
    actual = table(entry(service, dest(0), dest(1)))
    desired = table(entry(service, dest(0, 0), dest(4)))
    assert plan(actual, desired, ()) == (
        NewDest(WEB, dest(4)),
        SetDest(WEB, dest(0, 0)),
        DelDest(WEB, REALS[1]),
    )


def test_a_service_that_goes_takes_its_destinations_along() -> None:
    actual = table(entry(VirtualService(WEB, "wlc"), dest(0), dest(1)))
    assert plan(actual, {}, [WEB]) == (DelService(WEB),)
    assert plan(actual, {}, []) == ()


PERSISTENT6 = VirtualService(WEB6, "mh", ServiceFlag.PERSISTENT | ServiceFlag.SCHED2, 60, 64)
GUE = Destination(REALS[0], Forwarding.TUNNEL, 2, tun_type=1, tun_port=6080, tun_flags=1)


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (NewService(VirtualService(WEB, "rr")), "ipvsadm -A -t 192.168.1.1:80 -s rr"),
        (
            NewService(VirtualService(OTHER, "rr", ServiceFlag.ONEPACKET, pe_name="sip")),
            "ipvsadm -A -u 192.168.1.1:53 -s rr --pe sip -o",
        ),
        (SetService(PERSISTENT6), "ipvsadm -E -t [2001:db8::1]:443 -s mh -p 60 -M 64 -b mh-port"),
        (DelService(MARK), "ipvsadm -D -f 7 -6"),
        (NewDest(WEB, dest(0)), "ipvsadm -a -t 192.168.1.1:80 -r 192.168.1.4:80 -g -w 1"),
        (
            SetDest(WEB, dest(0, 5, u_threshold=9, l_threshold=3)),
            "ipvsadm -e -t 192.168.1.1:80 -r 192.168.1.4:80 -g -w 5 -x 9 -y 3",
        ),
        (
            NewDest(MARK, GUE),
            "ipvsadm -a -f 7 -6 -r 192.168.1.4:80 -i -w 2 --tun-type gue --tun-port 6080"
            " --tun-csum",
        ),
        (DelDest(WEB, REALS[0]), "ipvsadm -d -t 192.168.1.1:80 -r 192.168.1.4:80"),
    ],
)
def test_steps_are_described_as_ipvsadm_commands(step: Step, line: str) -> None:
    assert describe(step) == line


def test_planning_ten_thousand_destinations_is_linear() -> None:
    def farm(count: int) -> Table:
        service = VirtualService(WEB, "wlc")
        reals = (
            Destination(DestinationKey(ip_address(0x0A000000 + n), 80), Forwarding.ROUTE, 1)
            for n in range(count)
        )
        return table(entry(service, *reals))

    steps = plan(farm(1), farm(10_000), ())
    assert len(steps) == 9_999
    assert all(isinstance(step, NewDest) for step in steps)
