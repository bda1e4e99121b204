"""How nouns are written where an operator reads them."""

from __future__ import annotations

from lvsd.core.model import Identity, Pace


def test_an_identity_is_written_as_in_the_configuration() -> None:
    assert str(Identity("nobody", "daemon")) == "nobody daemon"
    assert str(Identity("nobody")) == "nobody"


def test_a_pace_says_for_whom_it_is() -> None:
    assert str(Pace((), 0.01)) == "all 0.01/0"
    assert str(Pace(("eth0", "eth1"), 1.5, 2.0)) == "eth0 eth1 1.5/2"
