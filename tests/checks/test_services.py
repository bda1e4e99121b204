"""What single services are asked, and which answers do not pass."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lvsd.checks import ber, mysql, question
from lvsd.checks.engine import Result
from lvsd.checks.probe import LocalFault
from lvsd.core.model import Check, CheckKind, Protocol
from tests.checks import scripts
from tests.checks.kinds import KINDS, ask, server
from tests.checks.scripts import Script, lines
from tests.checks.test_datagrams import KINDS as UDP_KINDS
from tests.checks.test_datagrams import radius_answer, served

pytestmark = pytest.mark.usefixtures("no_leaks")

CHECKS = {kind.kind: replace(kind.check, timeout=5.0) for kind in KINDS}
DATAGRAMS = {kind.check.kind: kind for kind in UDP_KINDS}
QUIT = {b"QUIT": b"221 bye\r\n"}


async def told(kind: CheckKind, script: Script, **words: object) -> Result:
    """The verdict of the kind's check on a server that follows the script."""
    check = replace(CHECKS[kind], **words)  # type: ignore[arg-type]
    async with server(script) as port:
        return await ask(replace(check, port=port))


def after(*replies: bytes) -> Script:
    """Answers whatever comes with the next of the replies; the first comes by itself when b""."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await reader.read(65536)
            writer.write(reply)
        await reader.read(65536)

    return script


@pytest.mark.parametrize(
    ("kind", "script", "reason"),
    [
        (CheckKind.SMTP, lines(b"554 go away\r\n", {}), "connection refused: 554 go away"),
        (
            CheckKind.SMTP,
            lines(b"220 hi\r\n", {b"EHLO": b"500 what\r\n", b"HELO": b"550 no\r\n"}),
            "HELO refused: 550 no",
        ),
        (CheckKind.NNTP, lines(b"400 closed\r\n", {}), "connection refused: 400 closed"),
        (CheckKind.POP, lines(b"-ERR busy\r\n", {}), "connection refused: -ERR busy"),
        (
            CheckKind.POP,
            lines(b"+OK\r\n", {b"USER": b"+OK\r\n", b"PASS": b"-ERR wrong\r\n"}),
            "login refused: -ERR wrong",
        ),
        (CheckKind.IMAP, lines(b"* BYE full\r\n", {}), "connection refused: * BYE full"),
        (
            CheckKind.IMAP,
            lines(b"* OK\r\n", {b"a1": b"* x\r\na1 NO wrong\r\n"}),
            "login refused: NO wrong",
        ),
        (CheckKind.FTP, lines(b"421 full\r\n", {}), "connection refused: 421 full"),
        (
            CheckKind.FTP,
            lines(b"220 \r\n", {b"USER": b"331 ?\r\n", b"PASS": b"530 wrong\r\n"}),
            "login refused: 530 wrong",
        ),
        (
            CheckKind.LDAP,
            after(scripts.ldap_result(1, 0x61, 49)),
            "bind refused: invalidCredentials",
        ),
        (
            CheckKind.LDAP,
            after(scripts.ldap_result(1, 0x61), scripts.ldap_result(2, 0x65, 32)),
            "search found no single entry: noSuchObject",
        ),
        (
            CheckKind.LDAP,
            after(
                scripts.ldap_result(1, 0x61),
                scripts.ldap_entry(b"a") * 2 + scripts.ldap_result(2, 0x65),
            ),
            "search found no single entry: 2 entries",
        ),
        (
            CheckKind.SIP,
            after(b"SIP/2.0 100 x\r\n\r\nHTTP/1.1 200 OK\r\n"),
            'reply is not SIP: "HTTP/1.1 200 OK??"',
        ),
        (CheckKind.SIMPLETCP, scripts.nntp, 'answer does not match "^fake$"'),
    ],
)
async def test_a_refusal_is_told_in_the_servers_words(
    kind: CheckKind, script: Script, reason: str
) -> None:
    result = await told(kind, script)
    assert (result.passed, result.reason) == (False, reason)


async def test_smtp_falls_back_to_helo() -> None:
    script = lines(b"220 hi\r\n", {b"EHLO": b"502 what\r\n", b"HELO": b"250 ok\r\n", **QUIT})
    assert (await told(CheckKind.SMTP, script)).passed


@pytest.mark.parametrize("kind", [CheckKind.POP, CheckKind.IMAP])
async def test_without_login_the_greeting_suffices(kind: CheckKind) -> None:
    greeting = b"+OK\r\n" if kind is CheckKind.POP else b"* PREAUTH hi\r\n"
    script = lines(greeting, {b"QUIT": b"+OK\r\n", b"a2": b"a2 OK\r\n"})
    assert (await told(kind, script, login=b"")).passed


async def test_imap_sends_what_is_not_ascii_as_literals() -> None:
    heard = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK\r\n")
        for answer in (b"+ go\r\n", b"a1 OK\r\n", b"* BYE\r\n"):
            heard.extend(await reader.read(4096))
            writer.write(answer)

    assert (await told(CheckKind.IMAP, script, login=b'a"b\\', passwd="é".encode())).passed
    assert heard == b'a1 LOGIN "a\\"b\\\\" {2}\r\n\xc3\xa9\r\na2 LOGOUT\r\n'


async def test_a_server_that_closes_on_quit_has_passed() -> None:
    script = lines(b"220 hi\r\n", {b"EHLO": b"250 ok\r\n", b"QUIT": b""})
    assert (await told(CheckKind.SMTP, script)).passed


async def test_ftp_without_receive_is_content_with_the_login() -> None:
    answers = {b"USER": b"230 no password wanted\r\n", b"QUIT": b"221\r\n"}
    result = await told(CheckKind.FTP, lines(b"220 \r\n", answers), receive=b"")
    assert (result.passed, result.reason) == (True, "logged in")


async def test_ftp_with_a_file_that_is_not_there_fails() -> None:
    result = await told(CheckKind.FTP, scripts.ftp, receive=b"nothing of the sort")
    assert result.reason == 'file does not match "nothing of the sort"'
    answers = {
        b"USER": b"230 in\r\n",
        b"CWD": b"550 no\r\n",
        b"TYPE": b"200 ok\r\n",
        b"PASV": b"425 no\r\n",
    }
    result = await told(CheckKind.FTP, lines(b"220 \r\n", answers))
    assert result.reason == "passive mode refused: 425 no"


@pytest.mark.parametrize(
    ("receive", "passed"), [(b"", True), (b"^fake$", True), (b"heard:\nfake", False), (b"x", False)]
)
async def test_simpletcp_looks_at_one_line_at_a_time(receive: bytes, passed: bool) -> None:
    assert (await told(CheckKind.SIMPLETCP, scripts.echo, receive=receive)).passed is passed


async def test_a_proxy_is_asked_for_the_whole_url() -> None:
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        moved = scripts.reply(b"", b"302 Found", b"Location: //other.test/b c#d")
        writer.write(moved if len(heard) == 1 else scripts.reply())

    assert (await told(CheckKind.HTTP_PROXY, script)).passed
    assert heard[0].startswith(
        b"GET http://www.example.test/x HTTP/1.1\r\nHost: www.example.test\r\n"
    )
    assert heard[1].startswith(b"GET http://other.test/b%20c HTTP/1.1\r\nHost: other.test\r\n")


async def test_a_proxy_is_not_asked_for_https() -> None:
    moved = scripts.reply(b"", b"302 Found", b"Location: https://other.test/")
    result = await told(CheckKind.HTTP_PROXY, scripts.answering(moved))
    assert result.reason == "redirects to https://other.test/, which is no http URL"


async def dns_told(answer: Callable[[bytes], bytes], **words: object) -> Result:
    kind = DATAGRAMS[CheckKind.DNS]
    kind = replace(kind, check=replace(kind.check, **words))  # type: ignore[arg-type]
    async with served(kind, lambda query: [answer(query)]) as (check, _):
        return await ask(check)


def question_of(query: bytes) -> bytes:
    return query[12:]


async def test_dns_tells_the_status_and_a_mismatch() -> None:
    refused = await dns_told(lambda q: q[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 0, 0) + q[12:])
    assert refused.reason == "status NXDOMAIN"
    other = await dns_told(lambda q: scripts.dns_answer(q, bytes((10, 0, 0, 1))))
    assert other.reason == r'answer does not match "192\.0\.2\.7"'
    empty = await dns_told(lambda q: q[:2] + struct.pack("!HHHHH", 0x8180, 1, 0, 0, 0) + q[12:])
    assert empty.reason == "empty answer"


async def test_dns_asks_for_the_name_of_an_address() -> None:
    def pointer(query: bytes) -> bytes:
        assert question_of(query) == b"\x017\x012\x010\x03192\x07in-addr\x04arpa\0\0\x0c\0\1"
        name = b"\x04host\xc0\x16"  # host, then in-addr.arpa
        record = b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 60, len(name)) + name
        return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + query[12:] + record

    words = {"request": b"192.0.2.7", "receive": b"^host\\.in-addr\\.arpa$"}
    result = await dns_told(pointer, **words)
    assert result.passed, result.reason


async def test_dns_without_receive_wants_any_record_and_without_request_any_answer() -> None:
    other = await dns_told(lambda q: scripts.dns_answer(q, b"x" * 16), receive=b"")
    assert other.passed
    none = await dns_told(
        lambda q: q[:2] + struct.pack("!HHHHH", 0x8180, 1, 0, 0, 0) + q[12:],
        receive=b"",
        request=b"",
    )
    assert none.passed


async def test_dns_asks_again_over_tcp_when_the_answer_was_cut() -> None:
    kind = DATAGRAMS[CheckKind.DNS]
    async with server(scripts.dns) as port:
        loop = asyncio.get_running_loop()

        class Cut(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: object) -> None:
                head = data[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0)
                self.transport.sendto(head + data[12:], addr)  # type: ignore[attr-defined]

        transport, _ = await loop.create_datagram_endpoint(Cut, local_addr=("127.0.0.1", port))
        try:
            result = await ask(replace(kind.check, port=port, timeout=5.0))
        finally:
            transport.close()
    assert result.passed, result.reason


@pytest.mark.parametrize(
    ("code", "secret", "reason"),
    [
        (3, b"s3cret", "access rejected"),
        (11, b"s3cret", "access challenged"),
        (2, b"other", "no valid answer (secret?) within 0.4 s"),
    ],
)
async def test_radius_tells_why_not(code: int, secret: bytes, reason: str) -> None:
    kind = DATAGRAMS[CheckKind.RADIUS]
    async with served(kind, lambda q: [radius_answer(q, code, secret)]) as (check, _):
        result = await ask(check)
    assert (result.passed, result.reason) == (False, reason)


async def test_sip_tells_a_status_and_names_its_own_address() -> None:
    kind = DATAGRAMS[CheckKind.SIP]
    async with served(kind, lambda q: [scripts.sip_answer(q, b"486 Busy Here")], "::1") as (
        check,
        there,
    ):
        result = await ask(check)
    assert result.reason == "status 486 Busy Here"
    assert b"\r\nVia: SIP/2.0/UDP [::1]:" in there.requests[0]
    assert there.requests[0].startswith(b"OPTIONS sip:joe SIP/2.0\r\n")


async def test_a_database_tells_its_own_error() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b"\xff\x15\x04#28000Access denied"
        writer.write(len(text).to_bytes(3, "little") + b"\0" + text)

    result = await told(CheckKind.MYSQL, script)
    assert (result.passed, result.reason) == (False, "Access denied")


async def test_a_query_without_rows_fails() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        real = writer.write
        writer.write = lambda data: real(data.replace(b"SELECT 1", b"SELECT 0"))  # type: ignore[method-assign]
        await scripts.pgsql(reader, writer)

    check = replace(CHECKS[CheckKind.MYSQL], kind=CheckKind.PGSQL, timeout=20.0)
    async with server(script) as port:
        assert (await ask(replace(check, port=port))).reason == "no row"


def test_without_its_library_a_database_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "aiomysql", None)
    fault = question(CHECKS[CheckKind.MYSQL])
    assert isinstance(fault, LocalFault)
    assert str(fault) == "service=mysql needs a library: pip install 'lvsd[mysql]'"


def test_dns_over_tcp_is_told_by_the_check() -> None:
    check = Check(CheckKind.DNS, ip_address("127.0.0.1"), 53, request=b"a", protocol=Protocol.TCP)
    assert type(question(check)).__name__ == "DnsTcp"


async def test_a_greeting_that_trips_the_library_is_a_failure() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b"\x0a8.0.0\0" + bytes(4) + b"saltsalt\0" + bytes(2)
        writer.write(len(text).to_bytes(3, "little") + b"\0" + text)

    result = await told(CheckKind.MYSQL, script)
    assert (result.passed, result.reason) == (False, "answer not understood")


async def test_sip_skips_the_body_of_a_provisional_reply_whenever_it_comes() -> None:
    check = replace(CHECKS[CheckKind.SIP], protocol=Protocol.TCP)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        early = scripts.sip_answer(request, b"183 Session Progress")
        writer.write(early.replace(b"Length: 0\r\n\r\n", b"Length: 10\r\n\r\n01234"))
        await asyncio.sleep(0.05)
        writer.write(b"56789" + scripts.sip_answer(request))

    async with server(script) as port:
        assert (await ask(replace(check, port=port))).passed


async def test_sip_does_not_listen_to_provisional_replies_for_ever() -> None:
    check = replace(CHECKS[CheckKind.SIP], protocol=Protocol.TCP)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(scripts.sip_answer(request, b"100 Trying") * 1000)

    async with server(script) as port:
        result = await ask(replace(check, port=port))
    assert (result.passed, result.reason) == (False, "answer larger than 64 KiB")


@pytest.mark.parametrize("reply", [ber.element(5) * 400_000, b""])
async def test_an_ldap_server_that_talks_much_holds_nobody_up(reply: bytes) -> None:
    """A megabyte in elements of two octets, and one in entries of some."""
    bound = ber.element(0x61, ber.integer(0, ber.ENUMERATED), ber.element(4), ber.element(4))
    entry = ber.element(ber.SEQUENCE, ber.integer(2), ber.element(0x64, ber.element(4, b"x")))
    answer = ber.element(ber.SEQUENCE, ber.integer(1), bound, reply)
    began = time.process_time()
    result = await told(CheckKind.LDAP, after(answer, entry * 90_000))
    assert not result.passed
    assert time.process_time() - began < 2.0
