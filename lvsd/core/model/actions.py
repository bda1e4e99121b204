"""What is done outside the table when something changes: mails, commands, records."""

from __future__ import annotations

import enum

from lvsd.core.record import dataclass


class Moment(enum.StrEnum):
    """What the daemon is doing; `emailalertstatus=` filters mails by it."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RELOADING = "reloading"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed over. `host` "" means the local sendmail program.

    `tls` is `no`, `starttls` or `tls`. The password is the first line of `passwdfile`.
    """

    host: str = ""
    port: int = 25
    tls: str = "no"
    login: str = ""
    passwdfile: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """The mails of one virtual.

    `interval` is emailalertfreq: seconds between repeated mails about a real server that stays
    down, 0 for no repeats. Mails leave only in the `moments` named.
    """

    recipients: tuple[str, ...]
    sender: str = ""
    interval: float = 0.0
    moments: frozenset[Moment] = frozenset(Moment)
    server: MailServer = MailServer()


@dataclass(frozen=True, slots=True)
class Actions:
    """What ldirectord does besides the table, for one virtual.

    `fallbackcommand` runs with `start` when the service goes down and with `stop` when it comes
    up, then ADDRESS:PORT (or the mark) and the protocol. `monitorfile` gets a line for each check.
    `servicename` and `comment` are for the readers of mails.
    """

    fallbackcommand: tuple[str, ...] = ()
    monitorfile: str = ""
    alert: Alert | None = None
    servicename: str = ""
    comment: str = ""


#: A virtual for which nothing is done.
NO_ACTIONS = Actions()
