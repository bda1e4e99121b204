"""What the director process stores for its next life: services that are ours, and drains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvsd.core.director import step
from lvsd.daemon.store import drains_of, restored

if TYPE_CHECKING:
    from lvsd.daemon.director import Child


class Keeper:
    """Writes to the store when something to be kept has changed.

    `owned` and `sysctls` are what an earlier life has left.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self.owned, self.sysctls = child.store.manifest()
        self._saved = (set(self.owned), dict(self.sysctls))

    async def save_manifest(self) -> None:
        """Store which services are ours, when that has changed."""
        applier, settings = self._child.applier, self._child.settings
        if applier is None or settings is None:
            return
        current = (set(applier.owned), dict(settings.original))
        if current != self._saved:
            self._saved = current
            await self._child.store.save_manifest(*current)

    async def save_drains(self) -> None:
        """Store the drains in force."""
        await self._child.store.save_drains(drains_of(self._child.director, self._child.unix))

    def restore_drains(self) -> None:
        """Put the drains of an earlier life into force, before the configuration is."""
        child = self._child
        for drain in restored(child.store.drains(), child.unix(0.0)):
            # No pool exists yet, so no time is looked at.
            child.director, _ = step(child.director, drain, 0.0)
