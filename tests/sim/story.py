"""What is told of a simulation, and who listens: the lines of the story and the checkers' hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lvsd.core.model import IPAddress
from lvsd.core.vrrp import Key

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node


class Checker:
    """Something that must hold. Raises AssertionError; the hooks cost nothing unless overridden."""

    def after(self, cluster: Cluster) -> None:
        """Something happened."""

    def sent(self, cluster: Cluster, node: Node, key: Key, priority: int) -> None:
        """A node sends an advert; priority 0 may be its guard's."""

    def bound(self, cluster: Cluster, node: Node, key: Key, address: IPAddress) -> None:
        """A node's kernel got a VIP."""

    def announced(self, cluster: Cluster, node: Node, key: Key, addresses: Sequence) -> None:
        """A node announces VIPs."""

    def woken(self, cluster: Cluster, node: Node) -> None:
        """A paused process is about to run again."""

    def leaving(self, cluster: Cluster, node: Node) -> None:
        """A node is about to be told to stop or to step down."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story."""

    at: float
    who: str
    what: str
    glyphs: str

    def __str__(self) -> str:
        return f"{self.at:8.3f}  {self.who:4}  {self.what:64}  {self.glyphs}".rstrip()
