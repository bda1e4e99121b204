"""The shapes of the control interface: what `lvsd status --json` shows, and the other answers.

The keys are a contract with people's scripts: keys are added, never renamed or removed. Every
`since`, `loaded` and `last_repair` is a Unix time in seconds (a float); every `latency` is seconds.
docs/status.md describes each key and is checked against these types.

Nothing here knows the daemon: `RouterStatus` repeats the keys of the message that main sends, so
that the control interface can be used and tested without it.
"""

from __future__ import annotations

import msgspec


class ConfigStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in use. `errors` are those of the last reload, when it was refused."""

    path: str
    sha256: str = ""
    loaded: float | None = None
    errors: list[str] = []
    warnings: list[str] = []


class RouterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual router. `state` is master, backup, fault or initialize."""

    name: str
    interface: str
    vrid: int
    family: str
    version: int
    state: str
    reason: str
    since: float
    priority: int
    effective_priority: int
    master: str | None
    addresses: list[str]
    counters: dict[str, int]
    priority_parts: list[str] = []
    last_heard: float | None = None
    last_heard_from: str | None = None
    peer_addresses_differ: list[str] = []
    checksum_reading: str = ""
    notes: list[str] = []
    routes: list[str] = []
    rules: list[str] = []
    vmac: str | None = None
    vmac_interface: str | None = None
    accept: bool = True
    lateness: float = 0.0
    lateness_max: float = 0.0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's 64-bit totals of one destination."""

    conns: int = 0
    inpkts: int = 0
    outpkts: int = 0
    inbytes: int = 0
    outbytes: int = 0


class RealStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One real server in one virtual.

    `weight` is the operator's, `effective_weight` what the kernel is to hold now; `installed` says
    whether the kernel holds it at all (a failed real leaves the table where `quiescent=no`).
    `reason` says why the real is not simply up, "" while all is well. `streak` counts the results
    in a row that speak against `health`. `latency` is the last check's, `check` its kind.
    """

    real: str
    forwarding: str
    weight: int
    effective_weight: int
    health: str
    admin: str
    reason: str
    since: float
    active: int = 0
    inactive: int = 0
    stats: Stats = Stats()
    installed: bool = True
    latency: float | None = None
    streak: int = 0
    check: str = ""
    persistent: int = 0
    deadline: float | None = None


class VirtualStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual service. `fallback` names the sorry server while it serves, else null.

    `virtual` is `ADDRESS:PORT`, or the mark's number; `protocol` is tcp, udp, sctp or fwm.
    `flags` are ipvsadm's words after the scheduler, as `persistent 300` or `ops`.
    `reals` leaves the fallback out; `fallback_real` is its row while it is installed.
    """

    virtual: str
    protocol: str
    scheduler: str
    up: bool
    fallback: str | None
    reals: list[RealStatus]
    family: str = "inet"
    flags: str = ""
    installed: bool = True
    fallback_real: RealStatus | None = None


class SyncDaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A connection synchronisation thread of the kernel. `role` is master or backup."""

    role: str
    interface: str
    syncid: int


class TableStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the kernel's table compares with the wish.

    `foreign` names services that are not ours, as `TCP 192.0.2.1:80 rr`. `drift` and `errors` say
    why `in_sync` is false: what differs, and what the kernel refused. `repairs` counts.
    `adopted` names weights set to 0 by hand. `version` and `size` are the kernel's.
    """

    in_sync: bool = True
    foreign: list[str] = []
    last_repair: float | None = None
    drift: list[str] = []
    errors: list[str] = []
    adopted: list[str] = []
    repairs: int = 0
    writes: int = 0
    version: str = "1.2.1"
    size: int = 4096
    kind: str = "kernel"


class ChecksStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The checks as work: how many, and how well this host keeps up with them.

    `asked` distinct checks are made (one may serve several real servers), `finished` runs have come
    to a verdict, `local_errors` could not be made for want of something here. `lateness` is by how
    much, in seconds, checks have lately started late at most. `watching` watch connections stand,
    `checkers` workers run.
    """

    asked: int = 0
    finished: int = 0
    local_errors: int = 0
    lateness: float = 0.0
    watching: int = 0
    checkers: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at a glance: the document of `GET /v1/status`.

    `director` is "up"; main answers with "down" and empty lists while the child is away.
    `notes` are things the operator must know that belong to no other key.
    """

    version: str
    pid: int
    since: float
    host: str
    config: ConfigStatus
    vrrp: list[RouterStatus] = []
    virtuals: list[VirtualStatus] = []
    syncdaemons: list[SyncDaemonStatus] = []
    table: TableStatus = TableStatus()
    checks: ChecksStatus = ChecksStatus()
    director: str = "up"
    notes: list[str] = []


class ReloadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a reload: `changes` in words when it was taken, `errors` when refused."""

    ok: bool
    errors: list[str] = []
    changes: list[str] = []
    warnings: list[str] = []


class PlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """What applying the configuration would change, one line per step in ipvsadm's words.

    `source` says whose weights were used: "health from the running daemon" or the kernel's.
    `errors` non-empty means that the file cannot be loaded; then `steps` is empty.
    """

    steps: list[str]
    source: str
    errors: list[str] = []
    warnings: list[str] = []


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to drain and undrain: `VIRTUAL REAL` of each real server touched."""

    touched: list[str]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request that could not be served."""

    error: str
