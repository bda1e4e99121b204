"""What a block does besides the table: alert mails, commands, records of checks.

Each of these words may stand in the block or among the globals; the block's wins, word by word. A
global value is judged once, however many blocks use it. Commands run without a shell, so what only
a shell understands is an error here rather than a surprise later.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

from lvsd.config.addresses import endpoint
from lvsd.config.diagnostics import BadValue, proposal
from lvsd.config.document import Document, Section, Setting
from lvsd.config.syntax import outside_quotes
from lvsd.config.values import words_of, written
from lvsd.core.model import Actions, Alert, MailServer, Moment

_PORTS = {"no": 25, "starttls": 587, "tls": 465}
_ADDRESS = re.compile(r'[^\s@,<>"()\[\]:;\\]+(@([^\s@,<>"()\[\]:;\\]+|\[[\w.:]+\]))?')
#: As in `Admin <ops@example.org>`: what counts is between the angles.
_NAMED = re.compile(r'("[^"]*"|[^",<>@])*<([^<>\s,@]+@[^<>\s,]+)>')
_SHELL = re.compile(r"[|&;<>`$*?]")
_T = TypeVar("_T")


class Reader:
    """Reads the actions of every block of a document."""

    def __init__(self, document: Document) -> None:
        self._globals, self._report = document.globals, document.report
        self._read: dict[int, object] = {}
        self._logins: set[int] = set()
        self.actions(document.globals)  # judged even where no block uses them

    def actions(self, section: Section) -> Actions:
        """What one `virtual=` block does."""
        return Actions(
            fallbackcommand=self._value(section, "fallbackcommand", self._command, ()),
            monitorfile=section.value("monitorfile", ""),
            alert=self._alert(section),
            servicename=_legible(section.value("servicename", "")),
            comment=_legible(section.value("comment", "")),
        )

    def callback(self) -> tuple[str, ...]:
        """`callback=` of the globals."""
        return self._value(self._globals, "callback", self._command, ())

    def _command(self, setting: Setting) -> tuple[str, ...]:
        words = command(setting.value, setting.statement.name)
        if words[0].startswith("/") and not os.access(words[0], os.X_OK):
            self._report.warn(setting.place, f"{words[0]} is not there or can't be executed")
        return words

    def _alert(self, section: Section) -> Alert | None:
        nobody: tuple[str, ...] = ()
        to = self._value(section, "emailalert", _of(recipients), nobody)
        moments = self._value(section, "emailalertstatus", _of(moments_of), frozenset(Moment))
        server = self._server(section)
        if not to:
            return None
        if server.host:
            self._judge_login(section, server.tls)
        else:
            server = self._local(section)
        return Alert(
            recipients=to,
            sender=self._value(section, "emailalertfrom", _of(sender), ""),
            interval=float(self._plain(section, "emailalertfreq", 0)),
            moments=moments,
            server=server,
        )

    def _server(self, section: Section) -> MailServer:
        tls = self._plain(section, "smtptls", "no")
        host, port = self._value(section, "smtp", _of(mail_server), ("", 0))
        passwdfile = self._value(section, "smtppasswdfile", _of(_private), "")
        login = self._value(section, "smtplogin", _of(_login), "")
        return MailServer(host, port or _PORTS[tls], tls, login, passwdfile)

    def _local(self, section: Section) -> MailServer:
        """The local sendmail, to which words about a mail server mean nothing."""
        for name in ("smtptls", "smtplogin", "smtppasswdfile"):
            if setting := self._setting(section, name):
                text = f"{name} has no effect without smtp=: the local sendmail takes the mails"
                self._report.warn(setting.place, text)
        return MailServer()

    def _judge_login(self, section: Section, tls: str) -> None:
        login, passwdfile = (
            self._setting(section, name) for name in ("smtplogin", "smtppasswdfile")
        )
        setting = login or passwdfile
        if setting is None or id(setting) in self._logins:
            return
        self._logins.add(id(setting))
        if passwdfile is None:
            self._report.error(setting.place, "smtplogin needs smtppasswdfile")
        elif login is None:
            self._report.warn(setting.place, "smtppasswdfile means nothing without smtplogin")
        elif tls == "no":
            text = "the password crosses the network in clear; smtptls=starttls encrypts it"
            self._report.warn(setting.place, text)

    def _setting(self, section: Section, name: str) -> Setting | None:
        return section.settings.get(name) or self._globals.settings.get(name)

    def _plain(self, section: Section, name: str, default: Any) -> Any:
        return section.value(name, self._globals.value(name, default))

    def _value(self, section: Section, name: str, read: Callable[[Setting], _T], default: _T) -> _T:
        setting = self._setting(section, name)
        if setting is None:
            return default
        if id(setting) not in self._read:
            self._read[id(setting)] = self._judged(setting, read, default)
        return cast(_T, self._read[id(setting)])

    def _judged(self, setting: Setting, read: Callable[[Setting], _T], default: _T) -> _T:
        try:
            return read(setting)
        except BadValue as problem:
            self._report.error(setting.place.at(problem.offset), problem.text)
        return default


def _of(read: Callable[[str], _T]) -> Callable[[Setting], _T]:
    return lambda setting: read(setting.value)


def command(value: str, name: str) -> tuple[str, ...]:
    """A program and its arguments. Quotes around the whole are ldirectord's and mean nothing."""
    whole = re.fullmatch(r'"([^"]*)"', value)
    text = whole[1] if whole else value
    if found := _SHELL.search(text):
        raise BadValue(
            f"{found[0]} needs a shell, and none is involved; put the command into a script",
            found.start() + bool(whole),
        )
    return words_of(text, name)


def recipients(value: str) -> tuple[str, ...]:
    """Mail addresses between blanks or commas, with or without quotes around the whole.

    Those with a name before them, `NAME <ADDRESS>`, stand between commas.
    """
    whole = re.fullmatch(r'"([^"]*)"', value)
    plain = _NAMED.sub(r" \2 ", whole[1] if whole else value)
    found = tuple(word for word in re.split(r"[\s,]+", plain) if word)
    for word in found:
        if not _ADDRESS.fullmatch(word) or word.startswith("-"):
            raise BadValue(f"{word} is no mail address", max(value.find(word), 0))
    if not found:
        raise BadValue("a mail address is missing")
    return found


def sender(value: str) -> str:
    """The text of a From header."""
    if any(ord(character) < 32 for character in value):
        raise BadValue("a sender can't hold control characters")
    whole = re.fullmatch(r'"([^"]*)"', value)
    text = whole[1] if whole else value
    if '"' in text and "#" in itertools.compress(text, outside_quotes(text)):
        raise BadValue("where quotes are, a # stands between them")
    return text


def moments_of(value: str) -> frozenset[Moment]:
    """`all`, `none`, or moments between commas."""
    words = [word.strip() for word in value.strip('"').split(",")]
    known = ("all", "none", *Moment)
    for word in words:
        if word not in known:
            near = proposal(word, known)
            raise BadValue(f"unknown status {word or '(nothing)'}{near}", max(value.find(word), 0))
    if "none" in words:
        if len(words) > 1:
            raise BadValue("none stands alone")
        return frozenset()
    return frozenset(Moment) if "all" in words else frozenset(map(Moment, words))


def mail_server(value: str) -> tuple[str, int]:
    """HOST[:PORT]; port 0 where none was given. The name is looked up when a mail leaves."""
    whole = re.fullmatch(r'"([^"]*)"', value)
    parts = endpoint(whole[1] if whole else value)
    if not parts.host or re.search(r"[\s\"'/#]", parts.host):
        raise BadValue(f"smtp needs HOST or HOST:PORT, not {value}")
    if parts.port and not (parts.port.isdigit() and 0 < int(parts.port) < 65536):
        raise BadValue(f"{parts.port} is no port from 1 to 65535")
    return parts.host, int(parts.port or 0)


def _login(value: str) -> str:
    text = value.strip('"')
    if '"' in text:
        raise BadValue("a login here holds no double quotes")
    return text


def _private(path: str) -> str:
    """A file that only its owner can read."""
    try:
        mode = os.stat(path).st_mode
    except OSError as problem:
        raise BadValue(f"can't read {path}: {problem.strerror}") from None
    if mode & 0o077:
        raise BadValue(f"{path} holds a password: only its owner may read it (chmod 600)")
    return path


def _legible(text: str) -> str:
    """With U+FFFD in the place of each byte that was no UTF-8: it is to be mailed."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _shown(text: str) -> str:
    """In quotes where something needs them: #, and what `syntax` takes for a web page's."""
    return f'"{text}"' if '"' not in text and ("#" in text or not text.isascii()) else text


def render_actions(actions: Actions) -> list[tuple[str, object]]:
    """The lines of a block in the normal form."""
    members: list[tuple[str, object]] = []
    if actions.fallbackcommand:
        members.append(("fallbackcommand", written(actions.fallbackcommand)))
    for name in ("monitorfile", "servicename", "comment"):
        if text := getattr(actions, name):
            members.append((name, f'"{text}"' if name == "monitorfile" else text))
    if (alert := actions.alert) is None:
        return members
    members.append(("emailalert", _shown(" ".join(alert.recipients))))
    if alert.sender:
        members.append(("emailalertfrom", _shown(alert.sender)))
    members.append(("emailalertfreq", f"{alert.interval:.0f}"))
    moments = ",".join(moment for moment in Moment if moment in alert.moments)
    members.append(("emailalertstatus", moments or "none"))
    server = alert.server
    if server.host:
        host = f"[{server.host}]" if ":" in server.host else server.host
        members += [("smtp", f"{host}:{server.port}"), ("smtptls", server.tls)]
    if server.login:
        members.append(("smtplogin", _shown(server.login)))
    if server.passwdfile:
        members.append(("smtppasswdfile", f'"{server.passwdfile}"'))
    return members
