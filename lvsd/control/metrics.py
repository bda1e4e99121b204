"""`GET /metrics`: the status document as OpenMetrics text, written by hand.

The format is OpenMetrics 1.0: one block per family, `# TYPE`, `# UNIT` and `# HELP` before its
samples, counters ending in `_total`, `# EOF` at the end. Sets of states (a router is master or
backup or ...) are `stateset`-like gauges, one per state, so that an alert can name a state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lvsd.control.status import ChecksStatus, RealStatus, RouterStatus, Status, VirtualStatus

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

ROUTER_STATES = ("initialize", "backup", "master", "fault")
HEALTH_STATES = ("up", "down", "unknown")
ADMIN_STATES = ("enabled", "drain", "disabled")


@dataclass(slots=True)
class Family:
    """One metric with its samples. `kind` is gauge, counter or info."""

    name: str
    kind: str
    help: str
    unit: str = ""
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def add(self, labels: dict[str, str], value: float) -> None:
        """One sample."""
        self.samples.append((labels, value))

    def lines(self) -> Iterator[str]:
        """The family as OpenMetrics writes it."""
        yield f"# TYPE {self.name} {self.kind}"
        if self.unit:
            yield f"# UNIT {self.name} {self.unit}"
        yield f"# HELP {self.name} {_escape(self.help)}"
        suffix = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        for labels, value in self.samples:
            yield f"{self.name}{suffix}{_labels(labels)} {_number(value)}"


def render(status: Status) -> str:
    """The whole exposition, ending with `# EOF`."""
    families = [
        *_daemon(status),
        *_checks(status.checks),
        *_routers(status.vrrp),
        *_virtuals(status.virtuals),
        *_reals(status.virtuals),
        *_table(status),
    ]
    lines = [line for family in families if family.samples for line in family.lines()]
    return "\n".join([*lines, "# EOF", ""])


def _daemon(status: Status) -> list[Family]:
    build = Family("lvsd_build", "info", "Version of the running daemon.")
    build.add({"version": status.version}, 1)
    start = Family("lvsd_start_time_seconds", "gauge", "When the daemon was started.", "seconds")
    start.add({}, status.since)
    config = Family("lvsd_config_ok", "gauge", "1 unless the last reload was refused.")
    config.add({}, not status.config.errors)
    loaded = Family(
        "lvsd_config_loaded_time_seconds", "gauge", "When the configuration was read.", "seconds"
    )
    if status.config.loaded is not None:
        loaded.add({}, status.config.loaded)
    return [build, start, config, loaded]


def _checks(checks: ChecksStatus) -> list[Family]:
    asked = Family("lvsd_checks", "gauge", "Distinct health checks.")
    asked.add({}, checks.asked)
    finished = Family("lvsd_checks_finished", "counter", "Checks that came to a verdict.")
    finished.add({}, checks.finished)
    local = Family("lvsd_checks_local_errors", "counter", "Checks this host could not make.")
    local.add({}, checks.local_errors)
    late = Family(
        "lvsd_checks_lateness_seconds",
        "gauge",
        "By how much checks have lately started late at most.",
        "seconds",
    )
    late.add({}, checks.lateness)
    watching = Family("lvsd_watch_connections", "gauge", "Watch connections that stand.")
    watching.add({}, checks.watching)
    workers = Family("lvsd_checkers", "gauge", "Check workers that run.")
    workers.add({}, checks.checkers)
    return [asked, finished, local, late, watching, workers]


def _routers(routers: Iterable[RouterStatus]) -> list[Family]:
    state = Family("lvsd_vrrp_state", "gauge", "1 for the state the virtual router is in.")
    since = Family("lvsd_vrrp_state_since_seconds", "gauge", "Time of the last change.", "seconds")
    priority = Family("lvsd_vrrp_priority", "gauge", "Configured priority.")
    effective = Family("lvsd_vrrp_effective_priority", "gauge", "Priority after tracking.")
    events = Family("lvsd_vrrp_events", "counter", "What was sent, received and rejected.")
    late, worst = (
        Family(name, "gauge", f"By how much adverts left late at most {when}.", "seconds")
        for name, when in (
            ("lvsd_vrrp_advert_lateness_seconds", "lately"),
            ("lvsd_vrrp_advert_lateness_max_seconds", "since the start"),
        )
    )
    for router in routers:
        labels = {
            "router": router.name,
            "interface": router.interface,
            "vrid": str(router.vrid),
            "family": router.family,
        }
        for name in ROUTER_STATES:
            state.add({**labels, "state": name}, router.state == name)
        since.add(labels, router.since)
        priority.add(labels, router.priority)
        effective.add(labels, router.effective_priority)
        for name, count in sorted(router.counters.items()):
            events.add({**labels, "event": name}, count)
        late.add(labels, router.lateness)
        worst.add(labels, router.lateness_max)
    return [state, since, priority, effective, events, late, worst]


def _virtuals(virtuals: Iterable[VirtualStatus]) -> list[Family]:
    up = Family("lvsd_virtual_up", "gauge", "1 while the service has enough live real servers.")
    fallback = Family("lvsd_virtual_fallback", "gauge", "1 while the fallback serves.")
    for virtual in virtuals:
        up.add(_virtual_labels(virtual), virtual.up)
        fallback.add(_virtual_labels(virtual), virtual.fallback is not None)
    return [up, fallback]


def _reals(virtuals: Iterable[VirtualStatus]) -> list[Family]:
    gauges = {
        "weight": Family("lvsd_real_weight", "gauge", "Configured weight."),
        "effective_weight": Family("lvsd_real_effective_weight", "gauge", "Weight in use."),
        "active": Family("lvsd_real_active_connections", "gauge", "Active connections."),
        "inactive": Family("lvsd_real_inactive_connections", "gauge", "Inactive connections."),
    }
    health = Family("lvsd_real_health", "gauge", "1 for the health of the real server.")
    admin = Family("lvsd_real_admin", "gauge", "1 for what the operator wants of it.")
    latency = Family("lvsd_real_check_seconds", "gauge", "Duration of the last check.", "seconds")
    totals = {
        name: Family(f"lvsd_real_{words}", "counter", f"Total {text}.", unit)
        for name, words, text, unit in (
            ("conns", "connections", "connections scheduled", ""),
            ("inpkts", "in_packets", "packets received from clients", ""),
            ("outpkts", "out_packets", "packets sent to clients (masq only)", ""),
            ("inbytes", "in_bytes", "bytes received from clients", "bytes"),
            ("outbytes", "out_bytes", "bytes sent to clients (masq only)", "bytes"),
        )
    }
    for labels, real in _each_real(virtuals):
        for name, family in gauges.items():
            family.add(labels, getattr(real, name))
        for name in HEALTH_STATES:
            health.add({**labels, "health": name}, real.health == name)
        for name in ADMIN_STATES:
            admin.add({**labels, "admin": name}, real.admin == name)
        if real.latency is not None:
            latency.add(labels, real.latency)
        for name, family in totals.items():
            family.add(labels, getattr(real.stats, name))
    return [*gauges.values(), health, admin, latency, *totals.values()]


def _table(status: Status) -> list[Family]:
    in_sync = Family("lvsd_table_in_sync", "gauge", "1 while the kernel holds what is wanted.")
    in_sync.add({}, status.table.in_sync)
    foreign = Family("lvsd_table_foreign_services", "gauge", "Services that are not lvsd's.")
    foreign.add({}, len(status.table.foreign))
    repairs = Family("lvsd_table_repairs", "counter", "Changes by others that were put right.")
    repairs.add({}, status.table.repairs)
    writes = Family("lvsd_table_writes", "counter", "Netlink messages that changed the table.")
    writes.add({}, status.table.writes)
    return [in_sync, foreign, repairs, writes]


def _virtual_labels(virtual: VirtualStatus) -> dict[str, str]:
    return {"virtual": virtual.virtual, "protocol": virtual.protocol, "family": virtual.family}


def _each_real(virtuals: Iterable[VirtualStatus]) -> Iterator[tuple[dict[str, str], RealStatus]]:
    for virtual in virtuals:
        for real in virtual.reals:
            yield {**_virtual_labels(virtual), "real": real.real}, real


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items()) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
