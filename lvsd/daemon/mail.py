"""Alert mails: one at a time, in the order of what happened, and never in anybody's way.

A mail goes to `smtp=` with aiosmtplib, or to the local sendmail program. What can't be delivered
is logged and dropped: an alert an hour late helps nobody. The queue is bounded, and so is the time
of each delivery and of the waiting. A mail server that is away costs a line a minute, not one for
each mail.
"""

from __future__ import annotations

import asyncio
import email.errors
import email.policy
import re
import socket
import time
from collections import deque
from dataclasses import field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import aiosmtplib

from lvsd import log, program
from lvsd.core.model import Alert, MailServer, Moment
from lvsd.core.record import dataclass

#: Seconds one delivery may take.
TIME_LIMIT = 30.0
#: Mails that may wait; a farm that falls over whole must not fill the memory with them.
LIMIT = 1000
#: Seconds a mail may wait for those before it.
MAX_AGE = 600.0
#: Seconds between two lines about the same failure.
_SILENCE = 60.0
_FAILURES = (aiosmtplib.SMTPException, email.errors.MessageError)
SENDMAIL = "/usr/sbin/sendmail"
#: Lines stay whole, so that a mail can be searched for what the log said (RFC 5322, 2.1.1).
_POLICY = email.policy.SMTP.clone(max_line_length=998)


_SENDER = re.compile(r"""([^<>]*?)\s*<?([^\s<>@"()\[\]:;,\\]+@[^\s<>@"()\[\]:;,\\]+)>?""")


@dataclass(frozen=True, slots=True)
class News:
    """What a mail tells. `about` are the lines on service name and comment, `at` is Unix time."""

    alert: Alert
    subject: str
    moment: Moment
    about: str = ""
    at: float = field(default_factory=time.time)


def letter(news: News) -> EmailMessage:
    """The mail ldirectord would send; whatever a name holds, it stays one line of a header.

    Raises ValueError or MessageError where an address can't be put into a header.
    """
    host, subject = socket.gethostname(), _plain(news.subject)
    message = EmailMessage(policy=_POLICY)
    message["From"] = _sender(news.alert.sender, host)
    message["To"] = [_address("", recipient) for recipient in news.alert.recipients]
    message["Subject"] = subject
    message["Date"] = formatdate(news.at, localtime=True)
    message["Message-ID"] = make_msgid(domain=host)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday reply, please
    text = f"lvsd host: {host}\nLog-Message: {subject}\nDaemon-Status: {news.moment}\n"
    about = "".join(f"{_plain(line)}\n" for line in news.about.split("\n") if line)
    message.set_content(f"{text}\n{about}" if about else text)
    return message


def _sender(text: str, host: str) -> Address:
    """`NAME <ADDRESS>` or ADDRESS; any other text is the name of lvsd's own address."""
    found = _SENDER.fullmatch(text)
    name, address = found.groups() if found else (text, f"lvsd@{host}")
    return _address(_plain(name.strip('"')), address)


def _address(name: str, address: str) -> Address:
    user, _, domain = address.rpartition("@")
    return Address(name, user, domain) if user else Address(name, domain)


def _plain(text: str) -> str:
    """Text on one line that can be sent: blanks for controls, ? for what is no character."""
    sendable = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in sendable)


class Postman:
    """Delivers mails in a task of its own."""

    def __init__(self) -> None:
        self._waiting: deque[News] = deque(maxlen=LIMIT)
        self._task: asyncio.Task[None] | None = None
        self._unsaid = 0
        self._said = ("", 0.0)  # the last failure told, and when

    def post(self, news: News) -> None:
        """Send it as soon as those before it are gone."""
        if len(self._waiting) == LIMIT:
            self._failed(self._waiting.popleft(), f"{LIMIT} mails wait already")
        self._waiting.append(news)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def finish(self, time_limit: float) -> None:
        """Give what waits a last chance, of so many seconds."""
        if self._task is None:
            return
        _, late = await asyncio.wait([self._task], timeout=time_limit)
        if late:
            self._task.cancel()  # and no wait: a farewell to a mail server may take its time too
            lost = self._unsaid + len(self._waiting) + 1
            log.get().error("mail_failed", error="lvsd has stopped meanwhile", count=lost)

    async def _work(self) -> None:
        while self._waiting:
            news = self._waiting.popleft()
            if time.time() - news.at > MAX_AGE:
                self._failed(news, f"it waited for more than {MAX_AGE:g} s")
                continue
            try:
                message = letter(news)
                async with asyncio.timeout(TIME_LIMIT):
                    await deliver(news.alert.server, message)
            except (*_FAILURES, program.Refused, OSError, ValueError) as error:
                self._failed(news, str(error) or type(error).__name__)
            else:
                log.get().info("mail_sent", subject=message["Subject"], to=message["To"])
        if self._unsaid:
            reason, _ = self._said
            log.get().error("mail_failed", error=reason, count=self._unsaid)
            self._unsaid = 0

    def _failed(self, news: News, reason: str) -> None:
        self._unsaid += 1
        said, at = self._said
        now = time.monotonic()
        if reason != said or now - at > _SILENCE:
            log.get().error("mail_failed", subject=news.subject, error=reason, count=self._unsaid)
            self._unsaid, self._said = 0, (reason, now)


async def deliver(server: MailServer, message: EmailMessage) -> None:
    """Hand one mail over. Raises SMTPException, Refused, OSError (also TimeoutError)."""
    if not server.host:
        status = await program.run((SENDMAIL, "-oi", "-t"), TIME_LIMIT, text=message.as_bytes())
        if status:
            raise program.Refused(f"{SENDMAIL}: exit status {status}")
        return
    password = None
    if server.passwdfile:
        password = await asyncio.to_thread(_first_line, server.passwdfile)
    octets = message.as_bytes()
    sender, *recipients = (a.addr_spec for n in ("From", "To") for a in message[n].addresses)
    await aiosmtplib.send(
        # It would fold the lines of a message; what is not ASCII depends on the server's skills.
        octets if octets.isascii() else message,
        sender=sender,
        recipients=recipients,
        hostname=server.host,
        port=server.port,
        username=server.login or None,
        password=password,
        use_tls=server.tls == "tls",
        start_tls=server.tls == "starttls",
        timeout=TIME_LIMIT,
    )


def _first_line(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline().rstrip("\r\n")
