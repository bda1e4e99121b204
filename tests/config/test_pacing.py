"""How far apart announcements leave: garpinterval=, gnainterval=, garpgroup=."""

from __future__ import annotations

import pytest

from lvsd.config import ConfigError, render
from lvsd.core.model import Pace

PAIR = "vrrp=VI_1\n\tinterface=eth0\n\tvirtualrouterid=51\n\taddress=192.168.1.1\n"


def paces(load_text, text):
    config = load_text(text + PAIR)
    assert load_text(render(config)).paces == config.paces
    return config.paces


def test_nothing_is_paced_unless_told(load_text):
    assert paces(load_text, "") == ()


def test_one_pace_for_all_and_others_for_groups(load_text):
    text = "garpinterval=0.01\ngnainterval=0.5\ngarpgroup=eth0 eth1 garpinterval 1.5\n"
    assert paces(load_text, text + "garpgroup=eth2 gnainterval 0\n") == (
        Pace((), 0.01, 0.5),
        Pace(("eth0", "eth1"), 1.5, 0.5),
        Pace(("eth2",), 0.01, 0),
    )


def test_a_group_needs_no_common_pace(load_text):
    assert paces(load_text, "garpgroup=eth0 garpinterval 2\n") == (Pace(("eth0",), 2, 0),)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("garpgroup=garpinterval 2", "garpgroup= needs the names of interfaces"),
        ("garpgroup=eth0 eth0", "interface eth0 is listed twice"),
        ("garpgroup=eth1 eth9", "interface eth9 is in another garpgroup already"),
        ("garpgroup=eth0 garpinterval", "garpinterval needs a number of seconds, not nothing"),
        ("garpgroup=eth0 gnainterval 9999", "gnainterval must be from 0 to 3600 seconds"),
        ("garpgroup=eth0:1", "eth0:1 is an address label, not an interface; write eth0"),
        ("vrrp_garp_interval=1", "unknown directive vrrp_garp_interval; here: garpinterval="),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load_text, line, expected):
    with pytest.raises(ConfigError) as caught:
        load_text(f"garpgroup=eth9\n{line}\n{PAIR}")
    (error,) = caught.value.errors
    assert str(error).startswith("t.conf:2:")
    assert error.text == expected
