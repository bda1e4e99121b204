"""Keeps what is addressed to a VIP from the host itself where `noaccept` says so.

The table is made when a router needs it. An address is in it before it is bound and until it is
gone. Other programs empty the whole packet filter at times (`nft flush ruleset`), so it is looked
at every few seconds while it matters. What the kernel refuses is logged and shown, and tried again;
the address serves meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from lvsd import log
from lvsd.core.model import IPAddress, RouterConfig
from lvsd.linux import KernelError, nftables

#: Seconds between two looks, and between two attempts.
LOOK_INTERVAL = 5.0

_log = log.get()


class Screen:
    """The one writer of our table. `problem` is what the kernel said last, "" while all is well."""

    def __init__(self) -> None:
        self.problem = ""
        self._socket: nftables.FilterSocket | None = None
        self._needed = False
        self._standing = False
        self._look_at: float | None = None
        self._wished: frozenset[IPAddress] = frozenset()
        #: What the kernel has in the sets.
        self._covered: frozenset[IPAddress] = frozenset()

    def fit(self, configs: Iterable[RouterConfig], now: float) -> None:
        """Have the table while a router needs it, and see that it is still there."""
        self._needed = not all(config.accepts for config in configs)
        if self._look_at is not None and now >= self._look_at:
            self._look_at = None
            self._look(now)
        if self._needed and not self._standing and self._look_at is None:
            self._build(now)

    def cover(self, addresses: Collection[IPAddress], now: float) -> None:
        """What is wished now, before it is bound."""
        self._wished = frozenset(addresses)
        self._change(self._covered | self._wished, now)

    def uncover(self, departing: Callable[[], Collection[IPAddress]], now: float) -> None:
        """Leave only what is wished and what is not gone yet; and no table that nobody needs."""
        if self._covered - self._wished:
            self._change(self._wished | (self._covered & frozenset(departing())), now)
        if not self._needed:
            self.put_away()

    def deadline(self) -> float | None:
        """When to look, or to try, again."""
        return self._look_at

    def remains(self) -> tuple[tuple[int, bytes], ...]:
        """What the guard sends last of all."""
        return ((nftables.FAMILY, nftables.demolition()),) if self._standing else ()

    def put_away(self) -> None:
        """Remove the table."""
        if self._standing:
            self._send(nftables.demolition())
        self._standing, self._covered, self._look_at = False, frozenset(), None
        self.problem = ""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _look(self, now: float) -> None:
        if self._standing and self._send(nftables.inquiry()):
            self._look_at = now + LOOK_INTERVAL
        elif self._standing:
            self._standing, self._covered = False, frozenset()
            _log.warning("noaccept_lost", table=nftables.TABLE)

    def _build(self, now: float) -> None:
        self._standing = self._send(nftables.establishment())
        self._covered = frozenset()
        self._look_at = now + LOOK_INTERVAL

    def _change(self, wished: frozenset[IPAddress], now: float) -> None:
        if not self._standing:
            return
        added, removed = wished - self._covered, self._covered - wished
        for addresses, present in ((added, True), (removed, False)):
            if addresses and not self._send(nftables.elements(addresses, present=present)):
                self._standing, self._look_at = False, now + LOOK_INTERVAL
                return
        self._covered = wished

    def _send(self, messages: bytes) -> bool:
        try:
            if self._socket is None:
                self._socket = nftables.FilterSocket()
            self._socket.send(messages)
        except (KernelError, OSError) as error:
            if self.problem != str(error):
                self.problem = str(error)
                _log.error("noaccept_failed", error=self.problem)
            return False
        self.problem = ""
        return True
