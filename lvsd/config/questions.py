"""What a block asks its real servers: the check directives of one `virtual=`, put together.

Services follow ports as in ldirectord. A check that this version can't make is an error here, so
that no server counts as up unasked. Fields that a kind of check does not use keep their defaults:
equal checks are then probed once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from lvsd.config.diagnostics import Report
from lvsd.config.document import Section
from lvsd.config.table import ASKED, SERVICE_PORTS
from lvsd.core.model import Check, CheckKind, IPAddress, Protocol, ServiceKey


@dataclass(frozen=True, slots=True)
class Question:
    """The check of a block, without its target. `unchecked` says why nothing is asked.

    `timeout` is that of one attempt, in seconds.
    """

    kind: CheckKind
    port: int | None
    standard_port: int
    interval: float
    timeout: float
    attempts: int = 1
    request: bytes = b"/"
    receive: bytes = b""
    method: str = "GET"
    virtualhost: bytes = b""
    verify: bool = False
    cafile: str = ""
    unchecked: str = ""

    def to(
        self, address: IPAddress, port: int, request: bytes | None, receive: bytes | None
    ) -> Check:
        """The check of one real server; `request` and `receive` None mean the block's."""
        if self.kind in (CheckKind.ON, CheckKind.OFF):
            return Check(self.kind, address, 0)
        if self.kind is CheckKind.PING:
            # ldirectord waits the timeout once for each request; a check has one for them all.
            whole, attempts = self.timeout * self.attempts, self.attempts
            return Check(self.kind, address, 0, self.interval, whole, attempts=attempts)
        if self.kind is CheckKind.CONNECT:
            return Check(self.kind, address, port, self.interval, self.timeout)
        return Check(
            self.kind,
            address,
            port,
            self.interval,
            self.timeout,
            request=self.request if request is None else request,
            receive=self.receive if receive is None else receive,
            method=self.method,
            virtualhost=self.virtualhost,
            verify=self.verify,
            cafile=self.cafile,
        )


def question(section: Section, globals_: Section, key: ServiceKey, report: Report) -> Question:
    """The check of a block."""
    service = section.value("service") or service_of(key)
    kind, unchecked = _kind(section, service, key, report)
    web = kind in (CheckKind.HTTP, CheckKind.HTTPS)
    method = section.value("httpmethod", "GET")
    receive = section.value("receive", b"")
    if web and method == "HEAD" and receive:
        text = "a HEAD answer has no body, so receive= can never match: every real will be down"
        report.warn(section.place("receive"), text)
    _unused(section, web, report)
    return Question(
        kind=kind,
        port=section.value("checkport"),
        standard_port=SERVICE_PORTS.get(service, 0),
        interval=float(section.value("checkinterval", globals_.value("checkinterval", 10))),
        timeout=timeout(section, globals_, web),
        attempts=section.value("checkcount", globals_.value("checkcount", 1)),
        request=with_slash(section.value("request", b"/")),
        receive=receive,
        method=method,
        virtualhost=section.value("virtualhost", b""),
        verify=kind is CheckKind.HTTPS and _verify(section, report),
        cafile=_cafile(section, report) if kind is CheckKind.HTTPS else "",
        unchecked=unchecked,
    )


def service_of(key: ServiceKey) -> str:
    """The service that ldirectord takes a port for; "none" where it knows none."""
    return next((name for name, port in SERVICE_PORTS.items() if port == key.port), "none")


def with_slash(request: bytes) -> bytes:
    """A request as a path, the way ldirectord completes it."""
    return request if request.startswith(b"/") else b"/" + request


def _kind(section: Section, service: str, key: ServiceKey, report: Report) -> tuple[CheckKind, str]:
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
    if checktype.startswith("external"):
        text = f"checktype={checktype} is not supported yet; use negotiate, connect or ping"
        report.error(section.place("checktype"), text)
        return CheckKind.OFF, ""
    if checktype != "negotiate":
        return CheckKind(checktype), ""
    if service == "none":
        known = f"port {key.port} tells no service" if key.port else "there is no service="
        if "service" in section.settings:
            known = "service=none"
        return CheckKind.ON, known
    if service not in ASKED:
        inferred = "" if "service" in section.settings else f" (port {key.port} means {service})"
        text = f"a negotiate check of service={service}{inferred} is not supported yet"
        report.error(section.place("service"), f"{text}; use checktype=connect")
        return CheckKind.OFF, ""
    return CheckKind(service), ""


def timeout(section: Section, globals_: Section, negotiate: bool) -> float:
    """ldirectord's precedence: the block's own words first, then the globals', then the default."""
    order = ("negotiatetimeout", "checktimeout")
    for place in (section, globals_):
        for name in order if negotiate else reversed(order):
            if name in place.settings:
                return float(place.value(name))
    return 30.0 if negotiate else 5.0


def _unused(section: Section, web: bool, report: Report) -> None:
    if web:
        return
    for name in ("request", "receive", "virtualhost", "httpmethod", "verify", "cafile"):
        if name in section.settings:
            text = f"{name} has no effect without a negotiate check of http or https"
            report.warn(section.place(name), text)


def _verify(section: Section, report: Report) -> bool:
    if "verify" not in section.settings:
        text = "certificates of https checks are not verified; verify=yes turns it on"
        report.warn(section.head, text)
    return bool(section.value("verify", False))


def _cafile(section: Section, report: Report) -> str:
    path: str = section.value("cafile", "")
    if path and not os.access(path, os.R_OK):
        report.error(section.place("cafile"), f"can't read {path}")
    if path and not section.value("verify", False):
        report.warn(section.place("cafile"), "cafile has no effect without verify=yes")
    return path
