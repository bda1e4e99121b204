"""Logging: one line per thing worth remembering, written so that it can never stall the daemon.

Events are past-tense names with data as keys (`log.get().info("real_down", real=..., reason=...)`).
`lvsd.events` lists them all with their meaning. Lines go to stderr: in colour on a terminal, as
`key=value` otherwise, and under the journal with a `<N>` priority and without a time (it has its
own). `logfile=` in the configuration adds a file, or a syslog facility where it is not a path.
Log files are followed by name (`rotation`). Where stderr is one itself (`lvsd ldirectord` says
so) it only gets what `logfile=` does not take, and the child writes what main
passes on to it.

No writer ever waits. A line that does not fit is dropped and counted, and the count is logged as
soon as there is room again: a full pipe costs lines, never an advertisement. Values of keys that
name a secret are never written.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Mapping
from typing import Any

from lvsd.logger import Event, Late, Logger
from lvsd.rotation import Follower, leads_to, open_log

#: Longest line written, in bytes: what a pipe takes whole or not at all (PIPE_BUF, pipe(7)).
MAX_LINE = 4096
#: structlog's levels as syslog priorities (syslog(3)).
PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
#: Syslog facilities by the words `logfile=` takes (syslog(3)).
FACILITY_WORDS = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron"),
    *("authpriv", "ftp"),
)
FACILITY = dict(zip(FACILITY_WORDS, range(12), strict=True))
FACILITY.update({f"local{n}": 16 + n for n in range(8)})
DEV_LOG = "/dev/log"
STDERR = 2

#: Keys that are no fields of a line: its name, a traceback, ldirectord's words for it, and that
#: the child is told of it.
_APART = ("event", "exception", "sentence", "relayed")
_COLOUR = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}
_SECRET = re.compile(r"authpass|passwd|password|secret|token", re.IGNORECASE)
_QUOTED = re.compile(r"[\s\"=]|^$")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Stderr:
    """Non-blocking writes to a descriptor we share with others, so O_NONBLOCK is not ours to set.

    A pipe or terminal is opened a second time, which gives the flag to us alone. A socket is
    written with MSG_DONTWAIT. A regular file takes everything at once.
    """

    def __init__(self, fd: int, path: str = "") -> None:
        """`path` is followed where it is the log file that `fd` leads to."""
        self._given = fd
        self.terminal = os.isatty(fd)
        self.journal = _is_journal(fd)
        mode = os.fstat(fd).st_mode
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(mode) else None
        self.fd = _own(fd) if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) else fd
        self.follower = Follower(path, fd) if path and leads_to(path, fd) else None

    def write(self, level: str, event: Event, at: float | None = None) -> bool:
        """True when the line went out whole. `at` is a Unix time, None for now."""
        return self._send(self._line(level, event, at))

    def say(self, level: str, text: str) -> None:
        """A line without time and event."""
        prefix = b"<%d>" % PRIORITY[level] if self.journal else b""
        self._send(prefix + _bytes(_printable(text)))

    def _line(self, level: str, event: Event, at: float | None) -> bytes:
        if self.journal:
            return b"<%d>" % PRIORITY[level] + _bytes(_key_value(event))
        text = _key_value(event)
        if self.terminal:
            name, _, rest = text.partition(" ")
            return _bytes(f"{_clock()} \x1b[{_COLOUR[level]}m{name:<18}\x1b[0m {rest}")
        return _bytes(f"{_stamp(at)} {level} {text}")

    def _send(self, line: bytes) -> bool:
        try:
            if self._socket is not None:
                return self._socket.send(line, socket.MSG_DONTWAIT) == len(line)
            return os.write(self.fd, line) == len(line)
        except OSError:
            return False

    def close(self) -> None:
        """Give back what was opened; the descriptor itself is not ours."""
        if self.follower is not None:
            self.follower.close()
        if self._socket is not None:
            self._socket.close()
        if self.fd != self._given:
            os.close(self.fd)


class _File:
    """`logfile=/path`: lines `[time|process|pid] text`, in a file that is not world-readable.

    `classic` is the name in the place of the process where ldirectord's words are asked for.
    """

    def __init__(self, path: str, process: str, classic: str = "") -> None:
        self.path, self.process, self.classic = path, classic or process, bool(classic)
        self.fd = open_log(path)
        self._follower = Follower(path, self.fd)

    def write(self, level: str, event: Event, at: float | None = None) -> bool:
        """True when the line went out whole. `at` is a Unix time, None for now."""
        head = f"[{time.ctime(at)}|{self.process}|{os.getpid()}]"
        text = _sentence(event) if self.classic else ""
        line = _bytes(f"{head} {text or f'{level} {_key_value(event)}'}")
        try:
            return os.write(self.fd, line) == len(line)
        except OSError:
            return False

    def reopen(self) -> None:
        """Follow the name, after the old file was moved away. Raises OSError and keeps the old."""
        self._follower.reopen()

    def close(self) -> None:
        """Give the descriptor back."""
        self._follower.close()
        os.close(self.fd)


class _Syslog:
    """`logfile=local0`: datagrams to the system's syslog, connected anew when it restarted."""

    def __init__(self, facility: str, process: str, classic: str = "") -> None:
        if facility not in FACILITY:
            raise ValueError(f'unknown syslog facility "{facility}"')
        self.facility, self.classic = FACILITY[facility], bool(classic)
        self.tag = "ldirectord" if classic else f"lvsd-{process}"
        self.socket: socket.socket | None = None

    def write(self, level: str, event: Event, at: float | None = None) -> bool:
        """True when the datagram was taken; syslog has its own clock."""
        head = f"<{self.facility * 8 + PRIORITY[level]}>{self.tag}[{os.getpid()}]: "
        text = (_sentence(event) if self.classic else "") or _key_value(event)
        try:
            self._connected().send(_bytes(head + text)[:-1], socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True

    def _connected(self) -> socket.socket:
        if self.socket is None:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self.socket.setblocking(False)
            self.socket.connect(DEV_LOG)
        return self.socket

    def reopen(self) -> None:
        """Connect again at the next line."""
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class _Sinks:
    """Where this process's lines go."""

    def __init__(self) -> None:
        self.process = "lvsd"
        self.stderr: _Stderr | None = None
        self.extra: _File | _Syslog | None = None
        self.child_writes = False
        self.dropped = 0
        self._unreported = 0

    def emit(self, level: str, event: Event) -> None:
        """Write one event everywhere; count it once when it got lost anywhere."""
        if not self._write(level, event):
            self.dropped += 1
            self._unreported += 1
        elif self._unreported and self._write("warning", _lines_dropped(self._unreported)):
            self._unreported = 0

    @property
    def spare(self) -> _Stderr | None:
        """Stderr where it is a log file, for what nobody else writes."""
        return self.stderr if self.stderr is not None and self.stderr.follower else None

    def _write(self, level: str, event: Event) -> bool:
        if (spare := self.spare) is not None:
            if self.child_writes and "relayed" in event:
                return True
            return (self.extra or spare).write(level, event) or spare.write(level, event)
        sinks = [sink for sink in (self.stderr, self.extra) if sink is not None]
        written = [sink.write(level, event) for sink in sinks]
        return all(written)


_sinks = _Sinks()
_observer: Callable[[str, str, Mapping[str, Any]], None] | None = None


def configure(process: str, logfile: str = "", stderr: str = "") -> None:
    """Set logging up for this process; `process` is `vrrp`, `director` or `guard`.

    `logfile` is the configuration's value: a path, a syslog facility, or "" for stderr alone.
    `stderr` is the path of the log file that stderr leads to, "" where it leads elsewhere.
    Raises ValueError for an unknown facility, OSError when the file cannot be opened.
    """
    _sinks.process = process
    if _sinks.stderr is not None:
        _sinks.stderr.close()
    with contextlib.suppress(OSError):  # stderr may be closed: no reason to die
        _sinks.stderr = _Stderr(STDERR, stderr)
    set_logfile(logfile)


def get(**fields: Any) -> Logger:
    """The logger, with `fields` bound. May be called at import time, before `configure`."""
    return Late(_emit, fields)


def set_logfile(logfile: str, classic: str = "") -> None:
    """Follow a new `logfile=`; the old one is closed only once the new one is open.

    `classic` is the configuration's name where lines shall be ldirectord's, "" for our own.
    Raises ValueError for an unknown facility, OSError when the file cannot be opened.
    """
    new: _File | _Syslog | None = None
    if logfile.startswith("/"):
        new = _File(logfile, _sinks.process, classic)
    elif logfile:
        new = _Syslog(logfile, _sinks.process, classic)
    if _sinks.extra is not None:
        _sinks.extra.close()
    _sinks.extra = new


def reopen() -> None:
    """Open the log file again by name, after logrotate moved it (SIGHUP). Raises OSError."""
    if _sinks.spare is not None and _sinks.spare.follower is not None:
        _sinks.spare.follower.reopen()
    if _sinks.extra is not None:
        _sinks.extra.reopen()


def say(level: str, text: str) -> None:
    """A line for people on stderr, as it is; the journal learns its level."""
    if _sinks.stderr is not None:
        _sinks.stderr.say(level, text)


def observe(observer: Callable[[str, str, Mapping[str, Any]], None] | None) -> None:
    """Have every event of this process told to `observer` as well: level, event, fields.

    It is called in the thread that logs and must neither wait nor log. None ends it.
    """
    global _observer
    _observer = observer


def relay(level: str, event: str, fields: Mapping[str, Any], at: float | None = None) -> None:
    """Write another process's event of Unix time `at` to `logfile=` alone.

    That process wrote it to stderr, unless that is a log file and left to us (`leave_to_child`).
    """
    if (sink := _sinks.extra or _sinks.spare) is not None:
        sink.write(level if level in PRIORITY else "info", {**fields, "event": event}, at)


def leave_to_child(leave: bool) -> None:
    """Whether the child is there to write what it is told (`relayed`), where stderr is a file."""
    _sinks.child_writes = leave


def sentence(text: str) -> None:
    """A line in ldirectord's words, for a `logfile=` that shall have them."""
    if _sinks.extra is not None and _sinks.extra.classic:
        _sinks.extra.write("info", {"event": "", "sentence": text})


def dropped() -> int:
    """Lines lost so far in this process because nobody read them fast enough."""
    return _sinks.dropped


def _emit(method: str, event: Event) -> None:
    level = method if method in PRIORITY else "error"
    _sinks.emit(level, event)
    if _observer is not None:
        fields = {k: "***" if _SECRET.search(k) else v for k, v in event.items()}
        fields = {k: v for k, v in fields.items() if k not in _APART[1:]}
        _observer(level, str(fields.pop("event", "")), fields)


def _lines_dropped(count: int) -> Event:
    return {"event": "lines_dropped", "count": count}


def _key_value(event: Event) -> str:
    """`real_down real=192.0.2.4:80 reason="status 500"`: one line whatever the values hold."""
    fields = [_field(key, value) for key, value in event.items() if key not in _APART]
    text = " ".join([_printable(str(event.get("event", ""))), *fields])
    if "exception" in event:  # a crash is told in full, one line per line of the traceback
        text += " | " + " | ".join(map(_printable, str(event["exception"]).splitlines()))
    return text


def _sentence(event: Event) -> str:
    """The event in ldirectord's words, if it has any."""
    return _printable(str(event.get("sentence", "")))


def _field(key: str, value: Any) -> str:
    if _SECRET.search(key):
        return f"{key}=***"
    if isinstance(value, float):
        value = f"{value:.6g}"
    elif isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    elif isinstance(value, list | tuple | set | frozenset):
        value = ",".join(map(str, value))
    text = _printable(str(value))
    if _QUOTED.search(text):
        text = '"' + text.replace('"', '\\"') + '"'
    return f"{key}={text}"


def _printable(text: str) -> str:
    """`text` without anything that could forge a line or drive a terminal."""
    return _UNSAFE.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def _bytes(text: str) -> bytes:
    """One line of at most `MAX_LINE` bytes, cut between characters."""
    line = text.encode("utf-8", "backslashreplace")
    if len(line) >= MAX_LINE:
        line = line[: MAX_LINE - 4].decode("utf-8", "ignore").encode() + b"..."
    return line + b"\n"


def _own(fd: int) -> int:
    """`fd` opened anew, non-blocking; `fd` itself where the system does not allow that."""
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        return fd


def _is_journal(fd: int) -> bool:
    """Whether `fd` is the stream systemd connected to the journal (systemd.exec)."""
    found = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _stamp(at: float | None) -> str:
    now = time.time() if at is None else at
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
