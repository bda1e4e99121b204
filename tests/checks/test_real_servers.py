"""Every check type against a real server of its kind: what passes, what does not, and its end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, SOCK_STREAM, socket

import pytest
import trustme

from lvsd.checks.engine import Result
from lvsd.core.model import Check, CheckKind, Protocol
from tests.checks.kinds import SLACK, ask
from tests.checks.relay import Cut, relay
from tests.checks.servers import SCRIPTS
from tests.lab import servers

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("no_leaks")]

UDP = Protocol.UDP
#: Seconds a server may take to be up: a database makes its files first.
PATIENCE = 30.0

_LOCAL = ip_address("127.0.0.1")
_JOE = {"login": b"joe", "passwd": b"secret"}
_DNS = {"request": b"www.example.test", "receive": rb"^192\.0\.2\.7$"}
_LDAP = {"login": b"cn=joe,dc=example", "passwd": b"secret", "request": b"dc=example"}
_TLS = {"verify": True, "virtualhost": b"www.example.test"}


@dataclass(frozen=True)
class Case:
    """A check that passes, at the first or second port of a server, and ones that do not."""

    server: str
    kind: CheckKind
    words: dict[str, object]
    wrong: tuple[tuple[dict[str, object], str], ...] = ()
    second: bool = False

    def __str__(self) -> str:
        over = "-udp" if self.words.get("protocol") is UDP else ""
        return f"{self.kind}{over}{'-starttls' * ('starttls' in self.words)}"

    def upgraded(self) -> Case:
        """The same check inside TLS, on the port of the one in the clear."""
        wrong = ({"virtualhost": b"other.test"}, "certificate not accepted")
        words = {**self.words, **_TLS, "starttls": True}
        return replace(self, words=words, wrong=(*self.wrong, wrong))


PLAIN = (
    Case(
        "nginx",
        CheckKind.HTTP,
        {"request": b"/", "receive": b"^It works$"},
        (({"request": b"/none"}, "status 404"), ({"receive": b"x{9}"}, "body does not match")),
    ),
    Case(
        "nginx",
        CheckKind.HTTPS,
        {"request": b"/", "receive": b"works", **_TLS},
        (({"virtualhost": b"other.test"}, "certificate not accepted"),),
        second=True,
    ),
    Case(
        "tinyproxy",
        CheckKind.HTTP_PROXY,
        {"request": b"http://127.0.0.1:SECOND/", "receive": b"works"},
        (({"request": b"http://127.0.0.1:SECOND/none"}, "status 404"),),
    ),
    Case(
        "vsftpd",
        CheckKind.FTP,
        {"login": b"anonymous", "passwd": b"x@", "request": b"/status", "receive": b"^fine$"},
        (
            ({"request": b"/none"}, "file refused: 550"),
            ({"login": b"nobody"}, "login refused: 530"),
        ),
    ),
    Case("postfix", CheckKind.SMTP, {}),
    Case("postfix", CheckKind.SUBMISSION, {}, second=True),
    *(
        Case("dovecot", kind, {**_JOE, **more}, (({"passwd": b"no"}, "login refused"),), second)
        for kind, second, more in (
            (CheckKind.IMAP, False, {}),
            (CheckKind.IMAPS, True, _TLS),
        )
    ),
    *(
        Case("dovecot-pop", kind, {**_JOE, **more}, (({"passwd": b"no"}, "login refused"),), second)
        for kind, second, more in (
            (CheckKind.POP, False, {}),
            (CheckKind.POPS, True, _TLS),
        )
    ),
    Case("leafnode", CheckKind.NNTP, {}),
    *(
        Case(
            "unbound",
            CheckKind.DNS,
            {**_DNS, "protocol": protocol},
            (
                ({"request": b"none.example.test"}, "status NXDOMAIN"),
                ({"receive": b"x"}, "answer does not match"),
            ),
        )
        for protocol in (UDP, Protocol.TCP)
    ),
    *(
        Case(
            "slapd",
            kind,
            {**_LDAP, **more},
            (
                ({"passwd": b"no"}, "bind refused: invalidCredentials"),
                ({"request": b"dc=none"}, "search found no single entry"),
            ),
            second,
        )
        for kind, second, more in ((CheckKind.LDAP, False, {}), (CheckKind.LDAPS, True, _TLS))
    ),
    Case(
        "mariadb",
        CheckKind.MYSQL,
        {**_JOE, "database": b"test", "request": b"select 1"},
        (
            ({"passwd": b"no"}, "Access denied"),
            ({"request": b"select 1 where false"}, "no row"),
            ({"database": b"none"}, "Access denied"),
        ),
    ),
    Case(
        "postgresql",
        CheckKind.PGSQL,
        {**_JOE, "database": b"postgres", "request": b"select 1"},
        (
            ({"passwd": b"no"}, "password authentication failed"),
            ({"request": b"select 1 where false"}, "no row"),
            ({"request": b"select x"}, "does not exist"),
        ),
    ),
    Case(
        "freeradius",
        CheckKind.RADIUS,
        {**_JOE, "secret": b"testing123", "protocol": UDP},
        (({"passwd": b"no"}, "access rejected"), ({"secret": b"x", "timeout": 0.5}, "no answer")),
    ),
    *(
        Case(
            "kamailio",
            CheckKind.SIP,
            {"login": b"ping@example.test", "protocol": protocol},
            (({"login": b"gone@example.test"}, "status 404"),),
        )
        for protocol in (UDP, Protocol.TCP)
    ),
    Case(
        "echo",
        CheckKind.SIMPLETCP,
        {"request": rb"one\ntwo\n", "receive": b"^two$"},
        (({"receive": b"three"}, "answer does not match"),),
    ),
)


#: Services whose server here has a certificate.
UPGRADES = ("ftp", "imap", "ldap", "mysql", "pgsql", "pop", "smtp", "submission")
CASES = (*PLAIN, *(case.upgraded() for case in PLAIN if case.kind in UPGRADES))


@pytest.fixture(scope="session")
def tree() -> Path:
    """The Debian tree with the servers."""
    return servers.ensure()


@pytest.fixture
def share(tmp_path: Path, authority: trustme.CA) -> Path:
    """What a server sees as /mnt: a certificate and its key."""
    issued = authority.issue_cert("www.example.test")
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (tmp_path / "cert.pem").write_bytes(chain)
    for file in tmp_path.iterdir():
        file.chmod(0o644)
    tmp_path.chmod(0o755)
    return tmp_path


def free_ports() -> list[int]:
    """Two ports that nobody uses, over TCP nor UDP."""
    held: list[socket] = []
    try:
        while len(held) < 4:
            stream, datagram = socket(AF_INET, SOCK_STREAM), socket(AF_INET, SOCK_DGRAM)
            held += [stream, datagram]
            stream.bind(("127.0.0.1", 0))
            try:
                datagram.bind(stream.getsockname())
            except OSError:
                continue
        return [held[0].getsockname()[1], held[2].getsockname()[1]]
    finally:
        for sock in held:
            sock.close()


async def passes(check: Check, share: Path) -> Result:
    """The verdict, asked again until the server is up."""
    end = time.monotonic() + PATIENCE
    while True:
        result = await ask(check)
        if result.passed:
            return result
        log = (share / "log").read_text(errors="replace")
        assert time.monotonic() < end, f"{result.reason}\n{log[-3000:]}"
        await asyncio.sleep(0.05)


def targeted(case: Case, ports: list[int], cafile: Path, words: dict[str, object]) -> Check:
    """The check of a case with other words, pointed at its server."""
    port = ports[1] if case.second else ports[0]
    base = Check(case.kind, _LOCAL, port, 60.0, 10.0, b"", cafile=str(cafile))
    check = replace(base, **{**case.words, **words})  # type: ignore[arg-type]
    return replace(check, request=check.request.replace(b"SECOND", b"%d" % ports[1]))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_real_server_passes_and_fails_as_it_should(
    case: Case, tree: Path, share: Path, cafile: Path
) -> None:
    ports = free_ports()
    script = SCRIPTS[case.server].replace("FIRST", str(ports[0])).replace("SECOND", str(ports[1]))
    check = targeted(case, ports, cafile, {})
    with servers.running(tree, script, share):
        result = await passes(check, share)
        assert result.latency < check.timeout
        for words, reason in case.wrong:
            wrong = await ask(targeted(case, ports, cafile, words))
            assert not wrong.passed, words
            assert reason in wrong.reason
        if check.protocol is not UDP:
            await _breaks(check)
    gone = await ask(check)
    assert (gone.passed, gone.reason) == (False, "refused")


async def _breaks(check: Check) -> None:
    """A conversation with the real server that stalls, closes or is reset on its way."""
    async with relay(check.port, Cut.NEVER) as whole:
        assert (await ask(replace(check, port=whole.port))).passed
    for cut in (Cut.CLOSE, Cut.RESET, Cut.STALL):
        async with relay(check.port, cut, max(1, whole.heard // 3)) as broken:
            result = await ask(replace(check, port=broken.port, timeout=0.5))
        assert not result.passed, cut
        assert result.latency <= 0.5 + SLACK
