"""A `virtual=` block as the operator wrote it: services, real servers and their checks."""

from __future__ import annotations

import enum
from dataclasses import field
from operator import attrgetter

from lvsd.core.model.actions import NO_ACTIONS, Actions
from lvsd.core.model.kernel import (
    DestinationKey,
    Forwarding,
    Hashed,
    IPAddress,
    Protocol,
    ServiceKey,
    VirtualService,
    endpoint,
)
from lvsd.core.record import dataclass


class CheckKind(enum.StrEnum):
    """What a check does on the wire. The registry in `lvsd.checks` has one class per kind."""

    ON = "on"  # never asked, always up
    OFF = "off"  # never asked, never up
    CONNECT = "connect"
    PING = "ping"
    EXTERNAL = "external"
    EXTERNAL_PERL = "external-perl"
    HTTP = "http"
    HTTPS = "https"
    HTTP_PROXY = "http_proxy"
    FTP = "ftp"
    SMTP = "smtp"
    SUBMISSION = "submission"
    POP = "pop"
    POPS = "pops"
    IMAP = "imap"
    IMAPS = "imaps"
    NNTP = "nntp"
    DNS = "dns"
    LDAP = "ldap"
    LDAPS = "ldaps"
    MYSQL = "mysql"
    PGSQL = "pgsql"
    ORACLE = "oracle"
    RADIUS = "radius"
    SIP = "sip"
    SIMPLETCP = "simpletcp"


@dataclass(frozen=True, slots=True)
class Check(Hashed):
    """One distinct question to one target. Equal checks are probed once (design rule 11).

    `interval` and `timeout` are seconds; `timeout` bounds the whole exchange. `port` is where
    the check connects, which may differ from the destination's port (`checkport=`).
    `receive` is a regular expression over the answer's bytes, "" for none. `attempts` is the number
    of echo requests of one ping (`checkcount=`), `connects` that of the connect checks between two
    that negotiate (`checktype=N`), each within `connect_timeout` seconds. `starttls` asks a service
    in the clear to go over to TLS. `protocol` is what carries the question, TCP or UDP. `command`
    is an external check's program with all its arguments. What is secret stays out of the repr.
    """

    kind: CheckKind
    address: IPAddress
    port: int
    interval: float = 10.0
    timeout: float = 5.0
    request: bytes = b"/"
    receive: bytes = b""
    method: str = "GET"
    virtualhost: bytes = b""
    attempts: int = 1
    connects: int = 0
    connect_timeout: float = 5.0
    verify: bool = False
    cafile: str = ""
    starttls: bool = False
    protocol: Protocol = Protocol.TCP
    login: bytes = b""
    passwd: bytes = field(default=b"", repr=False)
    database: bytes = b""
    secret: bytes = field(default=b"", repr=False)
    command: tuple[str, ...] = ()

    __hash__ = Hashed.__hash__

    def identity(self) -> tuple[object, ...]:
        """As `Hashed` says."""
        return _VALUES(self)


_VALUES = attrgetter(*Check.__slots__)


@dataclass(frozen=True, slots=True)
class RealServer:
    """A real server as the operator wrote it, in one virtual.

    `key` is the kernel's (port already forced to the service's port for gate and ipip, as
    ipvsadm does); `check` carries its own address and port. `port` is the port as written, 0
    where none was; `checkport` the one that `checkport=` gives.
    """

    key: DestinationKey
    forwarding: Forwarding
    weight: int
    check: Check
    u_threshold: int = 0
    l_threshold: int = 0
    port: int = 0
    checkport: int | None = None

    @property
    def name(self) -> str:
        """`address:port` as operators and `ipvsadm -Ln` name it."""
        return str(self.key)

    @property
    def names(self) -> tuple[str, ...]:
        """What an operator may call it: with the kernel's port, with the one written, or bare."""
        address = self.key.address
        return self.name, endpoint(address, self.port), str(address), f"[{address}]"


@dataclass(frozen=True, slots=True)
class Virtual:
    """A `virtual=` block: the service, its real servers and its policy.

    `fall` is failurecount, `rise` the passes needed to come back (ldirectord: 1).
    `quiescent`: a failed real stays in the table at weight 0, else it is removed.
    `fallback` is the sorry server, in the table (weight 1) only while no real is up.
    `quorum` and `hysteresis` are keepalived's, over the sum of weights of live reals; the
    service is up from quorum + hysteresis and down below quorum - hysteresis (or at 0).
    `cleanstop`: the service is removed when the daemon stops. `watch`: an idle connection to each
    target tells of its death. `failfast`: one refused check after that is enough, whatever `fall`
    says. `actions` never touch the table.
    """

    service: VirtualService
    reals: tuple[RealServer, ...]
    fallback: RealServer | None = None
    quiescent: bool = True
    fall: int = 1
    rise: int = 1
    quorum: int = 1
    hysteresis: int = 0
    cleanstop: bool = True
    watch: bool = False
    failfast: bool = False
    actions: Actions = NO_ACTIONS

    @property
    def key(self) -> ServiceKey:
        """Identity of the service."""
        return self.service.key
