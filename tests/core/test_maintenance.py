"""The maintenance folder in the core: who is out of service, and what becomes of the pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lvsd.core import director as director_module
from lvsd.core.director import Director, step
from lvsd.core.happenings import (
    CheckFinished,
    ConfigLoaded,
    Drain,
    Effect,
    Event,
    Maintenance,
    MaintenanceEnded,
    MaintenanceStarted,
    RealKey,
    ServiceDown,
    Undrain,
)
from lvsd.core.model import Config, DestinationKey, Virtual
from lvsd.core.pool import Admin, Pool

from .farm import config, held, real, real_key, service_key, virtual

FILE = "/maintenance/198.51.100.4"
KEY = RealKey(service_key(), real_key(4))


class Bench:
    """A director with two live reals, .4 and .5."""

    def __init__(self, **policy: Any) -> None:
        self.director = Director()
        self.virtual = virtual(real(4), real(5), **policy)
        self.config = config(self.virtual)
        self.do(ConfigLoaded(self.config))
        for server in self.virtual.reals:
            self.do(CheckFinished(server.check, True, ""))

    def do(self, event: Event) -> tuple[Effect, ...]:
        self.director, effects = step(self.director, event, 0.0)
        return effects

    @property
    def weights(self) -> dict[int, int]:
        return held(self.director.pools[self.virtual.key].entry)


def test_a_file_sets_weight_0_at_once_and_its_removal_restores_the_weight() -> None:
    bench = Bench()

    assert bench.do(Maintenance({KEY: FILE})) == (MaintenanceStarted(KEY, FILE),)
    assert bench.weights == {4: 0, 5: 1}

    assert bench.do(Maintenance({})) == (MaintenanceEnded(KEY),)
    assert bench.weights == {4: 1, 5: 1}


def test_with_quiescent_no_a_real_in_maintenance_leaves_the_table() -> None:
    bench = Bench(quiescent=False)

    bench.do(Maintenance({KEY: FILE}))

    assert bench.weights == {5: 1}


def test_the_same_files_again_change_nothing() -> None:
    bench = Bench()
    bench.do(Maintenance({KEY: FILE}))
    before = bench.director

    assert bench.do(Maintenance({KEY: FILE})) == ()
    assert bench.director is before


def test_the_last_real_in_maintenance_takes_the_service_down() -> None:
    bench = Bench()
    other = RealKey(KEY.virtual, real_key(5))

    effects = bench.do(Maintenance({KEY: FILE, other: "/maintenance/198.51.100.5"}))

    assert ServiceDown(KEY.virtual) in effects


def test_a_check_that_passes_meanwhile_does_not_end_the_maintenance() -> None:
    bench = Bench()
    bench.do(Maintenance({KEY: FILE}))

    bench.do(CheckFinished(bench.virtual.reals[0].check, False, "refused"))
    bench.do(CheckFinished(bench.virtual.reals[0].check, True, ""))

    assert bench.weights == {4: 0, 5: 1}


def test_drain_and_maintenance_each_hold_a_real_by_themselves() -> None:
    bench = Bench()
    bench.do(Drain(KEY))
    bench.do(Maintenance({KEY: FILE}))

    bench.do(Undrain(KEY))
    assert bench.weights == {4: 0, 5: 1}, "the file still stands"

    bench.do(Drain(KEY))
    bench.do(Maintenance({}))
    assert bench.weights == {4: 0, 5: 1}, "the drain still stands"


def test_maintenance_survives_a_reload_and_ends_with_its_real() -> None:
    bench = Bench()
    bench.do(Maintenance({KEY: FILE}))

    bench.do(ConfigLoaded(config(_heavier(bench.virtual))))
    assert bench.weights == {4: 0, 5: 7}

    bench.do(ConfigLoaded(Config()))
    assert bench.director.maintenance == {}


def test_a_configuration_comes_with_what_the_folder_says_of_it() -> None:
    director, effects = step(Director(), ConfigLoaded(config(virtual(real(4))), {KEY: FILE}), 0.0)
    director, _ = step(director, CheckFinished(real(4).check, True, ""), 0.0)

    assert MaintenanceStarted(KEY, FILE) in effects
    assert held(director.pools[KEY.virtual].entry) == {4: 0}, "it is never raised in between"


def test_a_reload_without_the_folder_ends_the_maintenance() -> None:
    bench = Bench()
    bench.do(Maintenance({KEY: FILE}))

    assert bench.do(ConfigLoaded(bench.config, {KEY: FILE})) == ()
    assert bench.do(ConfigLoaded(bench.config, {})) == (MaintenanceEnded(KEY),)
    assert bench.weights == {4: 1, 5: 1}


def test_a_file_for_a_real_that_nobody_configured_means_nothing() -> None:
    bench = Bench()
    stranger = RealKey(service_key(), real_key(77))

    bench.do(Maintenance({stranger: "/maintenance/198.51.100.77"}))
    assert bench.do(ConfigLoaded(bench.config)) == ()
    assert bench.weights == {4: 1, 5: 1}


def test_each_pool_is_settled_once_for_all_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[int] = []
    original = director_module.administer

    def counted(pool: Pool, words: Mapping[DestinationKey, Admin]) -> Pool:
        settled.append(len(words))
        return original(pool, words)

    monkeypatch.setattr(director_module, "administer", counted)
    bench = Bench()
    other = RealKey(service_key(), real_key(5))
    bench.do(Maintenance({KEY: FILE, other: "/maintenance/198.51.100.5"}))

    assert settled == [2]


def _heavier(old: Virtual) -> Virtual:
    return virtual(real(4, 7), real(5, 7))


def test_another_file_for_the_same_real_is_no_news() -> None:
    bench = Bench()
    bench.do(Maintenance({KEY: FILE}))

    assert bench.do(Maintenance({KEY: "/maintenance/name"})) == ()
    assert bench.weights == {4: 0, 5: 1}
