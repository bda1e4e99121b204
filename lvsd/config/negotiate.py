"""What a negotiate check can ask: every service, its port, and the words that mean something to it.

Ports and services belong together as in ldirectord, whose table this is: the port of a virtual
tells the service, and a service tells the port to ask where the real server has none. Of requests
ldirectord makes paths, and takes the slash away again for services that know no paths: so a path is
a path, and elsewhere one leading slash does not count.
"""

from __future__ import annotations

import importlib.util
import re

from lvsd.config.diagnostics import BadValue
from lvsd.core.model import CheckKind, Protocol
from lvsd.core.record import dataclass

#: Words that only some checks use.
WORDS = (
    *("request", "receive", "httpmethod", "virtualhost", "login", "passwd", "database", "secret"),
    *("starttls", "verify", "cafile", "checkcommand"),
)
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)?\.?|[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `port` 0: no port tells it.

    `uses` are the words that count; `needs` those without which it cannot ask. `module` is a
    library that must be installed, by an extra of the service's name. `negotiates`: the check has
    the negotiatetimeout, else the checktimeout (for LDAP and RADIUS an oddity of ldirectord).
    """

    port: int
    uses: frozenset[str]
    needs: tuple[str, ...] = ()
    module: str = ""
    negotiates: bool = True

    @property
    def tls(self) -> bool:
        """Whether it is always asked inside TLS."""
        return "verify" in self.uses and "starttls" not in self.uses

    @property
    def installed(self) -> bool:
        """Whether the library it needs is there."""
        return not self.module or importlib.util.find_spec(self.module) is not None


def _service(
    port: int, uses: str, needs: str = "", module: str = "", negotiates: bool = True
) -> Service:
    return Service(port, frozenset(uses.split()), tuple(needs.split()), module, negotiates)


_TLS = " virtualhost verify cafile"
_STARTTLS = _TLS + " starttls"
_SQL = "request login passwd database"
_DIRECTORY = "request receive login passwd"

SERVICES = {
    "ftp": _service(21, "request receive login passwd" + _STARTTLS),
    "smtp": _service(25, _STARTTLS),
    "dns": _service(53, "request receive"),
    "http": _service(80, "request receive httpmethod virtualhost"),
    "pop": _service(110, "login passwd" + _STARTTLS),
    "nntp": _service(119, _STARTTLS),
    "imap": _service(143, "login passwd" + _STARTTLS),
    "ldap": _service(389, _DIRECTORY + _STARTTLS, negotiates=False),
    "https": _service(443, "request receive httpmethod" + _TLS),
    "submission": _service(587, _STARTTLS),
    "ldaps": _service(636, _DIRECTORY + _TLS, negotiates=False),
    "imaps": _service(993, "login passwd" + _TLS),
    "pops": _service(995, "login passwd" + _TLS),
    "oracle": _service(1521, _SQL + _STARTTLS, "login request", "oracledb"),
    "radius": _service(1812, "login passwd secret", "login secret", negotiates=False),
    "http_proxy": _service(3128, "request receive httpmethod", "request"),
    "mysql": _service(3306, _SQL + _STARTTLS, "login request", "aiomysql"),
    "sip": _service(5060, "login"),
    "pgsql": _service(5432, _SQL + _STARTTLS, "login request", "asyncpg"),
    "simpletcp": _service(0, "request receive"),
}
_EXTERNAL = _service(0, "checkcommand", negotiates=False)
_OTHER = _service(0, "", negotiates=False)

EXTERNAL_KINDS = (CheckKind.EXTERNAL, CheckKind.EXTERNAL_PERL)
#: Checks that open no connection to a port of the real server.
PORTLESS = (CheckKind.ON, CheckKind.OFF, CheckKind.PING, *EXTERNAL_KINDS)


def asked(kind: CheckKind) -> Service:
    """What a check of this kind knows."""
    return SERVICES.get(kind.value, _EXTERNAL if kind in EXTERNAL_KINDS else _OTHER)


def service_of(port: int) -> str:
    """The service that ldirectord takes a port for; "none" where it knows none."""
    return next((name for name, known in SERVICES.items() if port and known.port == port), "none")


def carrier(kind: CheckKind, protocol: Protocol) -> Protocol:
    """What carries the question of a service of `protocol`. A mark says nothing of either."""
    if kind is CheckKind.RADIUS:
        return Protocol.UDP
    if kind is CheckKind.DNS:
        return Protocol.TCP if protocol is Protocol.TCP else Protocol.UDP
    datagrams = kind in (CheckKind.SIP, CheckKind.SIMPLETCP) and protocol is Protocol.UDP
    return Protocol.UDP if datagrams else Protocol.TCP


def shaped(kind: CheckKind, text: str) -> bytes:
    """A request as the check sends it. Raises BadValue for what the service cannot be asked."""
    if kind in (CheckKind.HTTP, CheckKind.HTTPS):
        return with_slash(path_bytes(text))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue(f"a request of {kind.value} is UTF-8 text") from None
    if kind is CheckKind.FTP:
        return with_slash(text.encode())
    text = text.removeprefix("/")
    if kind is CheckKind.DNS and not _NAME.fullmatch(text):
        raise BadValue(f"a request of dns is a name or an address, not {text}")
    if kind is CheckKind.HTTP_PROXY and not re.fullmatch(r"http://[^/?#\s]+.*", text, re.I):
        raise BadValue("a request of http_proxy is a whole URL, http://HOST/PATH")
    return text.encode()


def path_bytes(text: str) -> bytes:
    """A request as bytes; what is no UTF-8 is percent-encoded (RFC 3986, section 2.1)."""
    return "".join(
        f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in text
    ).encode()


def unshaped(kind: CheckKind, request: bytes) -> bytes:
    """The words of the configuration for a request: `shaped` gives it back."""
    paths = kind in (CheckKind.HTTP, CheckKind.HTTPS, CheckKind.FTP)
    return request if paths or (request and request[:1] != b"/") else b"/" + request


def with_slash(request: bytes) -> bytes:
    """A request as a path, the way ldirectord completes it."""
    return request if request.startswith(b"/") else b"/" + request
