"""What a block asks its real servers: the check directives of one `virtual=`, put together.

Services follow ports as in ldirectord. A check that can't be made here is an error, so that no
server counts as up unasked. Fields that a kind of check does not use keep their defaults: equal
checks are then probed once.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import field, fields, replace
from operator import attrgetter
from typing import Any

from lvsd.config.diagnostics import BadValue, Report
from lvsd.config.document import Section
from lvsd.config.negotiate import (
    EXTERNAL_KINDS,
    SERVICES,
    WORDS,
    Service,
    asked,
    carrier,
    service_of,
    shaped,
)
from lvsd.core.model import Check, CheckKind, Family, IPAddress, Protocol, ServiceKey
from lvsd.core.record import dataclass

_NOWHERE: dict[Family, IPAddress] = {
    Family.INET: ipaddress.IPv4Address(0),
    Family.INET6: ipaddress.IPv6Address(0),
}
_BEHIND_THE_TARGET = attrgetter(*(field.name for field in fields(Check)[3:]))


@dataclass(frozen=True, slots=True)
class Question:
    """The check of a block: `template` has all but its target. `unchecked` says why none is asked.

    `port` is checkport=. `attempt` is the time for one echo request of a ping, in seconds.
    """

    template: Check
    port: int | None
    attempt: float
    unchecked: str = ""
    rest: tuple[Any, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Every real server has its check: `replace` would ask each time for all the fields.
        object.__setattr__(self, "rest", _BEHIND_THE_TARGET(self.template))

    @property
    def kind(self) -> CheckKind:
        """What is asked."""
        return self.template.kind

    @property
    def service(self) -> Service:
        """What a check of this kind knows."""
        return asked(self.kind)

    def target_port(self, own: int | None, written: int, service_port: int) -> int:
        """Where to ask: `own` is the line's checkport=, `written` its port.

        An external check is told the port as it was written, 0 for none.
        """
        if self.kind in EXTERNAL_KINDS:
            return written if own is None else own
        return own or self.port or written or self.service.port or service_port

    def to(self, address: IPAddress, port: int, request: str, receive: bytes) -> Check:
        """The check of one real server; an empty `request` or `receive` means the block's."""
        if self.kind in (CheckKind.ON, CheckKind.OFF, CheckKind.PING):
            port = self.template.port
        check = Check(self.kind, address, port, *self.rest)
        if self.kind in EXTERNAL_KINDS:
            literal = f"[{address}]" if address.version == 6 else str(address)
            return replace(check, command=(*check.command, literal, str(port)))
        if request and "request" in self.service.uses:
            check = replace(check, request=shaped(self.kind, request))
        if receive and "receive" in self.service.uses:
            check = replace(check, receive=receive)
        return check


def question(
    section: Section, globals_: Section, key: ServiceKey, node: str, report: Report
) -> Question:
    """The check of a block on the director `node`."""
    kind, unchecked = _kind(section, key, report)
    service = asked(kind)
    attempt = timeout(section, globals_, service.negotiates)
    template = Check(kind, _NOWHERE[key.family], 0)
    if kind not in (CheckKind.ON, CheckKind.OFF):
        interval = section.value("checkinterval", globals_.value("checkinterval", 10))
        template = replace(template, interval=float(interval), timeout=attempt)
    if kind is CheckKind.PING:
        # ldirectord waits the timeout once for each request; a check has one for them all.
        attempts = section.value("checkcount", globals_.value("checkcount", 1))
        template = replace(template, timeout=attempt * attempts, attempts=attempts)
    elif kind in EXTERNAL_KINDS:
        template = replace(template, command=_command(section, key, report))
    elif kind.value in SERVICES:
        template = _words(section, template, key, node, report)
        if connects := _connects(section, template, report):
            limit = timeout(section, globals_, negotiates=False)
            template = replace(template, connects=connects, connect_timeout=limit)
    _unused(section, service, kind, report)
    return Question(template, section.value("checkport"), attempt, unchecked)


def _kind(section: Section, key: ServiceKey, report: Report) -> tuple[CheckKind, str]:
    if section.failed & {"checktype", "service"}:
        return CheckKind.OFF, ""
    checktype = section.value("checktype", "negotiate")
    if checktype == "connect" and key.protocol is Protocol.UDP:
        text = "a udp service can't be connected to; its servers are pinged instead"
        report.warn(section.place("checktype"), text)
        return CheckKind.PING, ""
    if (
        checktype == "connect"
        and key.protocol is Protocol.SCTP
        and "checkport" not in section.settings
    ):
        text = "checktype=connect asks over TCP; for sctp use checktype=ping or give a checkport="
        report.error(section.place("checktype"), text)
    if checktype != "negotiate" and not checktype.isdigit():
        return CheckKind(checktype), ""
    service = section.value("service") or service_of(key.port)
    if service != "none":
        return _able(section, service, key, report), ""
    known = f"port {key.port} tells no service" if key.port else "there is no service="
    if "service" in section.settings:
        known = "service=none"
    return CheckKind.ON, known


def _connects(section: Section, template: Check, report: Report) -> int:
    """The connects between two negotiate checks that `checktype=N` asks for."""
    checktype = section.value("checktype", "negotiate")
    count = int(checktype) if checktype.isdigit() else 0
    if count and template.protocol is not Protocol.TCP:
        text = "a service over udp can't be connected to: each check negotiates"
        report.warn(section.place("checktype"), text)
        return 0
    return count


def _able(section: Section, service: str, key: ServiceKey, report: Report) -> CheckKind:
    """The kind of a service that has what it needs, else an error and OFF."""
    known = SERVICES[service]
    inferred = "" if "service" in section.settings else f" (port {key.port} means {service})"
    place = section.place("service")
    missing = [n for n in known.needs if n not in section.settings and n not in section.failed]
    if missing:
        words = " and ".join(f"{name}=" for name in missing)
        text = f"a check of service={service}{inferred} needs {words}; or use checktype=connect"
        report.error(place, text)
    if not known.installed:
        text = f"a check of service={service}{inferred} needs the library {known.module}"
        report.error(place, f"{text}: pip install 'lvsd[{service}]', or use checktype=connect")
    return CheckKind.OFF if missing or not known.installed else CheckKind(service)


def _words(section: Section, template: Check, key: ServiceKey, node: str, report: Report) -> Check:
    """The template of a negotiate check, with what its service uses."""
    kind = template.kind
    uses = asked(kind).uses
    login, passwd = _account(section, kind, node, report)
    method = section.value("httpmethod", "GET")
    receive = section.value("receive", b"") if "receive" in uses else b""
    if method == "HEAD" and receive and "httpmethod" in uses:
        text = "a HEAD answer has no body, so receive= can never match: every real will be down"
        report.warn(section.place("receive"), text)
    return replace(
        template,
        request=_request(section, kind, report) if "request" in uses else template.request,
        receive=receive,
        method=method if "httpmethod" in uses else template.method,
        protocol=carrier(kind, key.protocol),
        login=login,
        passwd=passwd,
        database=section.value("database", b"") if "database" in uses else b"",
        secret=section.value("secret", b"") if "secret" in uses else b"",
        **_tls(section, kind, report),
    )


def _request(section: Section, kind: CheckKind, report: Report) -> bytes:
    if kind is CheckKind.DNS and "request" not in section.settings:
        text = 'without request= the root is asked for; write the name of a record, request="…"'
        report.warn(section.head, text)
    try:
        text = section.value("request", b"/").decode("utf-8", "surrogateescape")
        return shaped(kind, text)
    except BadValue as problem:
        if "request" not in section.failed:
            report.error(section.place("request"), problem.text)
        return b""


def _account(section: Section, kind: CheckKind, node: str, report: Report) -> tuple[bytes, bytes]:
    """Login and password; those of ftp and sip have ldirectord's defaults."""
    if "login" not in asked(kind).uses:
        return b"", b""
    ours = b"ldirectord@" + node.encode()
    login, passwd = section.value("login", b""), section.value("passwd", b"")
    if kind is CheckKind.FTP:
        return login or b"anonymous", passwd or ours
    if kind is CheckKind.SIP:
        return login or ours, b""
    if kind in (CheckKind.LDAP, CheckKind.LDAPS) and bool(login) != bool(passwd):
        given = "login" if login else "passwd"
        text = f"{given} alone does not count: the bind is anonymous without both login and passwd"
        report.warn(section.place(given), text)
        return b"", b""
    return login, passwd


def _command(section: Section, key: ServiceKey, report: Report) -> tuple[str, ...]:
    """The program of an external check, and what tells it the virtual."""
    command: tuple[str, ...] = section.value("checkcommand", ("/bin/true",))
    if "checkcommand" not in section.settings and "checkcommand" not in section.failed:
        report.warn(section.head, "without checkcommand= it is /bin/true, which always passes")
    mode = os.X_OK if section.value("checktype") == "external" else os.R_OK
    if not os.access(command[0], mode):
        text = f"{command[0]} can't be run: the real servers will be down"
        report.warn(section.place("checkcommand"), text)
    literal = str(key.fwmark) if key.address is None else str(key.address)
    if key.address is not None and key.address.version == 6:
        literal = f"[{literal}]"
    return (*command, literal, str(key.port))


def timeout(section: Section, globals_: Section, negotiates: bool) -> float:
    """ldirectord's precedence: the block's own words first, then the globals', then the default."""
    order = ("negotiatetimeout", "checktimeout")
    for place in (section, globals_):
        for name in order if negotiates else reversed(order):
            if name in place.settings:
                return float(place.value(name))
    return 30.0 if negotiates else 5.0


def _unused(section: Section, service: Service, kind: CheckKind, report: Report) -> None:
    if kind is CheckKind.OFF and section.value("checktype") != "off":
        return  # there was an error, and that is enough
    for name in WORDS:
        if name in section.settings and name not in service.uses:
            text = f"{name} has no effect in a check of {kind.value}"
            report.warn(section.place(name), text)
    if kind in EXTERNAL_KINDS and "checkport" in section.settings:
        text = "checkport has no effect: an external check is told the real server's own port"
        report.warn(section.place("checkport"), text)


def _tls(section: Section, kind: CheckKind, report: Report) -> dict[str, Any]:
    """The fields of a check that TLS uses; virtualhost is HTTP's as well."""
    service = asked(kind)
    virtualhost = section.value("virtualhost", b"") if "virtualhost" in service.uses else b""
    if "verify" not in service.uses:
        return {"virtualhost": virtualhost}
    verify, cafile = section.value("verify", False), _cafile(section, report)
    starttls = "starttls" in service.uses and section.value("starttls", verify)
    if not (starttls or service.tls):
        if verify:
            report.error(
                section.place("starttls"), "verify=yes needs TLS, which starttls=no forbids"
            )
        if virtualhost:
            text = "virtualhost has no effect without starttls=yes"
            report.warn(section.place("virtualhost"), text)
        return {}
    if "verify" not in section.settings:
        text = f"certificates of {kind.value} checks are not verified; verify=yes turns it on"
        report.warn(section.head, text)
    found = {"virtualhost": virtualhost, "verify": verify, "starttls": starttls}
    return found | {"cafile": cafile if verify else ""}


def _cafile(section: Section, report: Report) -> str:
    path: str = section.value("cafile", "")
    if path and not os.access(path, os.R_OK):
        report.error(section.place("cafile"), f"can't read {path}")
    if path and not section.value("verify", False):
        report.warn(section.place("cafile"), "cafile has no effect without verify=yes")
    return path
