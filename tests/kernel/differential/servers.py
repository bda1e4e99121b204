"""Scripted real servers of many kinds, which behave as a scenario says.

All of one machine run on an event loop in a thread that has entered the machine's network.
The modes: `ok`, `wrong` (answers, but not what is wanted), `hang` (accepts and says nothing),
`refuse` (nobody listens), and for http also `error` (status 500) and `elsewhere` (a redirect).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.checks import scripts
from tests.checks.scripts import Script, lines

#: What a server over UDP answers.
Answer = Callable[[bytes], bytes]


def http(status: bytes, what: bytes, *fields: bytes) -> Script:
    """Tells what was asked: "GET /path of HOST is `what`"."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path = head.split(b" ", 2)[:2]
        host = next((x[6:] for x in head.split(b"\r\n") if x.lower().startswith(b"host: ")), b"-")
        body = b"%s %s of %s is %s\n" % (method, path, host, what)
        answer = scripts.reply(body, status, b"Connection: close", *fields)
        writer.write(answer.removesuffix(body) if method == b"HEAD" else answer)
        await writer.drain()

    return script


def smtp(greeting: bytes) -> Script:
    """Takes mails, too."""
    return lines(
        greeting,
        {
            b"EHLO": b"250-hello\r\n250 8BITMIME\r\n",
            b"HELO": b"250 hello\r\n",
            b"MAIL": b"250 ok\r\n",
            b"RCPT": b"250 ok\r\n",
            b"DATA": b"354 go on\r\n",
            b".\r\n": b"250 taken\r\n",
            b"QUIT": b"221 bye\r\n",
            b"": b"",
        },
    )


def pop(password: bytes) -> Script:
    """Knows joe, and lets him in or not."""
    return lines(
        b"+OK ready\r\n",
        {b"USER": b"+OK\r\n", b"PASS": password, b"CAPA": b"-ERR\r\n", b"QUIT": b"+OK bye\r\n"},
    )


def imap(word: bytes) -> Script:
    """Answers LOGIN with `word`."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK IMAP4rev1 ready\r\n")
        while line := await reader.readline():
            tag, _, rest = line.partition(b" ")
            leaving = rest.upper().startswith(b"LOGOUT")
            answer = word if rest.upper().startswith(b"LOGIN") else b"OK"
            writer.write((b"* BYE\r\n" if leaving else b"") + tag + b" " + answer + b" done\r\n")
            if leaving:
                return

    return script


def nntp(greeting: bytes) -> Script:
    """Greets and waits."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read()

    return script


def text(answer: bytes) -> Script:
    """Reads a line, answers one."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)

    return script


def ftp(content: bytes) -> Script:
    """Lets joe in, and hands out `content` for any file: to PASV, or to PORT as ldirectord does."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def transfer(_reader: asyncio.StreamReader, data: asyncio.StreamWriter) -> None:
            data.write(content)
            data.close()

        host = writer.get_extra_info("sockname")[0]
        passive = await asyncio.start_server(transfer, host, 0)
        port = passive.sockets[0].getsockname()[1]
        place = b",".join((*host.encode().split(b"."), b"%d,%d" % divmod(port, 256)))
        answers = {
            b"USER joe": b"331 password\r\n",
            b"USER": b"530 unknown\r\n",
            b"PASS": b"230 in\r\n",
            b"PASV": b"227 Passive (%s)\r\n" % place,
            b"EPSV": b"229 Passive (|||%d|)\r\n" % port,
            b"RETR": b"150 here\r\n226 done\r\n",
            b"QUIT": b"221 bye\r\n",
            b"": b"200 ok\r\n",
        }
        active: tuple[str, int] | None = None
        writer.write(b"220 ftp\r\n")
        try:
            while line := await reader.readline():
                writer.write(next(answers[word] for word in answers if line.startswith(word)))
                if line.startswith(b"PORT "):
                    *parts, high, low = line[5:].split(b",")
                    active = b".".join(parts).decode(), int(high) * 256 + int(low)
                elif line.startswith(b"RETR") and active:
                    await transfer(*await asyncio.open_connection(*active))
        finally:
            passive.close()

    return script


def ldap(code: int) -> Script:
    """Answers each bind with `code`, each search with the base itself."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while message := await reader.read(4096):
            number, tag = message[2 : 4 + message[3]], message[4 + message[3]]
            if tag == 0x60:
                writer.write(_ldap_message(number, 0x61, bytes((10, 1, code, 4, 0, 4, 0))))
            elif tag == 0x63:
                base = message.split(b"\x0a\x01")[0].rpartition(b"\x04")[2][1:]
                entry = bytes((4, len(base))) + base + b"\x30\0"
                writer.write(_ldap_message(number, 0x64, entry))
                writer.write(_ldap_message(number, 0x65, bytes((10, 1, 0, 4, 0, 4, 0))))
            else:
                return

    return script


def _ldap_message(number: bytes, tag: int, content: bytes) -> bytes:
    inner = number + bytes((tag, len(content))) + content
    return bytes((0x30, len(inner))) + inner


async def sip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """SIP over TCP."""
    writer.write(scripts.sip_answer(await reader.readuntil(b"\r\n\r\n")))
    await writer.drain()


async def dns(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """DNS over TCP."""
    query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    answer = scripts.dns_answer(query)
    writer.write(len(answer).to_bytes(2, "big") + answer)
    await reader.read()


#: What each kind does over TCP, by mode.
STREAMS: dict[str, dict[str, Script]] = {
    "http": {
        "ok": http(b"200 OK", b"fine"),
        "wrong": http(b"200 OK", b"broken"),
        "error": http(b"500 Internal Server Error", b"fine"),
        "elsewhere": http(b"302 Found", b"away", b"Location: http://10.77.0.29:8000/"),
    },
    "smtp": {"ok": smtp(b"220 mail ESMTP\r\n"), "wrong": smtp(b"554 no service\r\n")},
    "pop": {"ok": pop(b"+OK\r\n"), "wrong": pop(b"-ERR\r\n")},
    "imap": {"ok": imap(b"OK"), "wrong": imap(b"NO")},
    "nntp": {"ok": nntp(b"201 no posting\r\n"), "wrong": nntp(b"502 go away\r\n")},
    "text": {"ok": text(b"all is fine\n"), "wrong": text(b"it is broken\n")},
    "ftp": {"ok": ftp(b"fine\n"), "wrong": ftp(b"broken\n")},
    "ldap": {"ok": ldap(0), "wrong": ldap(49)},
    "sip": {"ok": sip},
    "dns": {"ok": dns},
}
#: And over UDP.
DATAGRAMS: dict[str, dict[str, Answer]] = {
    "udp-dns": {
        "ok": scripts.dns_answer,
        "wrong": lambda query: scripts.dns_answer(query, bytes((192, 0, 2, 99))),
    },
    "udp-sip": {
        "ok": scripts.sip_answer,
        "wrong": lambda request: scripts.sip_answer(request, b"404 Not Found"),
    },
    "radius": {
        "ok": scripts.radius_answer,
        "wrong": lambda request: scripts.radius_answer(request, 3),
    },
    "udp-text": {"ok": lambda _: b"all is fine\n", "wrong": lambda _: b"it is broken\n"},
}
