"""The normal form: every value written out, names resolved, one block for each thing.

`loads(render(config))` gives an equal Config; `lvsd check --print` shows it, and the child keeps
it as the last good configuration.
"""

from __future__ import annotations

from lvsd.config.actions import render_actions
from lvsd.config.negotiate import EXTERNAL_KINDS, SERVICES, asked, unshaped
from lvsd.config.pacing import render_paces
from lvsd.config.services import FLAG_NAMES
from lvsd.config.sync import render_sync
from lvsd.config.tuning import tuned
from lvsd.config.values import written
from lvsd.config.vips import SCOPES
from lvsd.core.model import (
    Check,
    CheckKind,
    Config,
    Family,
    IPAddress,
    Protocol,
    RealServer,
    RouterConfig,
    ServiceFlag,
    TrackProcess,
    TrackScript,
    Vip,
    Virtual,
    endpoint,
)


def render(config: Config) -> str:
    """The text of a configuration; valid Unicode whatever bytes the file held."""
    blocks = [_globals(config)]
    blocks += map(_script, config.scripts)
    blocks += map(_process, config.processes)
    blocks += [_block(f"file={file.name}", [("path", f'"{file.path}"')]) for file in config.files]
    blocks += map(_router, config.routers)
    blocks += map(_virtual, config.virtuals)
    return "\n".join(block for block in blocks if block)


def _globals(config: Config) -> str:
    lines = [
        f"autoreload={_yesno(config.autoreload)}\n",
        f"standbytable={_yesno(config.standbytable)}\n",
    ]
    if config.logfile:
        lines.append(f'logfile="{config.logfile}"\n')
    if config.operators:
        lines.append(f"operators={' '.join(config.operators)}\n")
    if config.callback:
        lines.append(f"callback={written(config.callback)}\n")
    if config.maintenancedir:
        lines.append(f'maintenancedir="{config.maintenancedir}"\n')
    if config.supervised:
        lines.append("supervised=yes\n")
    if config.logstyle != "lvsd":
        lines.append(f"logstyle={config.logstyle}\n")
    if config.checkers:
        lines.append(f"checkers={config.checkers}\n")
    lines += render_paces(config.paces)
    return "".join(lines)


def _block(head: str, members: list[tuple[str, object]]) -> str:
    return "".join([head + "\n", *(f"\t{name}={value}\n" for name, value in members)])


def _yesno(value: bool) -> str:
    return "yes" if value else "no"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _seconds(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _script(script: TrackScript) -> str:
    members: list[tuple[str, object]] = [
        ("command", written(script.command)),
        ("interval", _seconds(script.interval)),
        ("timeout", _seconds(script.timeout)),
        ("rise", script.rise),
        ("fall", script.fall),
    ]
    if script.user.user:
        members.append(("user", script.user))
    return _block(f"script={script.name}", members)


def _process(process: TrackProcess) -> str:
    members: list[tuple[str, object]] = [
        ("command", written(process.command)),
        ("quorum", process.quorum),
        ("forkdelay", _seconds(process.forkdelay)),
        ("terminatedelay", _seconds(process.terminatedelay)),
    ]
    if process.quorummax:
        members.append(("quorummax", process.quorummax))
    return _block(f"process={process.name}", members)


def _router(router: RouterConfig) -> str:
    members: list[tuple[str, object]] = [
        ("interface", router.interface),
        ("virtualrouterid", router.vrid),
        ("priority", router.priority),
        ("version", router.version),
        ("advertint", _seconds(router.advertint)),
    ]
    members += [("address", _vip(vip)) for vip in router.addresses]
    members += [("excludedaddress", _vip(vip)) for vip in router.excluded]
    members += [("route", route) for route in router.routes]
    members += [("rule", rule) for rule in router.rules]
    if router.authpass:
        members.append(("authpass", f'"{_text(router.authpass)}"'))
    if router.source is not None:
        members.append(("unicastsrcip" if router.peers else "mcastsrcip", router.source))
    members += [("peer", _peer(peer, router)) for peer in router.peers]
    if not router.preempt:
        members.append(("nopreempt", "yes"))
    members.append(("preemptdelay", _seconds(router.preemptdelay)))
    if router.startupdelay is not None:
        members.append(("startupdelay", _seconds(router.startupdelay)))
    if router.syncgroup:
        members.append(("syncgroup", router.syncgroup))
    if router.syncdaemon is not None:
        members.append(("syncdaemon", render_sync(router)))
    for track in router.tracks:
        weight = f" weight {track.weight}" if track.weight or track.reverse else ""
        reverse = " reverse" if track.reverse else ""
        members.append(("track", f"{track.kind} {track.name}{weight}{reverse}"))
    if router.notify:
        members.append(("notify", written(router.notify)))
    if router.scriptuser.user:
        members.append(("scriptuser", router.scriptuser))
    members.append(("lease", _yesno(router.lease)))
    members += [(word, _value(value)) for word, value in tuned(router)]
    return _block(f"vrrp={router.name}", members)


def _peer(peer: IPAddress, router: RouterConfig) -> str:
    """A peer with the bounds of its TTL where they differ from the defaults."""
    parts = [str(peer)]
    for limits in router.peer_ttls:
        if limits.peer == peer:
            parts += [f"minttl {limits.minimum}", f"maxttl {limits.maximum}"]
    return " ".join(parts)


def _value(value: object) -> str:
    """A value of a type that says how it is written."""
    if isinstance(value, tuple):
        return written(value)
    if isinstance(value, bool):
        return _yesno(value)
    return _seconds(value) if isinstance(value, float) else str(value)


def _vip(vip: Vip) -> str:
    parts = [str(vip)]
    if vip.dev:
        parts.append(f"dev {vip.dev}")
    if vip.label:
        parts.append(f"label {vip.label}")
    if vip.scope:
        names = {number: name for name, number in SCOPES.items()}
        parts.append(f"scope {names.get(vip.scope, vip.scope)}")
    return " ".join(parts)


def _virtual(virtual: Virtual) -> str:
    key = virtual.key
    service = virtual.service
    six = "6" if key.family is Family.INET6 else ""
    where = str(key.fwmark) if key.address is None else endpoint(key.address, key.port)
    members: list[tuple[str, object]] = [
        ("protocol", key.protocol.word),
        ("scheduler", service.scheduler),
    ]
    flags = [name for name, flag in FLAG_NAMES.items() if service.flags & flag]
    if flags:
        members.append(("schedflags", ",".join(flags)))
    if service.flags & ServiceFlag.PERSISTENT:
        members.append(("persistent", service.timeout))
        members.append(("netmask", service.prefixlen))
    if service.pe_name:
        members.append(("persistenceengine", service.pe_name))
    if service.flags & ServiceFlag.ONEPACKET:
        members.append(("ops", "yes"))
    members += [
        ("quiescent", _yesno(virtual.quiescent)),
        ("failurecount", virtual.fall),
        ("rise", virtual.rise),
        ("quorum", virtual.quorum),
        ("hysteresis", virtual.hysteresis),
        ("cleanstop", _yesno(virtual.cleanstop)),
    ]
    members += [(n, "yes") for n in ("watch", "failfast") if getattr(virtual, n)]
    members += render_actions(virtual.actions)
    members += _question(virtual)
    if virtual.fallback is not None:
        members.append((f"fallback{six}", _sorry(virtual.fallback)))
    common = _common(virtual) if virtual.reals else (b"", b"")
    members += [(f"real{six}", _real(real, virtual, common)) for real in virtual.reals]
    return _block(f"virtual{six}={where}", members)


def _sorry(real: RealServer) -> str:
    where = endpoint(real.key.address, real.key.port) if real.key.port else _bare(real)
    return f"{where} {real.forwarding.word}"


def _bare(real: RealServer) -> str:
    address = real.key.address
    return f"[{address}]" if address.version == 6 else str(address)


def _asked(virtual: Virtual) -> Check | None:
    """The check that speaks for the block: one that asks the real server itself if there is."""
    checks = [real.check for real in virtual.reals]
    own = (real.check for real in virtual.reals if real.check.address == real.key.address)
    return next(own, checks[0] if checks else None)


def _question(virtual: Virtual) -> list[tuple[str, object]]:
    check = _asked(virtual)
    if check is None or check.kind in (CheckKind.ON, CheckKind.OFF):
        return [("checktype", "on" if check is None else check.kind.value)]
    service = asked(check.kind)
    negotiates = check.kind.value in SERVICES
    seconds = f"{check.timeout / check.attempts:.0f}"
    members: list[tuple[str, object]] = [
        ("checktype", (check.connects or "negotiate") if negotiates else check.kind.value),
        ("checkinterval", f"{check.interval:.0f}"),
        ("negotiatetimeout" if service.negotiates else "checktimeout", seconds),
    ]
    if check.connects and service.negotiates:  # else the one limit is for both
        members.append(("checktimeout", f"{check.connect_timeout:.0f}"))
    if check.kind is CheckKind.PING:
        members.append(("checkcount", check.attempts))
    if check.kind in EXTERNAL_KINDS:
        members.append(("checkcommand", written(check.command[:-4])))
    if _over_sctp(virtual, check):
        members.append(("checkport", check.port))
    if negotiates:
        members.append(("service", check.kind.value))
        members += _words(check, virtual)
    return members


def _over_sctp(virtual: Virtual, check: Check) -> bool:
    """Whether the block must name a port for TCP, since its own is one of SCTP."""
    return check.kind is CheckKind.CONNECT and virtual.key.protocol is Protocol.SCTP


def _words(check: Check, virtual: Virtual) -> list[tuple[str, object]]:
    """What the service of a negotiate check uses."""
    uses = asked(check.kind).uses
    request, receive = _common(virtual)
    values = {
        "httpmethod": check.method,
        "virtualhost": _text(_virtualhost(virtual)),
        "login": _quoted(check.login),
        "passwd": _quoted(check.passwd),
        "database": _quoted(check.database),
        "secret": _quoted(check.secret),
        "request": _quoted(unshaped(check.kind, request)),
        "receive": _quoted(receive),
        "starttls": "yes" if check.starttls else "",
        "verify": _yesno(check.verify) if check.starttls or asked(check.kind).tls else "",
        "cafile": f'"{check.cafile}"' if check.cafile else "",
    }
    return [(name, value) for name, value in values.items() if value and name in uses]


def _quoted(value: bytes) -> str:
    return f'"{_text(value)}"' if value else ""


def _common(virtual: Virtual) -> tuple[bytes, bytes]:
    """The block's request and receive: what holds a quote can't stand in a real= line."""
    own = [r.check.request for r in virtual.reals if r.check.address == r.key.address]
    receives = [real.check.receive for real in virtual.reals]
    request = next((r for r in own if b'"' in r), own[0] if own else b"/")
    receive = next((r for r in receives if b'"' in r), receives[0])
    return request, receive if all(receives) else b""


def _virtualhost(virtual: Virtual) -> bytes:
    """The block's, as far as no absolute request put the real server's own address there."""
    for real in virtual.reals:
        if real.check.address == real.key.address:
            return real.check.virtualhost
    host = virtual.reals[0].check.virtualhost
    return b"" if host == _bare(virtual.reals[0]).encode() else host


def _real(real: RealServer, virtual: Virtual, common: tuple[bytes, bytes]) -> str:
    check = real.check
    where = endpoint(real.key.address, real.port) if real.port else _bare(real)
    parts = [where, real.forwarding.word, str(real.weight)]
    if check.kind.value in SERVICES:
        parts += _strings(real, common)
    if real.checkport is not None:
        parts.append(f"checkport={real.checkport}")
    if real.u_threshold:
        parts.append(f"uthreshold={real.u_threshold}")
    if real.l_threshold:
        parts.append(f"lthreshold={real.l_threshold}")
    return " ".join(parts)


def _strings(real: RealServer, common: tuple[bytes, bytes]) -> list[str]:
    check = real.check
    request = _text(unshaped(check.kind, check.request))
    if check.address != real.key.address:
        request = f"{check.kind}://{endpoint(check.address, check.port)}{request}"
    parts = [f'request="{request}"'] if request != _text(unshaped(check.kind, common[0])) else []
    if check.receive != common[1]:
        parts.append(f'receive="{_text(check.receive)}"')
    return parts
