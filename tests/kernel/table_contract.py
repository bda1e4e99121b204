"""What every table promises: run on `MemoryTable` anywhere and on `Ipvs` in a kernel."""

from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.model import (
    SCHEDULERS,
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    ServiceEntry,
    ServiceFlag,
    ServiceKey,
    SyncDaemon,
    SyncRole,
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
    plan,
)
from lvsd.linux import KernelError
from lvsd.linux.ipvs import Ipvs
from lvsd.linux.memory import MemoryTable


def endpoint(protocol: Protocol, address: str, port: int) -> ServiceKey:
    ip = ip_address(address)
    return ServiceKey(Family.of(ip), protocol, ip, port)


def real(address: str, port: int, method: Forwarding, weight: int = 1, **more: int) -> Destination:
    return Destination(DestinationKey(ip_address(address), port), method, weight, **more)


def entry(service: VirtualService, *destinations: Destination) -> ServiceEntry:
    return ServiceEntry(service, {d.key: d for d in destinations})


def table(*entries: ServiceEntry) -> Table:
    return {e.service.key: e for e in entries}


F = ServiceFlag
WEB = endpoint(Protocol.TCP, "192.0.2.1", 80)
WEB6 = endpoint(Protocol.TCP, "2001:db8::1", 80)
DNS = endpoint(Protocol.UDP, "192.0.2.1", 53)
SIP = endpoint(Protocol.UDP, "192.0.2.1", 5060)
MARK = ServiceKey(Family.INET, Protocol.FWM, None, 0, 1)
MARK6 = ServiceKey(Family.INET6, Protocol.FWM, None, 0, 2**31 - 1)
ROUTE, MASQ, TUNNEL = Forwarding.ROUTE, Forwarding.MASQ, Forwarding.TUNNEL
RS1 = real("192.0.2.11", 80, ROUTE)
RS2 = real("192.0.2.12", 80, ROUTE, 3, u_threshold=100, l_threshold=75)

#: Every protocol, family, forwarding method and flag at least once.
VARIETY = table(
    entry(VirtualService(WEB, "wlc"), RS1, RS2),
    entry(VirtualService(DNS, "rr", F.ONEPACKET), real("192.0.2.11", 5353, MASQ, 0)),
    entry(
        VirtualService(SIP, "rr", F.PERSISTENT | F.ONEPACKET, 60, pe_name="sip"),
        real("192.0.2.11", 5060, MASQ),
    ),
    entry(
        VirtualService(endpoint(Protocol.SCTP, "192.0.2.1", 2905), "wrr"),
        real("192.0.2.11", 2905, MASQ, 2**31 - 1),
    ),
    entry(
        VirtualService(endpoint(Protocol.TCP, "192.0.2.1", 443), "sh", F.PERSISTENT, 300, 24),
        real("192.0.2.11", 443, TUNNEL),
        real("192.0.2.12", 443, TUNNEL, tun_type=1, tun_port=6080, tun_flags=1),
        real("192.0.2.13", 443, TUNNEL, tun_type=2),
    ),
    entry(VirtualService(endpoint(Protocol.TCP, "192.0.2.1", 0), "wlc", F.PERSISTENT, 1)),
    entry(VirtualService(endpoint(Protocol.TCP, "192.0.2.2", 1), "sh", F.SCHED1 | F.SCHED2)),
    entry(VirtualService(endpoint(Protocol.TCP, "192.0.2.2", 2), "mh", F.SCHED2)),
    entry(VirtualService(endpoint(Protocol.TCP, "192.0.2.2", 3), "rr", F.SCHED3)),
    entry(
        VirtualService(WEB6, "wlc", F.PERSISTENT, 300, 64),
        real("2001:db8::11", 80, ROUTE),
        real("192.0.2.11", 80, TUNNEL),
    ),
    entry(
        VirtualService(endpoint(Protocol.UDP, "2001:db8::1", 53), "rr", F.ONEPACKET, 0, 128),
        real("2001:db8::11", 53, MASQ),
    ),
    entry(VirtualService(MARK, "wlc"), real("192.0.2.11", 0, ROUTE)),
    entry(VirtualService(MARK6, "wlc", F.PERSISTENT, 600, 128), real("2001:db8::11", 0, ROUTE, 7)),
    *(
        entry(VirtualService(endpoint(Protocol.TCP, "192.0.2.3", port), name))
        for port, name in enumerate(SCHEDULERS, 1)
        if name != "twos"  # Debian's kernel is built without it
    ),
)

WLC = VirtualService(WEB, "wlc")
START: tuple[Step, ...] = (NewService(WLC), NewDest(WEB, RS1))
REFUSALS: dict[str, tuple[Step, int, str]] = {
    "the same service twice": (NewService(WLC), errno.EEXIST, "Service already exists"),
    "editing no service": (SetService(VirtualService(DNS, "rr")), errno.ESRCH, "No such service"),
    "removing no service": (DelService(DNS), errno.ESRCH, "No such service"),
    "an unknown scheduler": (
        NewService(VirtualService(DNS, "wlcc")),
        errno.ENOENT,
        "the kernel has no scheduler wlcc",
    ),
    "an edit to an unknown scheduler": (
        SetService(VirtualService(WEB, "wlcc")),
        errno.ENOENT,
        "the kernel has no scheduler wlcc",
    ),
    "an unknown persistence engine": (
        NewService(VirtualService(DNS, "rr", pe_name="sap")),
        errno.ENOENT,
        "persistence engine sap",
    ),
    "an IPv6 netmask beyond the address": (
        NewService(VirtualService(WEB6, "rr", F.PERSISTENT, 300, 129)),
        errno.EINVAL,
        "Invalid argument",
    ),
    "the same destination twice": (NewDest(WEB, RS1), errno.EEXIST, "Destination already exists"),
    "a destination of no service": (NewDest(DNS, RS1), errno.ESRCH, "No such service"),
    "editing a destination of no service": (SetDest(DNS, RS1), errno.ESRCH, "No such service"),
    "removing a destination of no service": (
        DelDest(DNS, RS1.key),
        errno.ESRCH,
        "No such service",
    ),
    "editing no destination": (SetDest(WEB, RS2), errno.ENOENT, "No such destination"),
    "removing no destination": (DelDest(WEB, RS2.key), errno.ENOENT, "No such destination"),
    "a lower threshold alone": (
        NewDest(WEB, real("192.0.2.13", 80, ROUTE, l_threshold=5)),
        errno.ERANGE,
        "the lower threshold is above the upper threshold",
    ),
    "a lower threshold above the upper in an edit": (
        SetDest(WEB, replace(RS1, u_threshold=4, l_threshold=5)),
        errno.ERANGE,
        "the lower threshold is above the upper threshold",
    ),
    "the other family without a tunnel": (
        NewDest(WEB, real("2001:db8::11", 80, ROUTE)),
        errno.EINVAL,
        "other address family needs forwarding ipip",
    ),
    "GUE without a port": (
        NewDest(WEB, real("192.0.2.13", 80, TUNNEL, tun_type=1)),
        errno.EINVAL,
        "Invalid argument",
    ),
}


class TableContract:
    """Tests against the fixture `kernel`, an empty table."""

    async def test_it_starts_empty(self, kernel: Ipvs | MemoryTable) -> None:
        assert await kernel.read_table() == {}
        assert await kernel.read_usage() == {}
        assert await kernel.sync_daemons() == ()

    async def test_every_kind_of_entry_is_read_back_as_written(
        self, kernel: Ipvs | MemoryTable
    ) -> None:
        assert await kernel.apply(plan({}, VARIETY, ())) == []
        held = await kernel.read_table()
        assert held == VARIETY
        assert plan(held, VARIETY, held.keys()) == ()
        assert {key: list(e.destinations) for key, e in held.items()} == {
            key: list(e.destinations) for key, e in VARIETY.items()
        }
        wanted = {(key, name) for key, e in VARIETY.items() for name in e.destinations}
        assert (await kernel.read_usage()).keys() == wanted

    async def test_everything_but_identity_is_edited_in_place(
        self, kernel: Ipvs | MemoryTable
    ) -> None:
        before = table(
            entry(VirtualService(SIP, "rr", F.ONEPACKET), real("192.0.2.11", 5060, MASQ)),
            entry(VirtualService(WEB6, "wlc"), real("2001:db8::11", 80, ROUTE)),
            entry(VirtualService(MARK, "mh", F.PERSISTENT, 10, 16), real("192.0.2.9", 0, ROUTE)),
        )
        tunnel = real("192.0.2.11", 5060, TUNNEL, 9, tun_type=1, tun_port=6080)
        after = table(
            entry(VirtualService(SIP, "sh", F.PERSISTENT, 99, 24, "sip"), tunnel),
            entry(
                VirtualService(WEB6, "mh", F.PERSISTENT | F.SCHED1, 5, 64),
                real("2001:db8::11", 80, MASQ, 4, u_threshold=9, l_threshold=2),
            ),
            entry(VirtualService(MARK, "mh"), real("192.0.2.9", 0, ROUTE, 0)),
        )
        assert await kernel.apply(plan({}, before, ())) == []
        steps = plan(await kernel.read_table(), after, ())
        assert {type(step) for step in steps} == {SetService, SetDest}
        assert await kernel.apply(steps) == []
        assert plan(await kernel.read_table(), after, ()) == ()

    async def test_removing_a_service_removes_its_destinations(
        self, kernel: Ipvs | MemoryTable
    ) -> None:
        assert await kernel.apply([*START, DelService(WEB), NewService(WLC)]) == []
        assert await kernel.read_table() == table(entry(WLC))

    @pytest.mark.parametrize(("step", "number", "text"), REFUSALS.values(), ids=REFUSALS.keys())
    async def test_an_impossible_step_is_refused_with_the_familiar_words(
        self, kernel: Ipvs | MemoryTable, step: Step, number: int, text: str
    ) -> None:
        assert await kernel.apply(START) == []
        ((refused, error),) = await kernel.apply([step])
        assert refused is step
        assert error.errno == number
        assert text in str(error)
        assert await kernel.read_table() == table(entry(WLC, RS1))

    async def test_a_refused_step_among_a_thousand_stops_nothing(
        self, kernel: Ipvs | MemoryTable
    ) -> None:
        reals = [real(f"198.51.{number >> 8}.{number & 255}", 80, ROUTE) for number in range(1000)]
        steps: list[Step] = [NewService(WLC), *(NewDest(WEB, r) for r in reals)]
        twice = NewDest(WEB, reals[3])
        missing = DelDest(DNS, reals[4].key)
        steps[500:500] = [twice]
        steps.append(missing)
        failures = await kernel.apply(steps)
        assert [(step, error.errno) for step, error in failures] == [
            (twice, errno.EEXIST),
            (missing, errno.ESRCH),
        ]
        assert await kernel.read_table() == table(entry(WLC, *reals))
        assert kernel.writes == len(steps)

    async def test_nothing_to_apply_sends_nothing(self, kernel: Ipvs | MemoryTable) -> None:
        assert await kernel.apply([]) == []
        await kernel.read_table()
        assert kernel.writes == 0

    async def test_both_sync_daemons_run_at_once_and_each_only_once(
        self, kernel: Ipvs | MemoryTable
    ) -> None:
        master, backup = (SyncDaemon(role, "lo", 51) for role in SyncRole)
        await kernel.start_sync(backup)
        await kernel.start_sync(master)
        assert await kernel.sync_daemons() == (master, backup)
        with pytest.raises(KernelError, match="Daemon has already run") as twice:
            await kernel.start_sync(backup)
        assert twice.value.errno == errno.EEXIST
        await kernel.stop_sync(SyncRole.MASTER)
        assert await kernel.sync_daemons() == (backup,)
        await kernel.stop_sync(SyncRole.BACKUP)
        with pytest.raises(KernelError, match="No daemon is running") as gone:
            await kernel.stop_sync(SyncRole.BACKUP)
        assert gone.value.errno == errno.ESRCH
