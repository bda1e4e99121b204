"""The link between the nodes: delay, loss, duplication and partitions of either or one direction.

`arrivals` is the only question asked: when do the copies of one datagram reach a receiver? All
chance comes from the cluster's one generator, so a seed is a whole story.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

#: In drizzle this many adverts in a row may be lost between two nodes, and never one more.
LONGEST_RUN = 2


class Network:
    """What happens to datagrams between two nodes, by name."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        #: Shortest and longest delay in seconds.
        self.delay = (0.0005, 0.0015)
        self.loss = 0.0
        self.duplication = 0.0
        #: (sender, receiver) → how many partitions keep them apart.
        self.cuts: Counter[tuple[str, str]] = Counter()
        #: Loss with a memory: of adverts only, and never more than LONGEST_RUN in a row.
        self.drizzle = False
        self._runs: dict[tuple[str, str], int] = {}

    @property
    def quiet(self) -> bool:
        """Whether everything that is not cut arrives, soon and once."""
        return not self.loss and not self.duplication

    def hears(self, sender: str, receiver: str) -> bool:
        """Whether the sender's datagrams can reach the receiver at all."""
        return not self.cuts[sender, receiver]

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Nothing gets from each first to its second any more."""
        self.cuts.update(pairs)

    def mend(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Undo one `cut` of the same pairs."""
        self.cuts.subtract(pairs)

    def arrivals(self, sender: str, receiver: str, *, advert: bool) -> list[float]:
        """Seconds until each copy arrives; empty when it is lost."""
        if self.cuts[sender, receiver] or self._lost(sender, receiver, advert):
            return []
        copies = 1
        if self.duplication and self.chance.random() < self.duplication:
            copies = self.chance.choice((2, 3))
        return [self.chance.uniform(*self.delay) for _ in range(copies)]

    def _lost(self, sender: str, receiver: str, advert: bool) -> bool:
        if not self.loss or (self.drizzle and not advert):
            return False
        lost = self.chance.random() < self.loss
        if self.drizzle:
            run = self._runs.get((sender, receiver), 0)
            lost = lost and run < LONGEST_RUN
            self._runs[sender, receiver] = run + 1 if lost else 0
        return lost
