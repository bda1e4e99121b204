"""Scripted servers that answer as a good one of their protocol does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import struct
from collections.abc import Awaitable, Callable, Mapping

from tests.checks import certificates

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes = b"fake page", status: bytes = b"200 OK", *fields: bytes) -> bytes:
    """A whole HTTP reply."""
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def answering(*pieces: bytes) -> Script:
    """Reads the request, sends the pieces, closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


def lines(greeting: bytes, answers: Mapping[bytes, bytes], upgrade: bytes = b"") -> Script:
    """Greets, then answers each line by the first that it begins with. QUIT and its like close.

    After the answer to `upgrade`, before which nothing is done that needs a login, comes TLS.
    """

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        safe = not upgrade
        while line := await reader.readline():
            assert safe or not line.startswith((b"USER", b"PASS", b"a1 ", b"QUIT", b"a2 ")), line
            answer, *_ = (text for start, text in answers.items() if line.startswith(start))
            writer.write(answer)
            await writer.drain()
            if line.startswith((b"QUIT", b"a2 ")):
                return
            if upgrade and line == upgrade:
                await writer.start_tls(certificates.server_side())
                safe = True

    return script


_SMTP = {
    b"EHLO localhost.localdomain": b"250-hello\r\n250 8BITMIME\r\n",
    b"STARTTLS\r\n": b"220 go\r\n",
    b"QUIT": b"221 bye\r\n",
}
_POP = {
    b"STLS\r\n": b"+OK go\r\n",
    b"USER joe\r\n": b"+OK\r\n",
    b"PASS secret\r\n": b"+OK\r\n",
    b"QUIT": b"+OK bye\r\n",
}
_IMAP = {
    b"a0 STARTTLS\r\n": b"* CAPABILITY IMAP4rev1\r\na0 OK go\r\n",
    b'a1 LOGIN "joe" "secret"\r\n': b"* CAPABILITY IMAP4rev1\r\na1 OK done\r\n",
    b"a2 LOGOUT": b"* BYE\r\na2 OK\r\n",
}
_GREETINGS = (b"220-mail.example.test\r\n220 ESMTP\r\n", b"+OK ready <1.2@mail>\r\n")
_READY = b"* OK IMAP4rev1 ready\r\n"
SMTP, SMTP_TLS = (lines(_GREETINGS[0], _SMTP, end) for end in (b"", b"STARTTLS\r\n"))
POP, POP_TLS = (lines(_GREETINGS[1], _POP, end) for end in (b"", b"STLS\r\n"))
IMAP, IMAP_TLS = (lines(_READY, _IMAP, end) for end in (b"", b"a0 STARTTLS\r\n"))
NNTP_TLS = lines(b"201 no posting\r\n", {b"STARTTLS\r\n": b"382 go\r\n"}, b"STARTTLS\r\n")


async def nntp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greets and waits."""
    writer.write(b"201 no posting\r\n")
    await reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back all it got, once the client has closed its half."""
    writer.write(b"heard:\n" + await reader.read())


async def ftp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An account joe and a file, by PASV or EPSV."""
    await _ftp(reader, writer, b"")


async def ftp_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same, and the login inside TLS only."""
    await _ftp(reader, writer, b"AUTH TLS\r\n")


async def _ftp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upgrade: bytes) -> None:

    async def transfer(_reader: asyncio.StreamReader, data: asyncio.StreamWriter) -> None:
        data.write(b"a fake file\n")
        data.close()

    host = writer.get_extra_info("sockname")[0]
    passive = await asyncio.start_server(transfer, host, 0)
    port = passive.sockets[0].getsockname()[1]
    answers = {
        b"AUTH TLS\r\n": b"234 go\r\n",
        b"USER joe\r\n": b"331-Hello\r\n 230 not yet\r\n331 password\r\n",
        b"PASS secret\r\n": b"230 in\r\n",
        b"CWD /\r\n": b"250 ok\r\n",
        b"TYPE I\r\n": b"200 ok\r\n",
        b"PASV\r\n": b"227 Passive (10,9,8,7,%d,%d)\r\n" % divmod(port, 256),
        b"EPSV\r\n": b"229 Passive (|||%d|)\r\n" % port,
        b"RETR /file\r\n": b"150 here\r\n226 done\r\n",
        b"QUIT\r\n": b"221 bye\r\n",
    }
    try:
        await lines(b"220 ftp\r\n", answers, upgrade)(reader, writer)
    finally:
        passive.close()


def dns_answer(query: bytes, address: bytes = bytes((192, 0, 2, 7)), flags: int = 0x8180) -> bytes:
    """A reply with one A record for the question of `query`."""
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, len(address)) + address
    return query[:2] + struct.pack("!HHHHH", flags, 1, 1, 0, 0) + query[12:] + record


async def dns(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """DNS over TCP."""
    query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    answer = dns_answer(query)
    writer.write(struct.pack("!H", len(answer)) + answer)
    await reader.read()


def sip_answer(request: bytes, status: bytes = b"200 OK") -> bytes:
    """A reply to an OPTIONS request: its own fields, copied."""
    fields = re.findall(rb"(?:Via|From|To|Call-ID|CSeq): [^\r\n]*\r\n", request)
    return b"SIP/2.0 %s\r\n%sContent-Length: 0\r\n\r\n" % (status, b"".join(fields))


async def sip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """SIP over TCP, with a provisional reply first."""
    request = await reader.readuntil(b"\r\n\r\n")
    writer.write(sip_answer(request, b"100 Trying") + sip_answer(request))
    await reader.read()


def radius_answer(request: bytes, code: int = 2, secret: bytes = b"s3cret") -> bytes:
    """A reply signed with the secret (RFC 2865 §3, RFC 3579 §3.2)."""
    head = bytes((code, request[1])) + (20 + 18).to_bytes(2, "big")
    blank = b"\x50\x12" + bytes(16)
    digest = hmac.digest(secret, head + request[4:20] + blank, "md5")
    attributes = b"\x50\x12" + digest
    return head + hashlib.md5(head + request[4:20] + attributes + secret).digest() + attributes


def ldap_result(number: int, tag: int, code: int = 0) -> bytes:
    """A result: an LDAPMessage of no more than its code."""
    return bytes((0x30, 12, 2, 1, number, tag, 7, 10, 1, code, 4, 0, 4, 0))


def ldap_entry(name: bytes) -> bytes:
    """A search result entry without attributes."""
    size = len(name)
    return bytes((0x30, size + 9, 2, 1, 2, 0x64, size + 4, 4, size)) + name + b"\x30\0"


async def ldap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A bind as cn=joe, and an entry."""
    bind = await reader.read(4096)
    writer.write(ldap_result(1, 0x61, 0 if b"cn=joe\x80\x06secret" in bind else 49))
    search = await reader.read(4096)
    assert b"objectClass" in search
    base = search.split(b"\x0a\x01")[0].rpartition(b"\x04")[2][1:]
    writer.write(ldap_entry(base) + ldap_result(2, 0x65))
    await reader.read()


async def ldap_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same after StartTLS."""
    request = await reader.read(4096)
    assert request.endswith(b"\x77\x18\x80\x161.3.6.1.4.1.1466.20037")
    writer.write(ldap_result(3, 0x78))
    await writer.start_tls(certificates.server_side())
    await ldap(reader, writer)


def _packet(number: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "little") + bytes((number,)) + content


async def mysql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that lets everybody in and gives one row to any query (protocol version 10)."""
    await _mysql(reader, writer, 0)


async def mysql_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same, and TLS is expected."""
    await _mysql(reader, writer, 0x800)


async def _mysql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: int) -> None:
    capabilities = 0x0200 | 0x8000 | 0x80000 | 0x8 | 0x2000 | 0x20000 | more
    low, high = capabilities & 0xFFFF, capabilities >> 16
    greeting = b"\x0a8.0.0\0" + struct.pack("<I", 7) + b"saltsalt\0"
    greeting += struct.pack("<HBHHB", low, 45, 2, high, 21) + bytes(10)
    if more:
        writer.transport.pause_reading()  # the client goes on to TLS without an answer
    writer.write(_packet(0, greeting + b"saltsaltsalt\0mysql_native_password\0"))
    if more:
        with writer.get_extra_info("socket").dup() as sock:
            request = await asyncio.get_running_loop().sock_recv(sock, 4 + 32)
        if request[:4] != b"\x20\0\0\1":
            raise EOFError
        writer.transport.resume_reading()
        await writer.start_tls(certificates.server_side())
    await _read_packet(reader)
    writer.write(_packet(3 if more else 2, b"\0\0\0\2\0\0\0"))
    while await _read_packet(reader):
        column = b"\3def\0\0\0\1x\0\x0c" + struct.pack("<HIBHB", 63, 11, 3, 0, 0) + b"\0\0"
        end = b"\xfe\0\0\2\0"
        for number, content in enumerate((b"\1", column, end, b"\0011", end), 1):
            writer.write(_packet(number, content))


async def _read_packet(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return await reader.readexactly(int.from_bytes(head[:3], "little"))


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!I", len(content) + 4) + content


async def pgsql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server without TLS that lets everybody in and gives one row to any query."""
    await _pgsql(reader, writer, b"N")


async def pgsql_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same with TLS."""
    await _pgsql(reader, writer, b"S")


async def _pgsql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    while True:
        size, code = struct.unpack("!II", await reader.readexactly(8))
        await reader.readexactly(size - 8)
        if code == 196608:
            break
        writer.write(answer)
        if answer == b"S":
            await writer.start_tls(certificates.server_side())
    writer.write(_message(b"R", struct.pack("!I", 0)))
    for name, value in ((b"server_version", b"15.0"), (b"client_encoding", b"UTF8")):
        writer.write(_message(b"S", name + b"\0" + value + b"\0"))
    writer.write(_message(b"K", struct.pack("!II", 1, 2)) + _message(b"Z", b"I"))
    while kind := await reader.read(1):
        size = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(size - 4)
        if kind == b"Q":
            column = struct.pack("!IHIHiH", 0, 0, 23, 4, -1, 0)
            writer.write(_message(b"T", struct.pack("!H", 1) + b"x\0" + column))
            writer.write(_message(b"D", struct.pack("!HI", 1, 1) + b"1"))
            writer.write(_message(b"C", b"SELECT 1\0") + _message(b"Z", b"I"))
