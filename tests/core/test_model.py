"""How nouns are written where an operator reads them."""

from __future__ import annotations

import pickle
from dataclasses import replace

from lvsd.core.model import Identity, Pace

from .farm import real


def test_an_identity_is_written_as_in_the_configuration() -> None:
    assert str(Identity("nobody", "daemon")) == "nobody daemon"
    assert str(Identity("nobody")) == "nobody"


def test_a_pace_says_for_whom_it_is() -> None:
    assert str(Pace((), 0.01)) == "all 0.01/0"
    assert str(Pace(("eth0", "eth1"), 1.5, 2.0)) == "eth0 eth1 1.5/2"


def test_a_real_server_is_named_by_the_kernels_port_the_one_written_or_none() -> None:
    named = ("198.51.100.4:80", "198.51.100.4:8081", "198.51.100.4", "[198.51.100.4]")
    assert replace(real(4), port=8081).names == named


def test_a_check_that_was_pickled_is_found_again() -> None:
    check = real(4).check
    assert {check: "found"}[pickle.loads(pickle.dumps(check))] == "found"
