"""What can happen to a Director, and what it lets happen in turn.

Events go into `director.step`, effects come out. An effect is something that must be told once
(a log line, an alert); what must remain true is in `director.desired` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lvsd.core.record import dataclass

from .health import Status
from .model import Check, Config, DestinationKey, IPAddress, ServiceKey, Table


class RealKey(NamedTuple):
    """A real server in one virtual; the same machine elsewhere has its own health and drain."""

    virtual: ServiceKey
    real: DestinationKey

    def __str__(self) -> str:
        return f"{self.virtual} {self.real}"


# --- events -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableAdopted:
    """The kernel's table as it is; the next `ConfigLoaded` judges new reals by it."""

    table: Table


@dataclass(frozen=True, slots=True)
class ConfigLoaded:
    """A valid configuration, the first one or the next one.

    `maintenance` is what the maintenance folder says of its reals, so that none of them is raised
    before the folder was looked at; None keeps what is known.
    """

    config: Config
    maintenance: Mapping[RealKey, str] | None = None


@dataclass(frozen=True, slots=True)
class CheckFinished:
    """One check came to a verdict; it counts for every real that asks the same question.

    `gone`: the target's watch connection had ended, and then the connection was refused.
    """

    check: Check
    passed: bool
    reason: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class ChecksFinished:
    """Several verdicts at once, in the order they came: one copy of the state for all."""

    results: tuple[CheckFinished, ...]


@dataclass(frozen=True, slots=True)
class RouterStates:
    """The state of every virtual router by name: master, backup, fault or initialize."""

    states: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LocalAddresses:
    """The addresses of this host, VIPs excluded (design rule 7)."""

    addresses: frozenset[IPAddress]


@dataclass(frozen=True, slots=True)
class Drain:
    """Take a real out of service. At `deadline_at` it leaves the table; None waits for ever.

    `by_hand` marks a weight that somebody set to 0 in the kernel.
    """

    key: RealKey
    deadline_at: float | None = None
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Undrain:
    """Put a real back into service. `by_hand`: somebody raised the weight in the kernel."""

    key: RealKey
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Every real that a file of the maintenance folder names, with that file (`maintenancedir=`).

    A level: reals left out are in service as far as the folder is concerned.
    """

    files: Mapping[RealKey, str]


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """`next_deadline` has come."""


Event = (
    TableAdopted
    | ConfigLoaded
    | CheckFinished
    | ChecksFinished
    | RouterStates
    | LocalAddresses
    | Drain
    | Undrain
    | Maintenance
    | DeadlineReached
)


# --- effects ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """A real got another status."""

    key: RealKey
    old: Status
    new: Status
    reason: str


@dataclass(frozen=True, slots=True)
class SoftFailure:
    """A live real failed a check, `count` times of the `fall` that take it down.

    A `count` of 0: a check passed again before it came to that.
    """

    key: RealKey
    count: int
    fall: int
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceUp:
    """A virtual has its quorum."""

    virtual: ServiceKey


@dataclass(frozen=True, slots=True)
class ServiceDown:
    """A virtual has lost its quorum, or was judged and has none."""

    virtual: ServiceKey


@dataclass(frozen=True, slots=True)
class FallbackEntered:
    """The fallback serves."""

    virtual: ServiceKey
    fallback: DestinationKey


@dataclass(frozen=True, slots=True)
class FallbackLeft:
    """The fallback no longer serves."""

    virtual: ServiceKey
    fallback: DestinationKey


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """A real was taken out of service."""

    key: RealKey
    by_hand: bool
    deadline_at: float | None


@dataclass(frozen=True, slots=True)
class DrainExpired:
    """The deadline of a drain has passed: the real leaves the table."""

    key: RealKey


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """A real was put back into service, or left the configuration (`removed`)."""

    key: RealKey
    by_hand: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class MaintenanceStarted:
    """A file of the maintenance folder takes a real out of service."""

    key: RealKey
    file: str


@dataclass(frozen=True, slots=True)
class MaintenanceEnded:
    """No file of the maintenance folder names the real any more."""

    key: RealKey


@dataclass(frozen=True, slots=True)
class AllJudged:
    """Every real of the configuration has had its first verdict (design rule 3)."""


Effect = (
    HealthChanged
    | SoftFailure
    | ServiceUp
    | ServiceDown
    | FallbackEntered
    | FallbackLeft
    | DrainStarted
    | DrainExpired
    | DrainEnded
    | MaintenanceStarted
    | MaintenanceEnded
    | AllJudged
)
