"""Answers of the daemon as text: the status in the look of `ipvsadm -Ln`, and the plan.

The functions take the decoded JSON (plain dictionaries), so that printing needs nothing but the
standard library, and a newer daemon's additional keys are no trouble. Columns are those of
ipvsadm 1.31 to the blank; what lvsd knows beyond it stands to the right of them. Text from the
network or the configuration is printed without control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

#: ipvsadm's column by the operator's word.
FORWARD = {
    "masq": "Masq",
    "local": "Local",
    "ipip": "Tunnel",
    "gate": "Route",
    "bypass": "Bypass",
}
HEADER = (
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
)


def status(document: Json, now: float) -> str:
    """Everything at a glance; `now` is a Unix time, for the ages."""
    parts = [
        _header(document, now),
        _troubles(document),
        _routers(document.get("vrrp", []), now),
        _table(document, now),
        _syncdaemons(document.get("syncdaemons", [])),
        _notes(document, now),
    ]
    return "\n".join(part for part in parts if part)


def listing(document: Json) -> str:
    """The table alone, as `ipvsadm -Ln` prints it, without anything of ours."""
    lines = [_title(document)]
    for virtual in document.get("virtuals", []):
        if virtual.get("installed", True):
            lines.append(_service_row(virtual))
            lines += (_real_row(real) for real in _rows(virtual) if real.get("installed", True))
    return "".join(line + "\n" if not line.endswith("\n") else line for line in lines)


def plan(answer: Json) -> str:
    """The steps of a plan, one per line, and what they are based on."""
    steps = [clean(step) for step in answer.get("steps", [])]
    source = clean(answer.get("source", ""))
    if not steps:
        return f"Nothing to do ({source}).\n"
    noun = "step" if len(steps) == 1 else "steps"
    return f"{len(steps)} {noun} ({source}):\n" + "".join(f"  {step}\n" for step in steps)


def duration(seconds: float) -> str:
    """`12s`, `3m05s`, `2h05m`, `4d03h`: two units at most."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def clean(text: object) -> str:
    """`text` without control characters: nothing printed here may drive a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def _header(document: Json, now: float) -> str:
    config = document["config"]
    age = duration(now - document["since"])
    lines = [
        f"lvsd {clean(document['version'])} on {clean(document['host'])}, "
        f"pid {document['pid']}, up {age}"
    ]
    line = f"config {clean(config['path'])}"
    if config.get("sha256"):
        line += f", sha256 {clean(config['sha256'])[:12]}"
    if config.get("loaded"):
        line += f", loaded {duration(now - config['loaded'])} ago"
    return "\n".join([*lines, line, ""])


def _troubles(document: Json) -> str:
    """What an operator must not overlook, before everything else."""
    lines = []
    if document.get("director", "up") != "up":
        lines.append("THE DIRECTOR PROCESS IS AWAY: no checks run; table and VIPs stay as they are")
    if errors := document["config"].get("errors"):
        lines.append("CONFIG REFUSED: the last reload failed, the older configuration stays")
        lines += (f"  {clean(error)}" for error in errors)
    return "\n".join([*lines, ""]) if lines else ""


def _routers(routers: Sequence[Json], now: float) -> str:
    if not routers:
        return ""
    title = ("VRRP", "Interface", "VRID", "State", "Priority", "Master", "For", "Reason")
    rows = [title, *(_router_row(router, now) for router in routers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    for router in routers:
        lines += (
            f"  {clean(router['name'])}: {clean(note)}" for note in _router_notes(router, now)
        )
    return "\n".join([*lines, ""])


def _router_notes(router: Json, now: float) -> Iterator[str]:
    """What an operator needs: a moved priority, whom a backup hears, routes, and what is wrong."""
    parts = router.get("priority_parts")
    if parts and router["priority"] != router["effective_priority"]:
        yield f"priority {router['effective_priority']}: {', '.join(parts)}"
    if router.get("vmac"):
        yield f"virtual MAC {router['vmac']} on {clean(router.get('vmac_interface'))}"
    if not router.get("accept", True):
        yield "the host itself does not answer on the addresses (noaccept)"
    heard = router.get("last_heard")
    if heard is not None and router["state"] != "master":
        yield f"last heard {router.get('last_heard_from')} {duration(now - heard)} ago"
    for kind in ("route", "rule"):
        yield from (f"{kind} {path}" for path in router.get(f"{kind}s", []))
    yield from router.get("notes", [])


def _router_row(router: Json, now: float) -> tuple[str, ...]:
    priority, effective = router["priority"], router["effective_priority"]
    return (
        clean(router["name"]),
        clean(router["interface"]),
        str(router["vrid"]),
        clean(router["state"]).upper(),
        str(priority) if priority == effective else f"{effective} ({priority})",
        clean(router["master"] or "-"),
        duration(now - router["since"]),
        clean(router["reason"]),
    )


def _title(document: Json) -> str:
    table = document.get("table", {})
    version, size = table.get("version") or "1.2.1", table.get("size") or 4096
    return f"IP Virtual Server version {clean(version)} (size={size})\n{HEADER}"


def _table(document: Json, now: float) -> str:
    virtuals = document.get("virtuals", [])
    if not virtuals:
        return ""
    text = _title(document)
    for virtual in virtuals:
        text += _annotated(_service_row(virtual), _service_note(virtual))
        for real in virtual["reals"]:
            text += _annotated(_real_row(real), _real_note(real, now))
        if virtual.get("fallback_real"):
            text += _annotated(_real_row(virtual["fallback_real"]), "fallback")
        elif virtual.get("fallback"):
            text += _annotated(f"  -> {clean(virtual['fallback'])}", "fallback")
    return text


def _annotated(row: str, note: str) -> str:
    return f"{row}  {note}\n" if note else f"{row}\n"


def _rows(virtual: Json) -> list[Json]:
    fallback = virtual.get("fallback_real")
    return [*virtual["reals"], *([fallback] if fallback else [])]


def _service_row(virtual: Json) -> str:
    if virtual["protocol"] == "fwm":
        family = " IPv6" if virtual.get("family") == "inet6" else ""
        name = f"FWM  {clean(virtual['virtual']).removesuffix(' IPv6')}{family}"
    else:
        name = f"{clean(virtual['protocol']).upper():<4} {clean(virtual['virtual'])}"
    flags = f" {clean(virtual['flags'])}" if virtual.get("flags") else ""
    return f"{name} {clean(virtual['scheduler'])}{flags}"


def _real_row(real: Json) -> str:
    """One destination; the format string is ipvsadm's."""
    forward = FORWARD.get(real["forwarding"], clean(real["forwarding"]))
    return (
        f"  -> {clean(real['real']):<28} {forward:<7} {real['effective_weight']:<6} "
        f"{real.get('active', 0):<10} {real.get('inactive', 0):<10}"
    )


def _service_note(virtual: Json) -> str:
    notes = [] if virtual["up"] else ["DOWN"]
    if not virtual.get("installed", True):
        notes.append("not in the table")
    return ", ".join(notes)


def _real_note(real: Json, now: float) -> str:
    """Why this real is not simply up: `down 12s: status 500`, `draining, 3m10s left`."""
    reason = clean(real.get("reason", ""))
    notes = []
    if real["health"] != "up":
        age = f" {duration(now - real['since'])}" if real["health"] == "down" else ""
        notes.append(f"{real['health']}{age}" + (f": {reason}" if reason else ""))
    elif reason and real["admin"] == "enabled" and real.get("check") != "on":
        notes.append(f"failing: {reason}" if real.get("streak") else reason)
    if reason.startswith("maintenance: "):
        return ", ".join((reason, *([real["health"]] if real["health"] != "up" else ())))
    if real["admin"] == "drain":
        left = real.get("deadline")
        notes.append("draining" + (f" ({duration(left - now)} left)" if left else ""))
    elif real["admin"] != "enabled":
        notes.append(clean(real["admin"]))
    if real.get("check") == "on":
        notes.append("never checked")
    if not real.get("installed", True):
        notes.append("not in the table")
    return ", ".join(notes)


def _syncdaemons(daemons: Iterable[Json]) -> str:
    """As `ipvsadm -L --daemon` words it."""
    return "".join(
        f"{daemon['role']} sync daemon (mcast={clean(daemon['interface'])}, "
        f"syncid={daemon['syncid']})\n"
        for daemon in daemons
    )


def _notes(document: Json, now: float) -> str:
    return "".join(f"{line}\n" for line in _each_note(document, now))


def _each_note(document: Json, now: float) -> Iterator[str]:
    table = document.get("table", {})
    if document.get("director", "up") == "up" and not table.get("in_sync", True):
        yield "the kernel's table is not as it should be"
        yield from (f"  {clean(d)}" for d in [*table.get("drift", []), *table.get("errors", [])])
    for foreign in table.get("foreign", []):
        yield f"not lvsd's, left alone: {clean(foreign)}"
    for adopted in table.get("adopted", []):
        yield f"weight set to 0 by hand, kept: {clean(adopted)}"
    if table.get("last_repair"):
        yield f"last repair of the table: {duration(now - table['last_repair'])} ago"
    if table.get("kind", "kernel") != "kernel":
        yield "this daemon runs with --table=none: the kernel's table is not touched"
    yield from map(clean, document["config"].get("warnings", []))  # each says "warning:" itself
    yield from (f"note: {clean(text)}" for text in document.get("notes", []))
