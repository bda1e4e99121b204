"""THE table: every directive, where it may stand, what its value is, and what it means.

The parser, `lvsd help NAME` and docs/configuration.md are made from it. To add a directive,
add a row (those of vrrp= blocks are in `vrrp`); where the row's `kind` is new, add its parser to
`values.PARSERS`; then let the builder of its block (`virtuals`, `routers`) read it.
"""

from __future__ import annotations

from lvsd.config.negotiate import SERVICES
from lvsd.config.rows import COUNT, SECONDS, Directive, row
from lvsd.config.vrrp import FILE, PROCESS, ROUTER, SCRIPT
from lvsd.core.model import SCHEDULERS

_TIMEOUTS = "In a block it wins over the global one."

# fmt: off
_GLOBALS = (
    row("G", "include", "text", "",
        "Reads another file, or each file of a glob, at this place. A relative name is taken "
        "from the folder of the including file; %n is the node's name.",
        origin="lvsd", many=True),
    row("G", "autoreload", "yesno", "no",
        "Reload when a configuration file has changed."),
    row("G", "logfile", "logfile", "standard error",
        "Where to log: a path, or a syslog facility such as local0. Standard error goes to the "
        "journal."),
    row("G", "logstyle", "word", "lvsd",
        "How changes of real servers and services are worded in the log file or syslog: lvsd, or "
        "ldirectord's sentences, for scripts that look for them.",
        origin="lvsd", choices=("lvsd", "ldirectord")),
    row("G", "standbytable", "yesno", "yes",
        "Keep the IPVS table filled on a director that holds no virtual address, so that it "
        "can take over at once.",
        origin="lvsd"),
    row("G", "checkers", "number", "0",
        "Processes beside the director's that make the checks, without privileges, for more than "
        "one processor core: worth it from some thousand checks a second. Pings, external "
        "programs, databases and checks with a cafile stay in the director. 0: all of them do.",
        origin="lvsd", bounds=(0, 64)),
    row("G", "garpinterval", "decimal", "0",
        "Seconds between two gratuitous ARPs out of one interface, at least, for switches that "
        "drop them when many come at once: 0.01 spreads the 100 packets of 20 addresses over a "
        "second. It makes a takeover slower by as much. 0: bursts of 32, a millisecond apart.",
        origin="keepalived", bounds=(0, 3600)),
    row("G", "gnainterval", "decimal", "0",
        "The same for unsolicited neighbour advertisements (IPv6).",
        origin="keepalived", bounds=(0, 3600)),
    row("G", "garpgroup", "text", "",
        "INTERFACE... [garpinterval S] [gnainterval S]: these interfaces, on one switch perhaps, "
        "keep one interval together. What is not given is as for all.",
        origin="keepalived", many=True),
    row("GR", "scriptuser", "identity", "lvsd's own",
        "Who notify programs, and script= blocks without a user of their own, run as: a user of "
        "this machine, with the user's groups, and a first group. In a vrrp= block it is about its "
        "notify programs and wins over the global one. lvsd's own user is root in the unit; there "
        "is no other default (keepalived takes keepalived_script where there is such a user).",
        origin="keepalived"),
    row("G", "operators", "names", "",
        "Users who may change things through the control socket, besides root; separated by "
        "blanks or commas.",
        origin="lvsd"),
    row("G", "supervised", "yesno", "no",
        "lvsd ldirectord start stays in the foreground. lvsd run always does.",
        bare=True),
    row("G", "fork", "yesno", "no",
        "Accepted for ldirectord's sake: checks always run side by side.",
        notice="has no effect: checks always run side by side"),
    row("G", "readdquiescent", "yesno", "no",
        "Accepted for ldirectord's sake: with quiescent=yes a failed real server is always "
        "kept at weight 0.",
        notice="has no effect: with quiescent=yes a failed real is always kept at weight 0"),
    row("G", "callback", "text", "",
        "A program to run after a configuration file has changed on disk, and after the reload if "
        "there is one; a file that is refused is not announced. It gets the file's path. No shell "
        "is involved."),
    row("G", "execute", "text", "",
        "Another ldirectord configuration to start.",
        refused="can't be honoured: one daemon holds the whole table; read the other file with "
        "include=FILE"),
    row("G", "maintenancedir", "path", "",
        "A folder in which a file takes a real server out of service: its name is the real "
        "server's address, its host name or the first part of that, each with or without :PORT. "
        "The folder is watched; removing the file puts the server back."),
    row("GV", "emailalertfrom", "text", "lvsd@HOST",
        "Sender of alert mails."),
    row("GV", "timeout", "text", "",
        "Old name of checktimeout and negotiatetimeout.",
        refused="was split by ldirectord; write checktimeout= and negotiatetimeout="),
)

_SHARED = (
    row("GV", "checktimeout", "number", "5",
        "Seconds that a connect, ping, external, ldap or radius check may take. "
        + _TIMEOUTS
        + " The first that is set counts: checktimeout and negotiatetimeout of the block, then "
          "of the globals.",
        bounds=SECONDS),
    row("GV", "negotiatetimeout", "number", "30",
        "Seconds that a negotiate check may take. "
        + _TIMEOUTS
        + " The first that is set counts: negotiatetimeout and checktimeout of the block, then "
          "of the globals.",
        bounds=SECONDS),
    row("GV", "checkinterval", "number", "10",
        "Seconds between the starts of two checks of one real server.",
        bounds=SECONDS),
    row("GV", "checkcount", "number", "1",
        "Echo requests of one ping check, each with the whole checktimeout to be answered in. Also "
        "the failure count where failurecount is unset.",
        bounds=COUNT),
    row("GV", "failurecount", "number", "1",
        "Failed checks in a row that take a real server out of service.",
        bounds=COUNT),
    row("GV", "watch", "yesno", "no",
        "Keep an idle TCP connection to each real server where it is checked. When it ends the "
        "check is made at once, and again when the server is back: a process that dies is noticed "
        "within milliseconds. Not for servers that have few connections to give.",
        origin="lvsd"),
    row("GV", "failfast", "yesno", "no",
        "With watch: when the connection has ended and the check is refused, the real server is "
        "down at once, whatever failurecount says.",
        origin="lvsd"),
    row("GV", "quiescent", "yesno", "yes",
        "yes: a failed real server stays in the table at weight 0. no: it is removed."),
    row("GV", "cleanstop", "yesno", "yes",
        "Remove the service from the table when lvsd stops."),
    row("GV", "fallback", "text", "",
        "The sorry server: HOST[:PORT] [gate|masq|ipip], in the table with weight 1 while no "
        "real server is up. The one of a block wins. Without a port it has the service's."),
    row("GV", "fallback6", "text", "",
        "fallback for IPv6 services: [ADDRESS][:PORT] [gate|masq|ipip]."),
    row("GV", "fallbackcommand", "text", "",
        "A program to run with `start` when no real server is up any more and with `stop` when one "
        "is again, then ADDRESS:PORT (or the mark) and the protocol; once at the start as well. No "
        "shell is involved; it may take 30 s."),
    row("GV", "emailalert", "text", "",
        "Addresses to mail on each change of a real server, separated by blanks or commas. Those "
        "of the form NAME <ADDRESS> stand between commas."),
    row("GV", "emailalertfreq", "number", "0",
        "Seconds between repeated mails about a real server that stays down; 0 for none."),
    row("GV", "emailalertstatus", "text", "all",
        "What the daemon must be doing for a mail to leave: starting, running, stopping, "
        "reloading, separated by commas; or all, or none."),
    row("GV", "smtp", "text", "the local sendmail",
        "HOST[:PORT] of the mail server for alerts."),
    row("GV", "smtptls", "word", "no",
        "Encrypt the way to the mail server: starttls, or tls from the first byte (port 465).",
        origin="lvsd", choices=("no", "starttls", "tls")),
    row("GV", "smtplogin", "text", "",
        "User at the mail server.",
        origin="lvsd"),
    row("GV", "smtppasswdfile", "path", "",
        "File whose first line is the password at the mail server; only its owner may read it.",
        origin="lvsd"),
    row("GV", "connecttimeout", "text", "",
        "Old name of negotiatetimeout.",
        refused="was renamed by ldirectord; write negotiatetimeout="),
)

_VIRTUAL = (
    row("V", "real", "text", "",
        'A real server: HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] and'
        ' then words: request="…", receive="…", checkport=N, uthreshold=N, lthreshold=N (also '
        "u:N and l:N).",
        many=True),
    row("V", "real6", "text", "",
        "real for IPv6: [ADDRESS][:PORT] gate|masq|ipip [WEIGHT] and the rest as for real.",
        many=True),
    row("V", "checktype", "checktype", "negotiate",
        "How to check: negotiate asks the service, connect opens a connection (on a udp "
        "service: ping), ping sends echo requests, external runs the checkcommand, external-perl "
        "runs it with perl, on is always up, off never; a number N is negotiate, with N connects "
        "between two of them. What each service is asked and what passes "
        "is in checks.md.",
        choices=("negotiate", "connect", "ping", "on", "off", "external", "external-perl")),
    row("V", "service", "word", "by port",
        "What a negotiate check speaks. Without it the port of the service decides; a port not"
        " listed means none: never checked.",
        choices=(*SERVICES, "none")),
    row("V", "checkport", "port", "the real's port",
        "Where checks connect: this port, or that of this service name, else the real server's, "
        "else the standard port of the service."),
    row("V", "request", "quoted", '"/"',
        "What to ask for: a path (http, https, ftp), a URL (http_proxy), a name or address (dns), "
        "the base of a search (ldap), a statement (mysql, pgsql, oracle), any text (simpletcp). A "
        "path gets its leading slash; elsewhere one leading slash does not count."),
    row("V", "receive", "regex", "",
        "Regular expression that the answer must contain; it works on bytes. Empty: any answer"
        " of success will do."),
    row("V", "httpmethod", "anycase", "GET",
        "GET or HEAD.",
        choices=("GET", "HEAD")),
    row("V", "virtualhost", "host", "the real's address",
        "The Host header of http and https checks, and the name asked for and verified in TLS."),
    row("V", "starttls", "yesno", "as verify",
        "Go over to TLS before a login, in a check of ftp, imap, ldap, mysql, nntp, oracle, pgsql, "
        "pop, smtp or submission. A server that has none fails.",
        origin="lvsd"),
    row("V", "verify", "yesno", "no",
        "Verify the certificate in a check inside TLS: https, imaps, ldaps, pops, and those that "
        "know starttls.",
        origin="lvsd"),
    row("V", "cafile", "path", "the system's",
        "File of the authorities that verify=yes trusts.",
        origin="lvsd"),
    row("V", "rise", "integer", "1",
        "Passed checks in a row that bring a real server back.",
        origin="lvsd", bounds=COUNT),
    row("V", "scheduler", "word", "wrr",
        "How connections are spread over the real servers: "
        + ", ".join(SCHEDULERS)
        + ".",
        choices=SCHEDULERS),
    row("V", "schedflags", "text", "",
        "Flags of the scheduler, as ipvsadm -b: sh-fallback, sh-port, mh-fallback, mh-port, "
        "flag-1, flag-2, flag-3."),
    row("V", "protocol", "anycase", "tcp",
        "tcp, udp, sctp, or fwm for a firewall mark. Port 53 means udp.",
        choices=("tcp", "udp", "sctp", "fwm")),
    row("V", "persistent", "number", "",
        "Seconds for which a client stays with its real server. 0 turns it off.",
        bounds=(0, 2678400)),
    row("V", "netmask", "text", "255.255.255.255",
        "With persistent: clients of one network of this mask (or prefix length) count as one "
        "client."),
    row("V", "persistenceengine", "word", "",
        "With persistent on udp: sip keeps a call together by its Call-ID.",
        origin="keepalived", choices=("sip",)),
    row("V", "ops", "yesno", "no",
        "One-packet scheduling, for udp services and marks: each packet is a connection of its"
        " own."),
    row("V", "quorum", "integer", "1",
        "Sum of the weights of live real servers from which the service counts as up.",
        origin="keepalived", bounds=COUNT),
    row("V", "hysteresis", "integer", "0",
        "The service is up from quorum + hysteresis and down below quorum - hysteresis.",
        origin="keepalived", bounds=(0, 10**6)),
    row("V", "servicename", "text", "",
        "A name for people, in alert mails."),
    row("V", "comment", "text", "",
        "A remark for people, in alert mails."),
    row("V", "load", "text", "",
        "Accepted for ldirectord's sake, which does not use it either.",
        notice="has no effect, in ldirectord neither"),
    row("V", "checkcommand", "command", "/bin/true",
        "The program of checktype=external, with arguments of its own if need be; it gets the "
        "virtual's address and port and the real server's as four more. Status 0 passes. It is run "
        "without a shell, and only from a path that none but root can change. A name without a "
        "path is looked for in /usr/sbin, /usr/bin, /sbin and /bin when the file is read."),
    row("V", "monitorfile", "path", "",
        "A file that gets a line for each check: [TIME] [PID] CHECK [up|down] REASON."),
    row("V", "login", "quoted", "",
        "User for checks that log in. ftp: anonymous, sip: ldirectord@ and the node's name, unless "
        "told otherwise."),
    row("V", "passwd", "quoted", "",
        "Password for checks that log in. ftp: ldirectord@ and the node's name, unless told "
        "otherwise."),
    row("V", "database", "quoted", "",
        "Database for mysql and pgsql checks, the SID for oracle."),
    row("V", "secret", "quoted", "",
        "The secret shared with the server in radius checks."),
)

_BLOCKS = (
    row("G", "virtual", "text", "",
        "Opens a service: ADDRESS:PORT, NAME:PORT, [IPV6]:PORT or a firewall mark. Its members"
        " follow, indented.",
        many=True),
    row("G", "virtual6", "text", "",
        "Opens an IPv6 service: [ADDRESS]:PORT, NAME:PORT or a firewall mark.",
        many=True),
    row("G", "vrrp", "text", "",
        "Opens a VRRP instance: its name. Its members follow, indented.",
        origin="lvsd", many=True),
    row("G", "script", "text", "",
        "Opens a script that track=script names.",
        origin="lvsd", many=True),
    row("G", "process", "text", "",
        "Opens a process that track=process names.",
        origin="lvsd", many=True),
    row("G", "file", "text", "",
        "Opens a file that track=file names.",
        origin="lvsd", many=True),
)
# fmt: on

TABLE: tuple[Directive, ...] = (
    *_GLOBALS,
    *_SHARED,
    *_BLOCKS,
    *_VIRTUAL,
    *ROUTER,
    *SCRIPT,
    *PROCESS,
    *FILE,
)
