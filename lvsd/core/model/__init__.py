"""The nouns every other module speaks in.

Two worlds meet here and are kept apart by type: what the operator wrote (`Virtual`,
`RealServer`, `RouterConfig`) and what the kernel holds (`VirtualService`, `Destination`,
`SyncDaemon`, `Table`). Everything is frozen: a new wish is a new value.
"""

from __future__ import annotations

from dataclasses import field

from lvsd.core.model.actions import Actions, Alert, MailServer, Moment
from lvsd.core.model.kernel import (
    SCHEDULERS,
    SYNC_GROUP,
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    IPAddress,
    Protocol,
    ServiceEntry,
    ServiceFlag,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Table,
    Usage,
    VirtualService,
    endpoint,
)
from lvsd.core.model.path import (
    Path,
    Prefix,
    RouteKind,
    RuleAction,
    VirtualRoute,
    VirtualRule,
)
from lvsd.core.model.router import (
    Identity,
    Pace,
    PeerTtl,
    RouterConfig,
    SyncOptions,
    Track,
    TrackFile,
    TrackKind,
    TrackProcess,
    TrackScript,
    Vip,
)
from lvsd.core.model.service import (
    Check,
    CheckKind,
    RealServer,
    Virtual,
)
from lvsd.core.record import dataclass

__all__ = [
    "SCHEDULERS",
    "SYNC_GROUP",
    "Actions",
    "Alert",
    "Check",
    "CheckKind",
    "Config",
    "Destination",
    "DestinationKey",
    "Family",
    "Forwarding",
    "IPAddress",
    "Identity",
    "MailServer",
    "Moment",
    "Pace",
    "Path",
    "PeerTtl",
    "Prefix",
    "Protocol",
    "RealServer",
    "RouteKind",
    "RouterConfig",
    "RuleAction",
    "ServiceEntry",
    "ServiceFlag",
    "ServiceKey",
    "SyncDaemon",
    "SyncOptions",
    "SyncRole",
    "Table",
    "Track",
    "TrackFile",
    "TrackKind",
    "TrackProcess",
    "TrackScript",
    "Usage",
    "Vip",
    "Virtual",
    "VirtualRoute",
    "VirtualRule",
    "VirtualService",
    "endpoint",
]


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration, valid by construction (only `lvsd.config.load` makes one)."""

    virtuals: tuple[Virtual, ...] = ()
    routers: tuple[RouterConfig, ...] = ()
    scripts: tuple[TrackScript, ...] = ()
    processes: tuple[TrackProcess, ...] = ()
    files: tuple[TrackFile, ...] = ()
    autoreload: bool = False
    logfile: str = ""
    standbytable: bool = True
    operators: tuple[str, ...] = ()
    callback: tuple[str, ...] = ()
    maintenancedir: str = ""
    logstyle: str = "lvsd"
    checkers: int = 0
    paces: tuple[Pace, ...] = ()
    supervised: bool = False
    # Where it came from does not count: the normal form loads back to an equal Config.
    path: str = field(default="", compare=False)
    sha256: str = field(default="", compare=False)
    #: Every file read, for autoreload.
    sources: tuple[str, ...] = field(default=(), compare=False)
    #: Warnings and notices, each as `FILE:LINE:COLUMN: warning: text`.
    warnings: tuple[str, ...] = field(default=(), compare=False)
