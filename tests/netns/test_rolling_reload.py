"""An address joins the VIP list of one director and then of the other, and leaves it likewise.

Whole daemons and `lvsd reload`. The address that stays must not notice; status tells of the peer
whose list is another one.
"""

from __future__ import annotations

import pytest

from tests.interop.capture import Capture
from tests.lab.director import Director
from tests.lab.topology import wait_until
from tests.netns.daemons import FIRST, OTHER, SECOND, VIP, config, events, reload, router, settled
from tests.netns.network import Probe

PRIORITIES = (150, 100)


def differing(director: Director) -> tuple[list[str], list[str]]:
    """The other list that a director has heard, and its words about it."""
    seen = router(director)
    return seen["peer_addresses_differ"], [n for n in seen["notes"] if "advertises other" in n]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["master-first", "backup-first"])
def test_a_rolling_addition_and_removal_costs_the_other_address_nothing(
    order: tuple[int, int],
) -> None:
    with settled(VIP) as pair:
        first, second = pair
        client = first.lab.netns("client")
        kept, backup = Probe(client, "ping", VIP), Probe(first.lab.netns("dirB"), "own", VIP)
        wire = Capture(client)
        moved = [d.log().count("state=master") for d in pair]

        def roll(*addresses: str) -> None:
            """Reload one after the other, with more than the backup's patience between."""
            for turn, which in enumerate(order):
                reload(pair[which], config(PRIORITIES[which], *addresses))
                wire.wait_adverts(FIRST, 5)
                if not turn:
                    wait_until(lambda: differing(second)[0], 5, "the lists differ")
                    listed, notes = differing(second)
                    assert listed == [a.partition("/")[0] for a in router(first)["addresses"]]
                    assert notes == [f"{FIRST} advertises other addresses: {', '.join(listed)}"]
            wait_until(lambda: differing(second) == ([], []), 5, "the lists agree")

        roll(VIP, OTHER)
        wait_until(lambda: first.holds(OTHER), 5, "the new address")
        added = Probe(client, "ping", OTHER)
        wire.wait_adverts(FIRST, 2)
        assert added.longest_gap() < 0.2
        roll(VIP)
        wait_until(lambda: not first.holds(OTHER), 5, "it is gone")

        assert kept.longest_gap() < 0.2
        assert not [at for at, held in backup.stop() if held]
        assert not wire.adverts(SECOND)
        wire.close()
        assert [d.log().count("state=master") for d in pair] == moved
        assert "address_list_differed" in events(second)
