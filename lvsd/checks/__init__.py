"""Health checks: they connect, ask, and say pass or why not. They decide nothing.

A new check type in five minutes
--------------------------------
1. Add its name to `CheckKind` in `lvsd/core/model/service.py`.
2. Add one file here. Most services talk over a stream, so the type is a generator::

       class Finger(Dialogue):                              # from lvsd.checks.stream
           \"\"\"Passes when the server names a user (RFC 1288).\"\"\"

           def talk(self) -> Talk:
               heard = b""
               data = yield self.check.request + b"\\r\\n"     # yield bytes to send, get bytes
               while data:                                  # b"" is the end of the stream
                   heard = (heard + data)[:65536]           # bound what you keep
                   data = yield b""
               if self.check.receive not in heard:
                   raise Failed(f'no user "{quoted(self.check.receive)}"')
               return "user found"

   Connect, TLS (`super().__init__(check, Tls(check))`, or `self.starttls` yielded once the server
   agreed to it), partial writes, resets and the deadline are taken care of; `Lines` reads replies
   of lines, as in `pop.py`. What needs several connections or comes with an asyncio client becomes
   a `Coroutine` instead: one `async def ask(self) -> str`;
   a question in a datagram is a `Datagrams`. Anything else implements `Question` and `Probe`
   itself, as ping.
3. Add a line to `KINDS` below.
4. Add a scripted server and its `Kind` row in `tests/checks`. The contract suite then tries it
   against refusal, reset, silence, slow drip, garbage, floods and broken-off conversations.

Reasons are short noun phrases for operators: "refused", "status 500". Bytes from outside go through
`quoted`. Return a text to pass, raise `Failed` when the server is at fault, `LocalFault` when this
host is; let OSError fly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lvsd.checks.combined import Combined
from lvsd.checks.connect import Connect
from lvsd.checks.dns import dns
from lvsd.checks.external import External, ExternalPerl
from lvsd.checks.ftp import Ftp
from lvsd.checks.http import Http, Https
from lvsd.checks.http_proxy import HttpProxy
from lvsd.checks.imap import Imap, Imaps
from lvsd.checks.ldap import Ldap, Ldaps
from lvsd.checks.nntp import Nntp
from lvsd.checks.oracle import Oracle
from lvsd.checks.pgsql import PgSql
from lvsd.checks.ping import Ping
from lvsd.checks.pop import Pop, Pops
from lvsd.checks.probe import LocalFault, Question
from lvsd.checks.radius import Radius
from lvsd.checks.simpletcp import simple
from lvsd.checks.sip import sip
from lvsd.checks.smtp import Smtp
from lvsd.core.model import Check, CheckKind


def _mysql(check: Check) -> Question:
    from lvsd.checks.mysql import MySql  # its library takes as long to load as all other checks

    return MySql(check)


#: The registry. `on` and `off` ask nothing and never come here.
KINDS: Mapping[CheckKind, Callable[[Check], Question]] = {
    CheckKind.CONNECT: Connect,
    CheckKind.PING: Ping,
    CheckKind.EXTERNAL: External,
    CheckKind.EXTERNAL_PERL: ExternalPerl,
    CheckKind.HTTP: Http,
    CheckKind.HTTPS: Https,
    CheckKind.HTTP_PROXY: HttpProxy,
    CheckKind.FTP: Ftp,
    CheckKind.SMTP: Smtp,
    CheckKind.SUBMISSION: Smtp,
    CheckKind.POP: Pop,
    CheckKind.POPS: Pops,
    CheckKind.IMAP: Imap,
    CheckKind.IMAPS: Imaps,
    CheckKind.NNTP: Nntp,
    CheckKind.DNS: dns,
    CheckKind.LDAP: Ldap,
    CheckKind.LDAPS: Ldaps,
    CheckKind.MYSQL: _mysql,
    CheckKind.PGSQL: PgSql,
    CheckKind.ORACLE: Oracle,
    CheckKind.RADIUS: Radius,
    CheckKind.SIP: sip,
    CheckKind.SIMPLETCP: simple,
}


def question(check: Check) -> Question | LocalFault:
    """The check made ready, or why this host cannot ask it. KeyError for a kind not in KINDS."""
    try:
        asked = KINDS[check.kind](check)
        return Combined(check, asked) if check.connects else asked
    except LocalFault as problem:
        return problem
