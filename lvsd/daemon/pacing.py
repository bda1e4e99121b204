"""Announcements that wait for their turn, so that many addresses do not overflow a switch.

Frames wait in lanes. The frames of an interface with an interval of its own (`garpinterval`,
`gnainterval`; interfaces of a `garpgroup` share it) leave one at a time; all others leave in bursts
of BURST, BURST_INTERVAL apart. Nothing is made up for: a process that was late sends no more at
once than one that was not. What waits already is not lined up a second time, so that refreshes
faster than their interval allows do not fill the memory; it keeps its place.

Time is an argument: seconds of the caller's clock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import field

from lvsd.core.model import Family, IPAddress, Pace
from lvsd.core.record import dataclass

#: Frames per burst, and seconds from one burst to the next: 32,000 frames a second at most.
BURST = 32
BURST_INTERVAL = 0.001


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole Ethernet frame, where it goes out, and whose address it announces."""

    owner: Hashable
    interface: str
    address: IPAddress
    octets: bytes


@dataclass(slots=True)
class _Lane:
    """Frames that leave one after another; `interval` 0 means in bursts."""

    interval: float
    ready_at: float = 0.0
    frames: deque[Frame] = field(default_factory=deque)
    waiting: Counter[Frame] = field(default_factory=Counter)

    def take(self, now: float) -> Iterator[Frame]:
        """What may leave at `now`."""
        if now < self.ready_at:
            return
        for _ in range(min(1 if self.interval else BURST, len(self.frames))):
            frame = self.frames.popleft()
            self.waiting[frame] -= 1
            self.ready_at = now + (self.interval or BURST_INTERVAL)
            yield frame


class Pacer:
    """The lanes. They live on when they are empty: the interval holds over two announcements."""

    def __init__(self) -> None:
        self._paces: tuple[Pace, ...] = ()
        self._lanes: dict[Hashable, _Lane] = {}

    def follow(self, paces: Sequence[Pace]) -> None:
        """New intervals, also for what waits already."""
        if tuple(paces) == self._paces:
            return
        self._paces = tuple(paces)
        old, self._lanes = self._lanes, {}
        for key, lane in old.items():
            for frame in lane.frames:
                self._line_up(frame)
            if (new := self._lanes.get(key)) is not None:
                new.ready_at = lane.ready_at - lane.interval + new.interval

    def add(self, frames: Iterable[Frame], rounds: int) -> None:
        """Line up `rounds` rounds of these frames, less what waits of each already."""
        wanted = {frame: rounds - self._lane(frame).waiting[frame] for frame in frames}
        for number in range(rounds):
            for frame, missing in wanted.items():
                if number < missing:
                    self._line_up(frame)

    def forget(self, owner: Hashable, addresses: Collection[IPAddress]) -> None:
        """Drop what waits for an owner who has lost these addresses meanwhile."""
        for lane in self._lanes.values():
            lane.frames = deque(
                f for f in lane.frames if f.owner != owner or f.address not in addresses
            )
            lane.waiting = Counter(lane.frames)

    def take(self, now: float) -> list[Frame]:
        """What leaves at `now`."""
        return [frame for lane in self._lanes.values() for frame in lane.take(now)]

    def next_at(self) -> float | None:
        """When something leaves next; it may have passed. None when nothing waits."""
        return min((lane.ready_at for lane in self._lanes.values() if lane.frames), default=None)

    def _line_up(self, frame: Frame) -> None:
        lane = self._lane(frame)
        lane.frames.append(frame)
        lane.waiting[frame] += 1

    def _lane(self, frame: Frame) -> _Lane:
        key, interval = self._pace(frame)
        return self._lanes.setdefault(key, _Lane(interval))

    def _pace(self, frame: Frame) -> tuple[Hashable, float]:
        """The lane of a frame: that of its group, of its interface, or the common one."""
        found = Pace()
        key: tuple[str, ...] = (frame.interface,)
        for pace in self._paces:
            if not pace.interfaces:
                found = pace
            elif frame.interface in pace.interfaces:
                found, key = pace, pace.interfaces
                break
        family = Family.of(frame.address)
        interval = found.garpinterval if family is Family.INET else found.gnainterval
        return ((key, family), interval) if interval else (None, 0.0)
