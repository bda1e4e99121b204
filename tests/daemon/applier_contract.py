"""What the applier promises: run on `MemoryTable` anywhere and on `Ipvs` in a kernel.

`hand` is somebody else with ipvsadm: it writes the same table behind the applier's back.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.core.director import Director, desired, step
from lvsd.core.happenings import (
    CheckFinished,
    ConfigLoaded,
    Drain,
    Event,
    RealKey,
    TableAdopted,
    Undrain,
)
from lvsd.core.model import (
    Check,
    CheckKind,
    Config,
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    RealServer,
    ServiceEntry,
    ServiceKey,
    Virtual,
    VirtualService,
)
from lvsd.core.plan import DelDest, DelService, NewDest, NewService, SetDest, SetService, Step
from lvsd.daemon.table import REPAIRS, Applier, Kernel


def key(last: int) -> ServiceKey:
    return ServiceKey(Family.INET, Protocol.TCP, ip_address(f"192.0.2.{last}"), 80)


def real(last: int, weight: int = 1) -> RealServer:
    name = DestinationKey(ip_address(f"198.51.100.{last}"), 80)
    return RealServer(name, Forwarding.MASQ, weight, Check(CheckKind.HTTP, name.address, 80))


def virtual(last: int, *reals: RealServer, scheduler: str = "rr") -> Virtual:
    return Virtual(VirtualService(key(last), scheduler), reals)


R4, R5 = real(4, 3), real(5, 3)
WEB = virtual(1, R4, R5)


def held(r: RealServer, weight: int) -> Destination:
    return Destination(r.key, r.forwarding, weight)


class Plant:
    """A Director and an Applier wired as the child wires them, without checks and clock."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.director = Director()
        self.applier = Applier(kernel, zeroed=self.zeroed, raised=self.raised, changed=lambda: None)

    def feed(self, *events: Event) -> None:
        for event in events:
            self.director, _ = step(self.director, event, asyncio.get_running_loop().time())
        self.applier.wish(desired(self.director).table)

    def zeroed(self, name: RealKey) -> bool:
        self.feed(Drain(name, by_hand=True))
        return True

    def raised(self, name: RealKey) -> bool:
        self.feed(Undrain(name, by_hand=True))
        return True

    async def load(self, *virtuals: Virtual) -> None:
        self.applier.owned |= {v.key for v in virtuals}
        found = TableAdopted(await self.applier.read())
        self.feed(found, ConfigLoaded(Config(virtuals=virtuals)))
        await self.applier.round(inspect=False)

    async def passed(self, *reals: RealServer, ok: bool = True) -> None:
        self.feed(*(CheckFinished(r.check, ok, "") for r in reals))
        await self.applier.round(inspect=False)

    async def look(self) -> None:
        await self.applier.round(inspect=True)

    async def weights(self, service: ServiceKey = WEB.key) -> dict[int, int]:
        entry = (await self.kernel.read_table())[service]
        return {k.address.packed[-1]: d.weight for k, d in entry.destinations.items()}


class ApplierContract:
    """Subclasses provide the fixture `kernel`: an empty table."""

    @pytest.fixture
    async def plant(self, kernel: Kernel) -> Plant:
        plant = Plant(kernel)
        return plant

    @pytest.fixture
    async def farm(self, plant: Plant) -> Plant:
        await plant.load(WEB)
        await plant.passed(R4, R5)
        assert await plant.weights() == {4: 3, 5: 3}
        return plant

    async def test_adoption_writes_nothing_where_the_table_is_as_wished(self, plant: Plant) -> None:
        there: list[Step] = [
            NewService(WEB.service),
            *(NewDest(WEB.key, held(r, 3)) for r in (R4, R5)),
        ]
        assert await plant.kernel.apply(there) == []
        before = plant.kernel.writes
        await plant.load(WEB)
        await plant.passed(R4, R5)
        assert plant.kernel.writes == before
        assert plant.applier.settled

    async def test_an_adopted_real_at_weight_0_is_raised_by_its_first_pass(
        self, plant: Plant
    ) -> None:
        there: list[Step] = [
            NewService(WEB.service),
            NewDest(WEB.key, held(R4, 3)),
            NewDest(WEB.key, held(R5, 0)),
        ]
        assert await plant.kernel.apply(there) == []
        await plant.load(WEB)
        assert await plant.weights() == {4: 3, 5: 0}
        await plant.passed(R5)
        assert await plant.weights() == {4: 3, 5: 3}

    async def test_idle_rounds_and_an_equal_reload_write_nothing(self, farm: Plant) -> None:
        before = farm.kernel.writes
        await farm.look()
        await farm.load(WEB)
        await farm.look()
        assert farm.kernel.writes == before
        assert farm.applier.repairs == 0

    async def test_foreign_services_are_listed_and_never_touched(self, farm: Plant) -> None:
        foreign = virtual(7, scheduler="wlc")
        await farm.kernel.apply([NewService(foreign.service), NewDest(foreign.key, held(R4, 5))])
        before = farm.kernel.writes
        await farm.look()
        assert farm.applier.foreign == ["TCP 192.0.2.7:80 wlc"]
        assert farm.kernel.writes == before
        await farm.load(WEB)
        assert foreign.key in await farm.kernel.read_table()

    async def test_a_destination_deleted_by_hand_is_put_back(self, farm: Plant) -> None:
        await farm.kernel.apply([DelDest(WEB.key, R4.key)])
        await farm.look()
        assert await farm.weights() == {4: 3, 5: 3}
        assert (farm.applier.repairs, farm.applier.last_repair is not None) == (1, True)

    async def test_a_service_deleted_by_hand_is_put_back_whole(self, farm: Plant) -> None:
        await farm.kernel.apply([DelService(WEB.key)])
        await farm.look()
        assert await farm.weights() == {4: 3, 5: 3}

    async def test_a_scheduler_and_a_weight_changed_by_hand_are_repaired(self, farm: Plant) -> None:
        changed: list[Step] = [
            SetService(replace(WEB.service, scheduler="wlc")),
            SetDest(WEB.key, held(R4, 9)),
        ]
        await farm.kernel.apply(changed)
        await farm.look()
        assert (await farm.kernel.read_table())[WEB.key].service.scheduler == "rr"
        assert await farm.weights() == {4: 3, 5: 3}

    async def test_a_change_by_hand_just_before_a_reload_is_not_overlooked(
        self, farm: Plant
    ) -> None:
        await farm.kernel.apply([DelDest(WEB.key, R4.key), SetDest(WEB.key, held(R5, 0))])
        await farm.load(WEB)
        assert await farm.weights() == {4: 3, 5: 0}
        assert RealKey(WEB.key, R5.key) in farm.director.drains

    async def test_a_destination_added_by_hand_is_removed(self, farm: Plant) -> None:
        await farm.kernel.apply([NewDest(WEB.key, held(real(9), 1))])
        await farm.look()
        assert await farm.weights() == {4: 3, 5: 3}

    async def test_a_weight_set_to_0_by_hand_is_adopted_as_a_drain(self, farm: Plant) -> None:
        await farm.kernel.apply([SetDest(WEB.key, held(R4, 0))])
        before = farm.kernel.writes
        await farm.look()
        assert farm.kernel.writes == before
        assert farm.director.drains[RealKey(WEB.key, R4.key)].by_hand
        await farm.passed(R4)
        assert await farm.weights() == {4: 0, 5: 3}

    async def test_a_weight_raised_by_hand_again_ends_that_drain(self, farm: Plant) -> None:
        for weight in (0, 3):
            await farm.kernel.apply([SetDest(WEB.key, held(R4, weight))])
            await farm.look()
        assert farm.director.drains == {}
        assert await farm.weights() == {4: 3, 5: 3}

    async def test_a_dead_real_raised_by_hand_is_lowered_again(self, farm: Plant) -> None:
        await farm.passed(R4, ok=False)
        await farm.kernel.apply([SetDest(WEB.key, held(R4, 3))])
        await farm.look()
        assert await farm.weights() == {4: 0, 5: 3}

    async def test_after_three_repairs_in_a_minute_a_key_is_given_up_and_shown(
        self, farm: Plant
    ) -> None:
        for _ in range(REPAIRS + 1):
            await farm.kernel.apply([SetDest(WEB.key, held(R4, 9))])
            await farm.look()
        assert await farm.weights() == {4: 9, 5: 3}
        assert [step for _, step in farm.applier.contested.values()] == [
            "ipvsadm -e -t 192.0.2.1:80 -r 198.51.100.4:80 -m -w 3"
        ]
        await farm.look()
        assert await farm.weights() == {4: 9, 5: 3}

    async def test_a_contested_key_does_not_stop_the_others(self, farm: Plant) -> None:
        for _ in range(REPAIRS + 1):
            await farm.kernel.apply([SetDest(WEB.key, held(R4, 9))])
            await farm.look()
        await farm.passed(R5, ok=False)
        assert await farm.weights() == {4: 9, 5: 0}

    async def test_a_contested_key_follows_a_new_wish(self, farm: Plant) -> None:
        for _ in range(REPAIRS + 1):
            await farm.kernel.apply([SetDest(WEB.key, held(R4, 9))])
            await farm.look()
        await farm.passed(R4, ok=False)
        assert await farm.weights() == {4: 0, 5: 3}
        await farm.look()
        assert farm.applier.contested == {}

    async def test_a_service_that_left_the_configuration_is_removed(self, farm: Plant) -> None:
        await farm.load(virtual(2, R4))
        assert list(await farm.kernel.read_table()) == [key(2)]

    async def test_a_service_of_the_manifest_that_is_not_configured_is_removed(
        self, plant: Plant
    ) -> None:
        await plant.kernel.apply([NewService(virtual(6).service)])
        plant.applier.owned.add(key(6))
        await plant.load(WEB)
        assert list(await plant.kernel.read_table()) == [WEB.key]

    async def test_a_refused_step_is_shown_and_tried_again_when_it_can_work(
        self, plant: Plant
    ) -> None:
        await plant.load(virtual(1, R4, scheduler="nonsense"))
        assert not plant.applier.settled
        assert "nonsense" in " ".join(plant.applier.errors) or plant.applier.errors
        await plant.load(WEB)
        await plant.look()
        assert plant.applier.settled
        assert await plant.weights() == {4: 0, 5: 0}

    async def test_a_change_made_by_hand_in_the_very_way_is_no_failure_for_long(
        self, farm: Plant
    ) -> None:
        await farm.kernel.apply([DelService(WEB.key)])
        await farm.passed(R4, ok=False)
        assert not farm.applier.settled
        await farm.look()
        assert farm.applier.settled
        assert await farm.weights() == {4: 0, 5: 3}

    async def test_the_last_wish_counts_when_several_come_at_once(self, farm: Plant) -> None:
        farm.feed(CheckFinished(R4.check, False, ""))
        farm.feed(CheckFinished(R4.check, True, ""))
        before = farm.kernel.writes
        await farm.applier.round(inspect=False)
        assert farm.kernel.writes == before

    async def test_clear_removes_what_it_is_told_and_only_that(self, farm: Plant) -> None:
        await farm.load(WEB, virtual(2, R5))
        assert await farm.applier.clear([WEB.key, key(99)]) == []
        assert list(await farm.kernel.read_table()) == [key(2)]

    async def test_nothing_is_removed_before_the_first_wish(self, plant: Plant) -> None:
        await plant.kernel.apply([NewService(WEB.service)])
        plant.applier.owned.add(WEB.key)
        await plant.applier.read()
        await plant.look()
        assert await plant.kernel.read_table() != {}

    async def test_the_picture_is_what_the_kernel_holds(self, farm: Plant) -> None:
        await farm.passed(R5, ok=False)
        picture: dict[ServiceKey, ServiceEntry] = dict(farm.applier.picture)
        actual = await farm.kernel.read_table()
        assert {k: e.destinations for k, e in picture.items()} == {
            k: e.destinations for k, e in actual.items()
        }
