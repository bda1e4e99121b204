"""A router with a virtual MAC: it waits for its macvlan, and a problem with it is a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lvsd.core import packet
from lvsd.core.model import Family
from lvsd.core.vrrp import (
    Announce,
    LinkChanged,
    Reconfigured,
    Startup,
    State,
    VipsBound,
    VipsReleased,
    VmacChanged,
    faults,
    reported_state,
)
from tests.core.vrrp_world import VIP, Bench, backup, config, master

NAME = "vrrp.51"


@pytest.mark.parametrize(
    ("vrid", "family", "mac"),
    [(51, Family.INET, "00:00:5e:00:01:33"), (255, Family.INET6, "00:00:5e:00:02:ff")],
)
def test_the_virtual_mac_is_that_of_rfc_5798_7_3(vrid, family, mac):
    made = packet.virtual_mac(vrid, family)
    assert made.hex(":") == mac
    assert packet.is_virtual_mac(made)


@pytest.mark.parametrize("mac", ["00005e000333", "02005e000133", "00005e0001", ""])
def test_other_macs_are_nobodys_virtual_one(mac):
    assert not packet.is_virtual_mac(bytes.fromhex(mac))


def test_a_router_waits_for_its_macvlan_and_then_begins():
    bench = Bench(usevmac=NAME)
    bench.do(Startup())
    assert (bench.state, bench.vr.reason) == (State.INITIALIZE, f"waiting for interface {NAME}")
    assert reported_state(bench.vr) == "initialize"

    bench.do(VmacChanged(""))

    assert bench.state is State.BACKUP


def test_one_without_a_virtual_mac_waits_for_none():
    bench = Bench()
    bench.do(Startup())
    assert bench.state is State.BACKUP


def test_a_problem_with_the_macvlan_ends_mastership_and_its_end_is_a_new_start():
    bench = master(usevmac=NAME)

    bench.do(VmacChanged("interface vrrp.51 exists"))
    assert (bench.state, faults(bench.vr)) == (State.INITIALIZE, ("interface vrrp.51 exists",))
    bench.do(VipsReleased())
    assert reported_state(bench.vr) == "fault"

    bench.do(VmacChanged(""))
    assert bench.state is State.BACKUP


def test_a_macvlan_that_is_made_again_moves_no_master():
    bench = master(usevmac=NAME)
    assert bench.do(VmacChanged(None)) == ()
    assert bench.do(VmacChanged("")) == ()
    assert bench.state is State.MASTER


def test_an_interface_that_comes_back_is_waited_for_with_its_macvlan():
    bench = backup(usevmac=NAME)
    bench.do(LinkChanged(False))
    bench.do(VmacChanged(None))
    bench.do(LinkChanged(True))
    assert bench.vr.reason == f"waiting for interface {NAME}"

    bench.do(VmacChanged(""))

    assert bench.state is State.BACKUP


@pytest.mark.parametrize(("before", "after"), [("", NAME), (NAME, "")])
def test_a_master_whose_addresses_change_their_mac_announces_them_again(before, after):
    bench = master(usevmac=before)
    bench.do(VipsBound())

    bench.do(Reconfigured(replace(bench.vr.config, usevmac=after)))
    bench.do(VmacChanged(""))
    effects = bench.do(VipsBound())

    assert [effect.addresses for effect in effects if isinstance(effect, Announce)] == [(VIP,)]


def test_adverts_leave_by_the_macvlan_unless_told_otherwise():
    assert config().outgoing == "eth0"
    assert config(usevmac=NAME).outgoing == NAME
    assert config(usevmac=NAME, vmacxmitbase=True).outgoing == "eth0"


def test_the_host_answers_on_the_addresses_if_told_so_or_if_it_owns_them():
    assert config().accepts
    assert not config(accept=False).accepts
    assert config(accept=False, priority=255).accepts
