"""Alert mails with a whole child process and a mail server that takes them down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lvsd.core.model import Alert, Moment
from lvsd.core.model import MailServer as SmtpServer
from lvsd.daemon.mail import News, deliver, letter
from tests.daemon.childhood import Web, child, conf


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


class MailServer:
    """Speaks enough SMTP (RFC 5321) to take mails; `mails` has them with their envelope."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.hangs = False
        self.talks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if talk := asyncio.current_task():
            self.talks.add(talk)
        writer.write(b"220 mail.example.org\r\n")
        envelope = ""
        while line := (await reader.readline()).decode():
            verb = line.split(":")[0].strip().upper()
            if self.hangs:
                await reader.read()
            elif verb == "DATA":
                writer.write(b"354 go on\r\n")
                body = (await reader.readuntil(b"\r\n.\r\n")).decode()
                self.mails.append(envelope + body)
                envelope = ""
                writer.write(b"250 taken\r\n")
            else:
                envelope += line if verb.startswith(("MAIL", "RCPT")) else ""
                writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 fine\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def receive(self, count: int) -> list[str]:
        """The first `count` mails, waited for."""
        async with asyncio.timeout(20):
            while len(self.mails) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return self.mails[:count]


@contextlib.asynccontextmanager
async def mail_server() -> AsyncIterator[tuple[MailServer, int]]:
    mails = MailServer()
    server = await asyncio.start_server(mails.serve, "127.0.0.1", 0)
    try:
        yield mails, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if mails.talks:
            await asyncio.wait(mails.talks, timeout=20)


async def test_each_change_is_mailed_in_ldirectords_words(tmp_path: Path, web: Web) -> None:
    async with mail_server() as (mails, port):
        text = f"emailalert=ops@example.org\nemailalertfrom=lb@example.org\nsmtp=127.0.0.1:{port}"
        async with child(tmp_path, conf(web, text, "\tservicename=My shop\n")) as c:
            await c.ready()
            web.status = 500
            first, second = await mails.receive(2)

            assert f"Added real server: {web.name} (192.0.2.1:80) (Weight set to 3)" in first
            assert "RCPT TO:<ops@example.org>" in second
            assert "From: lb@example.org" in second
            subject = f"Quiescent real server: {web.name} (192.0.2.1:80) (Weight set to 0)"
            assert f"Log-Message: [My shop] {subject}" in second
            assert "Daemon-Status: running" in second
            assert "Service name: My shop" in second


@pytest.mark.parametrize("name", ["x" * 100, "word " * 30])
async def test_a_long_subject_stays_on_one_line(name: str) -> None:
    async with mail_server() as (mails, port):
        alert = Alert(("ops@example.org", "night@example.org"))
        news = News(alert, f"[{name}] Deleted", Moment.RUNNING)
        await deliver(SmtpServer("127.0.0.1", port), letter(news))
        (mail,) = await mails.receive(1)

    assert f"\r\nSubject: [{name}] Deleted\r\n" in mail
    assert "RCPT TO:<night@example.org>" in mail


async def test_mails_leave_only_in_the_moments_named_and_are_repeated(
    tmp_path: Path, web: Web
) -> None:
    async with mail_server() as (mails, port):
        text = f"emailalert=ops@example.org\nsmtp=127.0.0.1:{port}\nemailalertfreq=1"
        async with child(
            tmp_path, conf(web, f"{text}\nemailalertstatus=running", "\tservicename=Shop\n")
        ) as c:
            await c.ready()
            web.status = 500
            down, again, _ = await mails.receive(3)

            assert "Log-Message: [Shop] Quiescent real server" in down, (
                "none was sent while starting"
            )
            subject = f"[Shop] Inaccessible real server: {web.name} (192.0.2.1:80)"
            assert f"Log-Message: {subject}" in again


async def test_a_reload_with_a_real_nobody_has_judged_is_no_start(tmp_path: Path, web: Web) -> None:
    async with mail_server() as (mails, port):
        text = f"emailalert=ops@example.org\nsmtp=127.0.0.1:{port}\nemailalertstatus=running"
        with socket.create_server(("127.0.0.1", 0)) as silent:
            slow = f"\treal=127.0.0.1:{silent.getsockname()[1]} masq\n\tchecktimeout=60\n"
            async with child(tmp_path, conf(web, text)) as c:
                await c.ready()
                c.conf.write_text(conf(web, text, slow))
                assert (await c.ask("POST", "/v1/reload"))[0] == 200
                web.status = 500
                (down,) = await mails.receive(1)

                assert f"Log-Message: Quiescent real server: {web.name}" in down
                assert "Daemon-Status: running" in down


async def test_what_a_reload_and_the_stop_remove_is_mailed(tmp_path: Path, web: Web) -> None:
    async with mail_server() as (mails, port):
        text = f"emailalert=ops@example.org\nsmtp=127.0.0.1:{port}\n"
        text += "emailalertstatus=reloading,stopping"
        other = "\treal=127.0.0.1:9 masq\n"
        async with child(tmp_path, conf(web, text, other + "\tservicename=Shop\n")) as c:
            await c.ready()
            c.conf.write_text(conf(web, text, "\tservicename=Shop\n").replace("masq 3", "masq 7"))
            assert (await c.ask("POST", "/v1/reload"))[0] == 200
            purged, restored = await mails.receive(2)
            assert await c.stop() == 0

    where = "(192.0.2.1:80)"
    assert f"Log-Message: [Shop] Purged real server (start): 127.0.0.1:9 {where}" in purged
    assert f"Restored real server: {web.name} {where} (Weight set to 7)" in restored
    assert "Daemon-Status: reloading" in restored
    (stopped,) = mails.mails[2:]
    assert f"Log-Message: [Shop] Purged real server (stop): {web.name} {where}" in stopped
    assert "Daemon-Status: stopping" in stopped


async def test_mails_that_cannot_leave_before_the_end_are_counted(tmp_path: Path, web: Web) -> None:
    async with mail_server() as (mails, port):
        mails.hangs = True
        text = f"emailalert=ops@example.org\nsmtp=127.0.0.1:{port}"
        async with child(tmp_path, conf(web, text)) as c:
            await c.ready()
            assert await c.stop() == 0
            await c.logged('mail_failed error="lvsd has stopped meanwhile" count=2')


async def test_a_mail_server_that_hangs_delays_nothing(tmp_path: Path, web: Web) -> None:
    async with mail_server() as (mails, port):
        mails.hangs = True
        text = f"emailalert=ops@example.org\nsmtp=127.0.0.1:{port}"
        async with child(tmp_path, conf(web, text)) as c:
            await c.ready()
            web.status = 500
            await c.until(lambda s: s["virtuals"][0]["reals"][0]["effective_weight"] == 0)
            assert await c.stop() == 0


async def test_a_reload_ends_the_reminders_of_a_real_that_is_no_more(
    tmp_path: Path, web: Web
) -> None:
    async with mail_server() as (mails, port):
        text = f"emailalert=ops@example.org\nsmtp=127.0.0.1:{port}\nemailalertfreq=1\n"
        text += "autoreload=yes\nemailalertstatus=running"
        other = "\treal=127.0.0.1:9 masq\n"
        async with child(tmp_path, conf(web, text, other)) as c:
            await c.ready()
            await c.until(lambda s: s["virtuals"][0]["reals"][1]["health"] == "down")
            await mails.receive(1)
            web.status = 500
            c.conf.write_text(conf(web, text))
            await c.until(lambda s: len(s["virtuals"][0]["reals"]) == 1)
            before = len(mails.mails)
            await mails.receive(before + 3)
            later = mails.mails[before + 1 :]
            assert not any("127.0.0.1:9 " in mail for mail in later)
