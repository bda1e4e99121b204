"""THE table: every directive, where it may stand, what its value is, and what it means.

The parser, `lvsd help NAME` and docs/configuration.md are made from it. To add a directive,
add a row; where the row's `kind` is new, add its parser to `values.PARSERS`; then let the
builder of its block (`virtuals`, `routers`) read it. A row with `refused` is known but can't be
honoured yet: it is an error that says so, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvsd.core.model import SCHEDULERS

G, V, R, S, P = "global", "virtual", "vrrp", "script", "process"

#: What opens a block of each kind.
OPENERS = {"virtual": V, "virtual6": V, "vrrp": R, "script": S, "process": P}


@dataclass(frozen=True, slots=True)
class Directive:
    """One row. `origin` names whose word it is: ldirectord, keepalived or lvsd.

    `minimum` and `maximum` bound numbers. `per_node` values may be `node:value,node:value`.
    """

    name: str
    scopes: frozenset[str]
    kind: str
    default: str
    doc: str
    origin: str = "ldirectord"
    repeatable: bool = False
    per_node: bool = False
    minimum: float = 0
    maximum: float = 2**31 - 1
    choices: tuple[str, ...] = ()
    bare: bool = False
    refused: str = ""
    notice: str = ""


def _row(
    scopes: str,
    name: str,
    kind: str,
    default: str,
    doc: str,
    *,
    origin: str = "ldirectord",
    many: bool = False,
    bounds: tuple[float, float] = (0, 2**31 - 1),
    choices: tuple[str, ...] = (),
    bare: bool = False,
    refused: str = "",
    notice: str = "",
) -> Directive:
    letters = {"G": G, "V": V, "R": R, "S": S}
    per_node = kind in ("number", "integer", "decimal", "yesno", "interface", "source")
    return Directive(
        name=name,
        scopes=frozenset(letters[c] for c in scopes),
        kind=kind,
        default=default,
        doc=doc,
        origin=origin,
        repeatable=many,
        per_node=per_node,
        minimum=bounds[0],
        maximum=bounds[1],
        choices=choices,
        bare=bare,
        refused=refused,
        notice=notice,
    )


_SECONDS = (1, 86400 * 365)
_COUNT = (1, 10**6)
_LATER = "is not supported yet"
_TIMEOUTS = "In a block it wins over the global one."

# fmt: off
#: The services that ldirectord infers from a port, and the port that a check of them uses.
SERVICE_PORTS = {
    "ftp": 21, "smtp": 25, "dns": 53, "http": 80, "pop": 110, "nntp": 119, "imap": 143,
    "ldap": 389, "https": 443, "submission": 587, "ldaps": 636, "imaps": 993, "pops": 995,
    "oracle": 1521, "radius": 1812, "http_proxy": 3128, "mysql": 3306, "sip": 5060, "pgsql": 5432,
}
SERVICES = (*SERVICE_PORTS, "simpletcp", "none")
#: The services that this version can ask.
ASKED = ("http", "https")

_GLOBALS = (
    _row("G", "include", "text", "",
         "Reads another file, or each file of a glob, at this place. A relative name is taken "
         "from the folder of the including file; %n is the node's name.",
         origin="lvsd", many=True),
    _row("G", "autoreload", "yesno", "no",
         "Reload when a configuration file has changed."),
    _row("G", "logfile", "logfile", "",
         "Where to log: a path, or a syslog facility such as local0. Without it the log goes to"
         " standard error (the journal)."),
    _row("G", "standbytable", "yesno", "yes",
         "Keep the IPVS table filled on a director that holds no virtual address, so that it "
         "can take over at once.",
         origin="lvsd"),
    _row("G", "operators", "names", "",
         "Users who may change things through the control socket, besides root; separated by "
         "blanks or commas.",
         origin="lvsd"),
    _row("G", "supervised", "yesno", "no",
         "Accepted for ldirectord's sake: lvsd always runs in the foreground.",
         bare=True, notice="has no effect: lvsd always runs in the foreground"),
    _row("G", "fork", "yesno", "no",
         "Accepted for ldirectord's sake: checks always run side by side.",
         notice="has no effect: checks always run side by side"),
    _row("G", "readdquiescent", "yesno", "no",
         "Accepted for ldirectord's sake: with quiescent=yes a failed real server is always "
         "kept at weight 0.",
         notice="has no effect: with quiescent=yes a failed real is always kept at weight 0"),
    _row("G", "callback", "text", "",
         "A program to run after a change of the file.",
         refused=_LATER),
    _row("G", "execute", "text", "",
         "Another ldirectord configuration to start.",
         refused=f"{_LATER}; use include=FILE to read another file"),
    _row("G", "maintenancedir", "text", "",
         "A folder of files that take reals out of service.",
         refused=f"{_LATER}; use lvsd drain and lvsd undrain"),
    _row("G", "emailalertfrom", "text", "",
         "Sender of alert mails.",
         refused=_LATER),
    _row("GV", "timeout", "text", "",
         "Old name of checktimeout and negotiatetimeout.",
         refused="was split by ldirectord; write checktimeout= and negotiatetimeout="),
)

_SHARED = (
    _row("GV", "checktimeout", "number", "5",
         "Seconds that a connect or ping check may take. "
         + _TIMEOUTS
         + " The first that is set counts: checktimeout and negotiatetimeout of the block, then "
           "of the globals.",
         bounds=_SECONDS),
    _row("GV", "negotiatetimeout", "number", "30",
         "Seconds that a negotiate check may take. "
         + _TIMEOUTS
         + " The first that is set counts: negotiatetimeout and checktimeout of the block, then "
           "of the globals.",
         bounds=_SECONDS),
    _row("GV", "checkinterval", "number", "10",
         "Seconds between the starts of two checks of one real server.",
         bounds=_SECONDS),
    _row("GV", "checkcount", "number", "1",
         "Echo requests of one ping check; the failure count where failurecount is unset.",
         bounds=_COUNT),
    _row("GV", "failurecount", "number", "1",
         "Failed checks in a row that take a real server out of service.",
         bounds=_COUNT),
    _row("GV", "quiescent", "yesno", "yes",
         "yes: a failed real server stays in the table at weight 0. no: it is removed."),
    _row("GV", "cleanstop", "yesno", "yes",
         "Remove the service from the table when lvsd stops."),
    _row("GV", "fallback", "text", "",
         "The sorry server: HOST[:PORT] [gate|masq|ipip], in the table with weight 1 while no "
         "real server is up. The one of a block wins. Without a port it has the service's."),
    _row("GV", "fallback6", "text", "",
         "fallback for IPv6 services: [ADDRESS][:PORT] [gate|masq|ipip]."),
    _row("GV", "fallbackcommand", "text", "",
         "A program to run when no real server is up.",
         refused=_LATER),
    _row("GV", "emailalert", "text", "",
         "Addresses to mail on each change.",
         refused=_LATER),
    _row("GV", "emailalertfreq", "text", "",
         "Seconds between repeated mails.",
         refused=_LATER),
    _row("GV", "emailalertstatus", "text", "",
         "Which mails to send.",
         refused=_LATER),
    _row("GV", "smtp", "text", "",
         "The mail server for alerts.",
         refused=_LATER),
    _row("GV", "connecttimeout", "text", "",
         "Old name of negotiatetimeout.",
         refused="was renamed by ldirectord; write negotiatetimeout="),
)

_VIRTUAL = (
    _row("V", "real", "text", "",
         'A real server: HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] and'
         ' then words: request="…", receive="…", checkport=N, uthreshold=N, lthreshold=N (also '
         "u:N and l:N).",
         many=True),
    _row("V", "real6", "text", "",
         "real for IPv6: [ADDRESS][:PORT] gate|masq|ipip [WEIGHT] and the rest as for real.",
         many=True),
    _row("V", "checktype", "word", "negotiate",
         "How to check: negotiate asks the service, connect opens a connection (on a udp "
         "service: ping), ping sends echo requests, on is always up, off never.",
         choices=("negotiate", "connect", "ping", "on", "off", "external", "external-perl")),
    _row("V", "service", "word", "by port",
         "What a negotiate check speaks. Without it the port of the service decides; a port not"
         " listed means none: never checked.",
         choices=SERVICES),
    _row("V", "checkport", "port", "the real's port",
         "Where checks connect: this port, else the real server's, else the standard port of "
         "the service."),
    _row("V", "request", "quoted", '"/"',
         "What to ask a http or https server for. A missing leading slash is added."),
    _row("V", "receive", "regex", "",
         "Regular expression that the answer must contain; it works on bytes. Empty: any answer"
         " of success will do."),
    _row("V", "httpmethod", "method", "GET",
         "GET or HEAD.",
         choices=("GET", "HEAD")),
    _row("V", "virtualhost", "host", "",
         "The Host header of http and https checks, and the name asked for in TLS. Without it: "
         "the real server's address."),
    _row("V", "verify", "yesno", "no",
         "Verify the certificate in https checks.",
         origin="lvsd"),
    _row("V", "cafile", "path", "the system's",
         "File of the authorities that verify=yes trusts.",
         origin="lvsd"),
    _row("V", "rise", "integer", "1",
         "Passed checks in a row that bring a real server back.",
         origin="lvsd", bounds=_COUNT),
    _row("V", "scheduler", "word", "wrr",
         "How connections are spread over the real servers: "
         + ", ".join(SCHEDULERS)
         + ".",
         choices=SCHEDULERS),
    _row("V", "schedflags", "text", "",
         "Flags of the scheduler, as ipvsadm -b: sh-fallback, sh-port, mh-fallback, mh-port, "
         "flag-1, flag-2, flag-3."),
    _row("V", "protocol", "word", "tcp",
         "tcp, udp, sctp, or fwm for a firewall mark. Port 53 means udp.",
         choices=("tcp", "udp", "sctp", "fwm")),
    _row("V", "persistent", "number", "",
         "Seconds for which a client stays with its real server. 0 turns it off.",
         bounds=(0, 2678400)),
    _row("V", "netmask", "text", "255.255.255.255",
         "With persistent: clients of one network of this mask (or prefix length) count as one "
         "client."),
    _row("V", "persistenceengine", "word", "",
         "With persistent on udp: sip keeps a call together by its Call-ID.",
         origin="keepalived", choices=("sip",)),
    _row("V", "ops", "yesno", "no",
         "One-packet scheduling, for udp services and marks: each packet is a connection of its"
         " own."),
    _row("V", "quorum", "integer", "1",
         "Sum of the weights of live real servers from which the service counts as up.",
         origin="keepalived", bounds=_COUNT),
    _row("V", "hysteresis", "integer", "0",
         "The service is up from quorum + hysteresis and down below quorum - hysteresis.",
         origin="keepalived", bounds=(0, 10**6)),
    _row("V", "servicename", "text", "",
         "A name for people; not used."),
    _row("V", "comment", "text", "",
         "A remark for people; not used."),
    _row("V", "load", "text", "",
         "Accepted for ldirectord's sake, which does not use it either.",
         notice="has no effect, in ldirectord neither"),
    _row("V", "checkcommand", "text", "",
         "The program of checktype=external.",
         refused=_LATER),
    _row("V", "monitorfile", "text", "",
         "A file with a line for each check.",
         refused=_LATER),
    _row("V", "login", "text", "",
         "User for checks that log in.",
         refused=_LATER),
    _row("V", "passwd", "text", "",
         "Password for checks that log in.",
         refused=_LATER),
    _row("V", "database", "text", "",
         "Database for SQL checks.",
         refused=_LATER),
    _row("V", "secret", "text", "",
         "Shared secret of radius checks.",
         refused=_LATER),
)

_ROUTER = (
    _row("R", "interface", "interface", "",
         "The network interface on which the directors hear each other, and which gets the "
         "addresses. Required.",
         origin="keepalived"),
    _row("R", "virtualrouterid", "integer", "",
         "1 to 255, the same on both directors and unlike any other on this network. Required.",
         origin="keepalived", bounds=(1, 255)),
    _row("R", "priority", "integer", "100",
         "1 to 255; the highest live director holds the addresses.",
         origin="keepalived", bounds=(1, 255)),
    _row("R", "advertint", "decimal", "1",
         "Seconds between advertisements: whole in version 2, 0.01 to 40.95 in version 3.",
         origin="keepalived", bounds=(0.01, 255)),
    _row("R", "address", "text", "",
         "ADDRESS[/LENGTH] [dev IF] [label IF:NAME] [scope S]: a virtual address. /32 or /128 "
         "unless told otherwise. At least one is required.",
         origin="lvsd", many=True),
    _row("R", "excludedaddress", "text", "",
         "As address, but not listed in advertisements; may be of the other family.",
         origin="lvsd", many=True),
    _row("R", "version", "integer", "2",
         "2 or 3. IPv6 means 3.",
         origin="keepalived", bounds=(2, 3)),
    _row("R", "authpass", "secret", "",
         "Version 2's password in clear text, at most 8 characters. It keeps mistakes away, not"
         " attackers.",
         origin="keepalived"),
    _row("R", "authtype", "text", "",
         "Not needed: authpass alone means keepalived's PASS.",
         origin="keepalived"),
    _row("R", "peer", "text", "",
         "Unicast to this address instead of multicast. The own address may be listed too.",
         origin="keepalived", many=True),
    _row("R", "mcastsrcip", "source", "the interface's",
         "Source address of advertisements.",
         origin="keepalived"),
    _row("R", "unicastsrcip", "source", "the interface's",
         "Source address of advertisements.",
         origin="keepalived"),
    _row("R", "nopreempt", "yesno", "no",
         "A director that comes back with a higher priority does not take the addresses back.",
         origin="keepalived", bare=True),
    _row("R", "preemptdelay", "decimal", "0",
         "Seconds to wait before taking the addresses from a director of lower priority.",
         origin="keepalived", bounds=(0, 1000)),
    _row("R", "startupdelay", "decimal", "until judged",
         "Longest time in seconds to wait after the start for every real server to be judged "
         "once; at most 30 unless given.",
         origin="keepalived", bounds=(0, 1000)),
    _row("R", "syncgroup", "name", "",
         "Instances of one group change state together.",
         origin="keepalived"),
    _row("R", "syncdaemon", "text", "",
         "INTERFACE [ID]: connection synchronisation that follows the role; the ID is 0 to 255.",
         origin="keepalived"),
    _row("R", "track", "text", "",
         "interface NAME [weight N], script NAME [weight N] or virtual ADDRESS:PORT weight N. "
         "Without weight a failure is a fault.",
         origin="keepalived", many=True),
    _row("R", "notify", "argv", "",
         "Program to run on each change of state, with the words INSTANCE, NAME, STATE and "
         "PRIORITY.",
         origin="keepalived"),
    _row("R", "lease", "yesno", "yes",
         "Give addresses a limited lifetime in the kernel, so that they vanish when lvsd can't "
         "renew them.",
         origin="lvsd"),
)

_SCRIPT = (
    _row("S", "command", "argv", "",
         "The program and its arguments. Required. No shell is used.",
         origin="lvsd"),
    _row("S", "interval", "decimal", "1",
         "Seconds between two runs.",
         origin="keepalived", bounds=(0.1, 86400)),
    _row("S", "timeout", "decimal", "the interval",
         "Seconds after which a run counts as failed.",
         origin="keepalived", bounds=(0.1, 86400)),
    _row("S", "rise", "integer", "1",
         "Good runs in a row until the script counts as up.",
         origin="keepalived", bounds=_COUNT),
    _row("S", "fall", "integer", "1",
         "Failed runs in a row until the script counts as down.",
         origin="keepalived", bounds=_COUNT),
    _row("S", "user", "name", "lvsd's own",
         "The user to run as.",
         origin="keepalived"),
)

_BLOCKS = (
    _row("G", "virtual", "text", "",
         "Opens a service: ADDRESS:PORT, NAME:PORT, [IPV6]:PORT or a firewall mark. Its members"
         " follow, indented.",
         many=True),
    _row("G", "virtual6", "text", "",
         "Opens an IPv6 service: [ADDRESS]:PORT, NAME:PORT or a firewall mark.",
         many=True),
    _row("G", "vrrp", "text", "",
         "Opens a VRRP instance: its name. Its members follow, indented.",
         origin="lvsd", many=True),
    _row("G", "script", "text", "",
         "Opens a script that track=script names.",
         origin="lvsd", many=True),
    _row("G", "process", "text", "",
         "Opens a process to track.",
         origin="lvsd", many=True, refused=f"{_LATER}; a script= block can look for the process"),
)
# fmt: on

TABLE: tuple[Directive, ...] = (*_GLOBALS, *_SHARED, *_BLOCKS, *_VIRTUAL, *_ROUTER, *_SCRIPT)
