"""Alert mails: one at a time, in the order of what happened, and never in anybody's way.

A mail goes to `smtp=` with aiosmtplib, or to the local sendmail program. What can't be delivered
is logged and dropped: an alert an hour late helps nobody. The queue is bounded, and so is the time
of each delivery.
"""

from __future__ import annotations

import asyncio
import email.policy
import socket
from collections import deque
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import aiosmtplib

from lvsd import log, program
from lvsd.core.model import Alert, MailServer, Moment

#: Seconds one delivery may take.
TIME_LIMIT = 30.0
#: Mails that may wait; a farm that falls over whole must not fill the memory with them.
LIMIT = 1000
SENDMAIL = "/usr/sbin/sendmail"
#: Lines stay whole, so that a mail can be searched for what the log said (RFC 5322, 2.1.1).
_POLICY = email.policy.SMTP.clone(max_line_length=998)


def letter(alert: Alert, subject: str, moment: Moment, about: str) -> EmailMessage:
    """The mail ldirectord would send. `about` are the lines on service name and comment."""
    host = socket.gethostname()
    message = EmailMessage(policy=_POLICY)
    message["From"] = alert.sender or f"lvsd@{host}"
    message["To"] = ", ".join(alert.recipients)
    message["Subject"] = subject
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=host)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday reply, please
    text = f"lvsd host: {host}\nLog-Message: {subject}\nDaemon-Status: {moment}\n"
    message.set_content(f"{text}\n{about}" if about else text)
    return message


class Postman:
    """Delivers mails in a task of its own."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[MailServer, EmailMessage]] = deque(maxlen=LIMIT)
        self._task: asyncio.Task[None] | None = None

    def post(self, server: MailServer, message: EmailMessage) -> None:
        """Send it as soon as those before it are gone."""
        if len(self._waiting) == LIMIT:
            log.get().error("mail_failed", error=f"{LIMIT} mails wait already")
        self._waiting.append((server, message))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def finish(self, time_limit: float) -> None:
        """Give what waits a last chance."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=time_limit)
            self._task.cancel()  # and no wait: a farewell to a mail server may take its time too

    async def _work(self) -> None:
        while self._waiting:
            server, message = self._waiting.popleft()
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    await deliver(server, message)
            except (aiosmtplib.SMTPException, program.Refused, OSError, ValueError) as error:
                reason = str(error) or type(error).__name__
                log.get().error("mail_failed", subject=message["Subject"], error=reason)
            else:
                log.get().info("mail_sent", subject=message["Subject"], to=message["To"])


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
    await aiosmtplib.send(
        message,
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
