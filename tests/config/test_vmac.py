"""The virtual MAC of a vrrp= block, and who answers on its addresses."""

import pytest

from lvsd.config import ConfigError, render

PAIR = "vrrp=VI_1\n\tinterface=eth0\n\tvirtualrouterid=51\n\taddress=192.168.1.1\n"
SIX = PAIR.replace("192.168.1.1", "2001:db8::1")
OTHER = "vrrp=VI_2\n\tinterface=eth1\n\tvirtualrouterid=51\n\taddress=192.168.2.1\n"


def block(lines, head=PAIR):
    return head + "".join(f"\t{line}\n" for line in lines.split("\n"))


def router(load_text, lines, head=PAIR):
    """The router of a block with these lines; its normal form must load back to the same."""
    config = load_text(block(lines, head))
    again = load_text(render(config))
    assert again == config
    assert again.warnings == config.warnings
    return config.routers[0]


def errors(load_text, text):
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("line", "head", "name"),
    [
        ("usevmac", PAIR, "vrrp.51"),
        ("usevmac=yes", PAIR, "vrrp.51"),
        ("usevmac", SIX, "vrrp6.51"),
        ("usevmac=web", PAIR, "web"),
        ("usevmac=dir1:one,dir2:two", PAIR, "one"),
        ("usevmac=no", PAIR, ""),
        ("priority=100", PAIR, ""),
    ],
)
def test_the_macvlan_has_keepaliveds_name_unless_it_is_given(load_text, line, head, name):
    found = router(load_text, line, head)
    assert found.usevmac == name
    assert not found.vmacxmitbase
    assert {vip.dev for vip in found.addresses} == {name}


def test_an_address_with_an_interface_of_its_own_stays_there(load_text):
    found = router(load_text, "usevmac\nexcludedaddress=192.168.1.9 dev eth1")
    assert [vip.dev for vip in found.addresses + found.excluded] == ["vrrp.51", "eth1"]


def test_unicast_needs_the_base_interface(load_text):
    peer = "peer=192.168.1.3\nusevmac"
    (error,) = errors(load_text, block(peer))
    assert "needs vmacxmitbase" in error
    assert router(load_text, f"{peer}\nvmacxmitbase").vmacxmitbase


@pytest.mark.parametrize(
    ("line", "place", "expected"),
    [
        ("usevmac=sixteencharacter", "5:10", "1 to 15 characters"),
        ("usevmac=eth0:1", "5:10", "address label"),
        ("usevmac=eth0", "5:10", "eth0 is the interface of vrrp=VI_1"),
        ("vmacxmitbase", "5:14", "usevmac, which is not set"),
        ("usevmac\n\ttrack=interface vrrp.51", "6:8", "it can't be tracked"),
        ("accept\n\tnoaccept", "6:10", "contradict each other"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load_text, line, place, expected):
    (error,) = errors(load_text, f"{PAIR}\t{line}\n")
    assert error.startswith(f"t.conf:{place}: error: ")
    assert expected in error


def test_two_instances_cannot_share_a_macvlan(load_text):
    (error,) = errors(load_text, f"{PAIR}\tusevmac\n{OTHER}\tusevmac\n")
    assert error.startswith("t.conf:10:9: error: vrrp.51")
    assert "of vrrp=VI_1 already" in error
    assert load_text(f"{PAIR}\tusevmac\n{OTHER}\tusevmac=b.51\n").routers[1].usevmac == "b.51"


@pytest.mark.parametrize(
    ("line", "accepts"),
    [
        ("priority=100", True),
        ("noaccept", False),
        ("accept=no", False),
        ("accept", True),
        ("noaccept=no", True),
        ("accept=no\nnoaccept", False),
    ],
)
def test_who_answers_on_the_addresses(load_text, line, accepts):
    assert router(load_text, line).accept is accepts


def test_the_owner_is_told_that_noaccept_does_nothing(load_text):
    config = load_text(block("priority=255\nnoaccept"))
    assert ["owns the addresses" in str(warning) for warning in config.warnings] == [True]
