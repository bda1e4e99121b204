"""Addresses and ports as operators write them.

`HOST:PORT`, `[IPV6]:PORT`, names, service names, firewall marks, ranges. Names are resolved once,
here. What ldirectord would take for something else (a mark by accident, three octets, octal
octets, two colons) is an error that shows the right spelling.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping

from lvsd.config.diagnostics import BadValue
from lvsd.config.negotiate import SERVICES
from lvsd.core.model import Family, IPAddress, Protocol
from lvsd.core.record import dataclass

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                   r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?", re.ASCII)  # fmt: skip
_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?")
_PORT = re.compile(r"[0-9]{1,9}")
#: A range of real servers may not be longer than this.
RANGE_LIMIT = 65536
#: For machines without a services database (a bare Debian has none): what LVS usually balances.
#: Name → (port, protocols), as IANA registered them.
_T, _U = Protocol.TCP, Protocol.UDP
WELL_KNOWN: Mapping[str, tuple[int, tuple[Protocol, ...]]] = {
    **{
        name: (service.port, (_T,))
        for name, service in SERVICES.items()
        if service.port and name not in ("dns", "http_proxy")
    },
    "http-alt": (8080, (_T, _U)),
    "www": (80, (_T,)),
    "https": (443, (_T, _U)),
    "domain": (53, (_T, _U)),
    "ntp": (123, (_U,)),
    "snmp": (161, (_T, _U)),
    "syslog": (514, (_U,)),
    "tftp": (69, (_U,)),
    "radius": (1812, (_T, _U)),
    "sip": (5060, (_T, _U)),
    "postgresql": (5432, (_T,)),
    "pop3": (110, (_T,)),
    "pop3s": (995, (_T,)),
    "imap2": (143, (_T,)),
    "ssh": (22, (_T,)),
    "ldap": (389, (_T, _U)),
    "ldaps": (636, (_T, _U)),
    "squid": (3128, (_T,)),
}


class Resolver:
    """Looks names up, each once. LookupError when there is none. `asked` counts the questions."""

    def __init__(self) -> None:
        self.asked = 0
        self._hosts: dict[tuple[str, Family], IPAddress] = {}
        self._ports: dict[tuple[str, Protocol], int] = {}

    def host(self, name: str, family: Family) -> IPAddress:
        """The first address of a host name in this family."""
        if (name, family) not in self._hosts:
            kind = socket.AF_INET if family is Family.INET else socket.AF_INET6
            try:
                found = socket.getaddrinfo(name, None, kind, socket.SOCK_STREAM)
            except (OSError, UnicodeError) as problem:
                reason = (problem.strerror if isinstance(problem, OSError) else "") or str(problem)
                raise LookupError(reason) from problem
            self._hosts[name, family] = ipaddress.ip_address(str(found[0][4][0]).split("%")[0])
        return self._hosts[name, family]

    def port(self, name: str, protocol: Protocol) -> int:
        """The port of a service name, from the services database (/etc/services).

        The usual names are known without it.
        """
        if (name, protocol) not in self._ports:
            meant = Protocol.TCP if protocol is Protocol.FWM else protocol
            try:
                self._ports[name, protocol] = socket.getservbyname(name, meant.word)
            except OSError as problem:
                port, protocols = WELL_KNOWN.get(name, (0, ()))
                if meant not in protocols:
                    raise LookupError(str(problem)) from problem
                self._ports[name, protocol] = port
        return self._ports[name, protocol]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The text of HOST[:PORT], taken apart. `port` "" means none was written."""

    host: str
    port: str
    bracketed: bool = False


def endpoint(text: str) -> Endpoint:
    """Split HOST:PORT, HOST, [IPV6]:PORT or [IPV6]."""
    if "://" in text:
        scheme, rest = text.split("://", 1)
        raise BadValue(f"write {rest.split('/')[0] or 'ADDRESS:PORT'}, without {scheme}://")
    match = _BRACKETED.fullmatch(text)
    if match:
        if match[2] == "":
            raise BadValue(f"no port after the colon in {text}")
        return Endpoint(match[1], match[2] or "", True)
    if text.startswith("["):
        raise BadValue(f"{text}: write [ADDRESS]:PORT")
    if text.count(":") > 1:
        _many_colons(text)
    host, colon, port = text.partition(":")
    if colon and not port:
        raise BadValue(f"no port after the colon in {text}")
    return Endpoint(host, port)


def _many_colons(text: str) -> None:
    host, _, port = text.rpartition(":")
    if re.fullmatch(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*", host):
        raise BadValue(f"an IPv6 address needs brackets: [{host}]:{port}, or [{text}] without port")
    if re.fullmatch(r"[0-9.]+:", host):
        raise BadValue(f"two colons in {text}; write {host[:-1]}:{port}")
    if text.lower().startswith(("tcp:", "udp:", "sctp:")):
        word, rest = text.split(":", 1)
        raise BadValue(f"write {rest} and a line protocol={word.lower()}")
    raise BadValue(f"too many colons in {text}; write ADDRESS:PORT")


def address(host: str, family: Family | None, resolver: Resolver) -> IPAddress:
    """The address of a literal or a name. `family` None: as the literal is, IPv4 for names."""
    if ":" in host:
        return _ipv6(host)
    try:
        # Takes what IPv4Address(host) takes, in a third of the time.
        return ipaddress.IPv4Address(socket.inet_pton(socket.AF_INET, host))
    except (OSError, ValueError):
        pass
    if re.fullmatch(r"(0[xX][0-9a-fA-F]*|[0-9]+)(\.[0-9a-fA-FxX]*)*", host):
        raise BadValue(_bad_ipv4(host))
    if not _HOST.fullmatch(host):
        raise BadValue(f"{host or 'nothing'} is no address and no host name")
    resolver.asked += 1
    try:
        return resolver.host(host, family or Family.INET)
    except LookupError as problem:
        version = 6 if family is Family.INET6 else 4
        text = f"{host} can't be resolved to an IPv{version} address"
        raise BadValue(f"{text}: {problem}") from None


def _ipv6(host: str) -> IPAddress:
    plain, _, zone = host.partition("%")
    if zone:
        raise BadValue(f"{host}: an address here has no zone; write {plain}")
    try:
        found = ipaddress.IPv6Address(host)
    except ValueError:
        raise BadValue(f"{host} is no IPv6 address") from None
    if found.ipv4_mapped is not None:
        raise BadValue(f"{host} is an IPv4 address in IPv6 form; write {found.ipv4_mapped}")
    return found


def _bad_ipv4(host: str) -> str:
    parts = host.split(".")
    if len(parts) != 4 or "" in parts:
        count = len([part for part in parts if part])
        text = f"{host} has {count} part{'s' * (count != 1)}; an IPv4 address needs 4"
    elif any(len(part) > 1 and part.startswith("0") for part in parts):
        text = f"{host}: a part of an IPv4 address has no leading zero"
    else:
        text = f"{host}: each part of an IPv4 address is 0 to 255"
    try:
        read = socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return text
    return f"{text} (ldirectord would read it as {read})"


def port(text: str, protocol: Protocol, resolver: Resolver) -> int:
    """A port, 0 to 65535, or the port of a service name of this protocol."""
    if _PORT.fullmatch(text):
        if int(text) > 65535:
            raise BadValue(f"port {text} is too big; the highest is 65535")
        return int(text)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII):
        raise BadValue(f"{text} is no port; write a number from 1 to 65535 or a service name")
    resolver.asked += 1
    try:
        return resolver.port(text, protocol)
    except LookupError:
        word = "tcp" if protocol is Protocol.FWM else protocol.word
        raise BadValue(f"port name {text} is not known for {word} (/etc/services)") from None


def span(first: IPAddress, last: IPAddress) -> list[IPAddress]:
    """Every address from first to last, both included (IPv4 only, as in ldirectord)."""
    if first.version != 4 or last.version != 4:
        raise BadValue("a range of IPv6 addresses is not possible; write a line for each")
    if int(last) < int(first):
        raise BadValue(f"the range ends before it starts: write {last}->{first}")
    count = int(last) - int(first) + 1
    if count > RANGE_LIMIT:
        raise BadValue(f"the range has {count} addresses; at most {RANGE_LIMIT} are possible")
    return [ipaddress.IPv4Address(n) for n in range(int(first), int(last) + 1)]


def crosses_ten(first: IPAddress, last: IPAddress) -> bool:
    """Whether a power of ten lies in a range: ldirectord, comparing text, makes nothing of it."""
    return len(str(int(first))) != len(str(int(last)))
