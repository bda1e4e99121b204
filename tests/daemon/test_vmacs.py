"""The keeper of macvlans against a kernel that is only a view of links."""

from __future__ import annotations

import asyncio
import errno
import threading
from ipaddress import ip_address

import pytest

from lvsd.core.model import Family, RouterConfig, Vip
from lvsd.core.vrrp import VmacChanged
from lvsd.daemon import vmacs as module
from lvsd.daemon.vmacs import BUDGET, RETRY_DELAY, Vmacs
from lvsd.linux import KernelError, macvlan
from lvsd.linux.interface import Interface
from lvsd.linux.rtnl import AddressRequest

MAC = bytes.fromhex("00005e000133")
KEY = ("eth0", 51, Family.INET)


def config(vrid: int = 51, name: str = "vrrp.51") -> RouterConfig:
    vip = Vip(ip_address(f"192.0.2.{vrid}"), 32, name)
    return RouterConfig("VI", "eth0", vrid, 100, (vip,), usevmac=name)


def link(name: str, index: int, **facts) -> Interface:
    values = {"mac": MAC, "kind": "macvlan", "mode": "private", "parent": 2, "raised": False}
    return Interface(name, index, up=True, arp=True, **values | facts)


class Host:
    """Links and kernel in one: requests are only counted, `refusal` is the answer to each."""

    def __init__(self) -> None:
        self.there = {"eth0": Interface("eth0", 2, b"\2\0\0\0\0\1", up=True, arp=True)}
        self.asked: list[bytes] = []
        self.refusal = 0
        self.makes = True

    def interface(self, name):
        return self.there.get(name)

    def exists(self, index):
        return any(found.index == index for found in self.there.values())

    def vrf_table(self, name):
        return 0

    def catch_up(self):
        """Makes what was asked for last appear."""
        names = [
            n for n in ("vrrp.51", "web", *self.many()) if n.encode() + b"\0" in self.asked[-1]
        ]
        if self.makes and names and not self.refusal:
            self.there[names[0]] = link(names[0], 10 + len(self.there), mac=self.mac(names[0]))

    def many(self):
        return [f"many.{n}" for n in range(1, 20)]

    def mac(self, name):
        return MAC if not name.startswith("many") else MAC[:5] + bytes([int(name[5:])])

    def send(self, requests):
        self.asked += [request.message for request in requests]
        return [self.refusal] * len(requests)


class World:
    def __init__(self, monkeypatch) -> None:
        self.host, self.told, self.woken = Host(), [], 0
        self.settings: list[str] = []
        self.errands: list[int] = []
        monkeypatch.setattr(module.macvlan, "configure", self.configure)
        monkeypatch.setattr(module.macvlan, "keep_to_own", self.keep)
        monkeypatch.setattr(module.macvlan, "set_back", lambda base, before: self.log("back"))
        self.failure: KernelError | None = None
        self.vmacs = Vmacs(self.host, self.host, self.report, self.wake)
        monkeypatch.setattr(self.vmacs._errands, "put", lambda i, request: self.errands.append(i))

    def log(self, word):
        self.settings.append(word)

    def keep(self, base):
        self.log("kept")
        return {"arp_ignore": "0"}

    def configure(self, name, index, kernel, *, ipv6):
        if self.failure is not None:
            raise self.failure
        self.log(f"{name} ipv6={ipv6}")

    def report(self, key, event):
        assert isinstance(event, VmacChanged)
        self.told.append(event.problem)

    def wake(self):
        self.woken += 1

    def fit(self, *configs, now=0.0):
        self.told.clear()
        self.vmacs.fit(configs or (config(),), now)
        return self.told


@pytest.fixture
async def world(monkeypatch):
    return World(monkeypatch)


async def test_it_is_made_once_set_up_and_told(world):
    assert world.fit() == [""]
    assert world.settings == ["vrrp.51 ipv6=False", "kept"]
    asked = len(world.host.asked)

    assert world.fit() == []
    assert len(world.host.asked) == asked


async def test_one_left_by_a_crash_is_ours_and_another_of_its_name_is_not(world):
    world.host.there["vrrp.51"] = link("vrrp.51", 7)
    assert world.fit() == [""]
    assert world.host.asked == []

    for facts in ({"mac": b"\2" * 6}, {"kind": "vlan"}, {"mode": "bridge"}, {"parent": 3}):
        world.host.there["vrrp.51"] = link("vrrp.51", 8, **facts)
        (problem,) = world.fit() or [problem]  # noqa: F821 - the same words are told once
        assert "exists and is not this router's" in problem
    assert world.host.asked == []
    world.vmacs.rise(KEY, 0.0)
    world.vmacs.lower([KEY])
    world.vmacs.put_away()
    assert world.host.asked == []
    assert world.errands == []


async def test_without_its_base_it_is_waited_for(world):
    del world.host.there["eth0"]
    assert world.fit() == [None]
    assert world.host.asked == []


async def test_what_the_kernel_refuses_is_a_problem_until_it_is_tried_again(world):
    world.host.refusal = errno.EBUSY
    assert world.fit() == ["cannot make vrrp.51: Device or resource busy"]
    assert world.vmacs.deadline() == RETRY_DELAY
    asked = len(world.host.asked)

    assert world.fit(now=RETRY_DELAY - 1) == []
    assert len(world.host.asked) == asked
    world.host.refusal = 0
    assert world.fit(now=RETRY_DELAY) == [""]
    assert world.vmacs.deadline() is None


async def test_a_setting_that_cannot_be_made_is_a_problem(world):
    world.failure = KernelError(errno.EROFS, "sysctl arp_ignore: read-only")
    assert world.fit() == ["sysctl arp_ignore: read-only"]

    world.failure = None
    assert world.fit(now=RETRY_DELAY) == [""]


async def test_it_is_raised_for_a_master_and_lowered_for_others(world):
    world.fit()
    index = world.host.there["vrrp.51"].index

    world.vmacs.rise(KEY, 0.0)
    assert world.host.asked[-1] == macvlan.raising(index, True).message
    world.host.there["vrrp.51"] = link("vrrp.51", index, raised=True)
    asked = len(world.host.asked)
    world.vmacs.rise(KEY, 0.0)
    assert len(world.host.asked) == asked

    world.vmacs.lower([])
    assert world.errands == []
    world.vmacs.lower([KEY])
    assert world.errands == [index]
    assert world.vmacs.lowering(KEY) == (macvlan.raising(index, False).message,)


async def test_one_that_cannot_be_raised_is_a_problem(world):
    world.fit()
    world.host.refusal = errno.EBUSY
    world.told.clear()

    world.vmacs.rise(KEY, 0.0)

    assert world.told == ["vrrp.51 cannot be raised: Device or resource busy"]


async def test_one_that_nobody_needs_any_more_is_removed_once_and_the_base_set_back(world):
    world.fit()
    index = world.host.there["vrrp.51"].index
    assert world.vmacs.removals() == (macvlan.removal(index).message,)

    world.vmacs.fit([], 0.0)
    world.vmacs.lower([])
    world.vmacs.lower([])

    assert world.errands == [index]
    assert world.settings[-1] == "back"
    del world.host.there["vrrp.51"]
    world.vmacs.fit([], 0.0)
    assert world.vmacs.removals() == ()


async def test_a_name_that_goes_to_another_router_waits_for_the_removal(world):
    world.fit(config(51, "web"))
    old = world.host.there["web"].index

    assert world.fit(config(52, "web")) == [None]
    world.vmacs.lower([])
    assert world.errands == [old]
    assert world.fit(config(52, "web")) == []


async def test_many_are_made_a_few_at_a_time(world):
    configs = [config(n, name) for n, name in enumerate(world.host.many(), 1)]

    assert world.fit(*configs) == [""] * BUDGET
    assert world.woken == 1
    for _ in range(len(configs) // BUDGET):
        world.vmacs.fit(configs, 0.0)
    assert len(world.vmacs.removals()) == len(configs)


async def test_at_the_end_all_of_ours_are_removed(world):
    world.fit()
    index = world.host.there["vrrp.51"].index

    world.vmacs.put_away()

    assert world.host.asked[-1] == macvlan.removal(index).message
    assert world.settings[-1] == "back"


class SlowKernel:
    """Holds each request up until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.sent: list[bytes] = []

    def send(self, requests):
        self.sent += [request.message for request in requests]
        self.entered.set()
        assert self.go.wait(5)
        return [0]

    def close(self):
        """Nothing to give back."""


async def test_errands_are_done_in_a_thread_and_may_be_taken_back_before(monkeypatch):
    kernel, done, over = SlowKernel(), [], asyncio.Event()
    monkeypatch.setattr(macvlan, "AddressSocket", lambda: kernel)
    loop = asyncio.get_running_loop()

    def finished(index, code):
        done.append((index, code))
        loop.call_soon_threadsafe(over.set)

    errands = macvlan.Errands(finished)
    errands.put(7, AddressRequest(b"seven"))
    assert kernel.entered.wait(5)
    errands.put(8, AddressRequest(b"eight"))

    assert not errands.withdraw(7)  # it is under way
    assert errands.withdraw(8)
    kernel.go.set()
    await asyncio.wait_for(over.wait(), 5)
    errands.close()

    assert done == [(7, 0)]
    assert kernel.sent == [b"seven"]
