"""What the child tells main unasked: readiness, tracked objects and a headline. News only."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lvsd import log
from lvsd.core.director import Director, tracked, virtual_name
from lvsd.core.model import TrackKind
from lvsd.daemon.lookout import Lookout
from lvsd.daemon.messages import Notice, Ready, TrackValues
from lvsd.daemon.parent import Parent

#: Seconds between two headlines: one goes through all real servers.
HEADLINE_INTERVAL = 1.0
#: Virtuals named in the headline when they are down.
_NAMED = 5


class Report:
    """Remembers what main has heard."""

    def __init__(self, parent: Parent) -> None:
        self.is_ready = False
        self._parent = parent
        self._tracks: tuple[dict[str, bool], dict[str, int]] = ({}, {})
        self._headline = ""
        self._headline_at = float("-inf")

    def ready(self, ready: bool) -> None:
        """Design rule 3: the services are applied and every real was judged."""
        if ready == self.is_ready:
            return
        self.is_ready = ready
        if ready:
            log.get().info("ready")
        self._parent.send(Ready(ready))

    def tracks(self, director: Director, scripts: Mapping[str, bool], lookout: Lookout) -> None:
        """The values of everything that is tracked and has been judged."""
        values = {f"{TrackKind.SCRIPT} {name}": up for name, up in scripts.items()} | lookout.values
        wanted = {
            track.name
            for router in director.config.routers
            for track in router.tracks
            if track.kind is TrackKind.VIRTUAL
        }
        for name, up in tracked(director).items() if wanted else ():
            if name in wanted:
                values[f"{TrackKind.VIRTUAL} {name}"] = up
        if (values, lookout.numbers) != self._tracks:
            self._tracks = (values, {**lookout.numbers})
            self._parent.send(TrackValues(values, {**lookout.numbers}))

    def headline(self, director: Director) -> bool:
        """One line for systemd's STATUS; False when it is too early for another."""
        if time.monotonic() < self._headline_at + HEADLINE_INTERVAL:
            return False
        self._headline_at = time.monotonic()
        pools = director.pools.values()
        reals = sum(len(pool.health) for pool in pools)
        up = sum(health.up for pool in pools for health in pool.health.values())
        text = f"{len(pools)} virtuals, {up} of {reals} real servers up"
        down = [virtual_name(pool.virtual.key) for pool in pools if pool.judged and not pool.up]
        if down:
            text += f", down: {', '.join(down[:_NAMED])}"
        if text != self._headline:
            self._headline = text
            self._parent.send(Notice(text))
        return True
