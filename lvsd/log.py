"""Logging: one line per thing worth remembering, written so that it can never stall the daemon.

Events are past-tense names with data as keys (`log.get().info("real_down", real=..., reason=...)`).
`EVENTS` lists them all with their meaning; docs/events.md is made from it. Lines go to stderr: in
colour on a terminal, as `key=value` otherwise, and under the journal with a `<N>` priority and
without a time (it has its own). `logfile=` in the configuration adds a file, or a syslog facility
where the value is not a path.

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
from collections.abc import MutableMapping
from typing import Any, Protocol

import structlog

#: Every event with its meaning, in words an operator understands.
EVENTS: dict[str, str] = {
    "started": "The process is up and serving.",
    "stopping": "An orderly stop has begun; `signal` says who asked.",
    "stopped": "The process has put everything away and exits.",
    "start_failed": "The daemon cannot start; `error` says why.",
    "crashed": "An internal error ends the process at once; the guard hands over.",
    "child_started": "The director process was started by the main process.",
    "child_lost": "The director process died or went silent; table and mastership stay.",
    "child_returned": "The restarted director process is up again and has read the configuration.",
    "guard_lost": "The guard process is gone: the VIPs are now protected by their lease alone.",
    "config_loaded": "A configuration was read and is now in force.",
    "config_refused": "A configuration has errors; the one in force stays.",
    "config_warning": "The configuration works but says something doubtful.",
    "config_changed": "A configuration file has changed on disk and is read again (autoreload).",
    "table_adopted": "The services found in the kernel were taken over as they are.",
    "table_changed": "The kernel's table was changed to follow a new wish; `step` says how.",
    "table_repaired": "Something else had changed one of our services; it was put right.",
    "table_contested": "One key was repaired too often: something else keeps changing it.",
    "table_failed": "The kernel refused a change; it is tried again.",
    "table_cleared": "Our services were removed from the kernel at the orderly stop.",
    "weight_adopted": "A weight set to 0 by hand is kept and shown as a drain.",
    "foreign_service_found": "The kernel holds a service that is not ours; it is left alone.",
    "real_up": "A real server passed its checks and takes connections.",
    "real_down": "A real server failed its checks; `reason` is the last verdict.",
    "real_failing": "A check failed, but not often enough yet to take the real server down.",
    "real_drained": "A real server was taken out of service by an operator.",
    "real_undrained": "A real server was put back into service by an operator.",
    "drain_expired": "The deadline of a drain has passed.",
    "virtual_up": "A virtual service has enough live real servers again.",
    "virtual_down": "A virtual service has too few live real servers.",
    "fallback_used": "No real server is up: the fallback serves.",
    "fallback_retired": "A real server is back: the fallback no longer serves.",
    "ready": "The services are applied and every real server was judged once.",
    "router_changed": "A virtual router changed its state; `reason` says why.",
    "router_refused": "A virtual router cannot run as configured; `error` says why.",
    "advert_failed": "The kernel refused to send an advertisement; `reason` says why.",
    "advert_rejected": "An advertisement was discarded; `reason` names the fault.",
    "address_list_differed": "The master advertises other addresses than this director has.",
    "monitor_lost": "The kernel's notices overflowed or ended; everything is read afresh.",
    "vips_bound": "The kernel confirmed the addresses of a virtual router.",
    "vips_failed": "The kernel refused an address of a virtual router; it stops advertising.",
    "vips_lost": "An address of a virtual router was taken away by somebody else.",
    "relieved": "Another director took over from this one.",
    "stepdown": "An operator asked a virtual router to give up mastership, or to take part again.",
    "notify_failed": "A notify program could not be run or returned a failure.",
    "script_up": "A tracked script succeeds again.",
    "script_down": "A tracked script fails.",
    "sync_started": "A connection synchronisation thread was started in the kernel.",
    "sync_stopped": "A connection synchronisation thread was stopped.",
    "sync_failed": "The kernel refused to start or stop a synchronisation thread.",
    "sysctl_set": "A kernel setting was changed; the old value is put back at the orderly stop.",
    "sysctl_failed": "A kernel setting could not be changed.",
    "state_lost": "A file of the state directory is unreadable or cannot be written.",
    "control_failed": "The control socket cannot be served, or a request made the daemon fail.",
    "lines_dropped": "So many log lines were lost because nobody read them fast enough.",
}

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

_COLOUR = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}
_SECRET = re.compile(r"authpass|passwd|password|secret|token", re.IGNORECASE)
_QUOTED = re.compile(r"[\s\"=]|^$")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Event = MutableMapping[str, Any]


class Logger(Protocol):
    """What callers use: an event name of `EVENTS`, everything else as keys."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...
    def critical(self, event: str, **fields: Any) -> Any: ...
    def bind(self, **fields: Any) -> Any: ...


class _Stderr:
    """Non-blocking writes to a descriptor we share with others, so O_NONBLOCK is not ours to set.

    A pipe or terminal is opened a second time, which gives the flag to us alone. A socket is
    written with MSG_DONTWAIT. A regular file takes everything at once.
    """

    def __init__(self, fd: int) -> None:
        self._given = fd
        self.terminal = os.isatty(fd)
        self.journal = _is_journal(fd)
        mode = os.fstat(fd).st_mode
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(mode) else None
        self.fd = _own(fd) if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) else fd

    def write(self, level: str, event: Event) -> bool:
        """True when the line went out whole."""
        return self._send(self._line(level, event))

    def _line(self, level: str, event: Event) -> bytes:
        if self.journal:
            return b"<%d>" % PRIORITY[level] + _bytes(_key_value(event))
        text = _key_value(event)
        if self.terminal:
            name, _, rest = text.partition(" ")
            return _bytes(f"{_clock()} \x1b[{_COLOUR[level]}m{name:<18}\x1b[0m {rest}")
        return _bytes(f"{_stamp()} {level} {text}")

    def _send(self, line: bytes) -> bool:
        try:
            if self._socket is not None:
                return self._socket.send(line, socket.MSG_DONTWAIT) == len(line)
            return os.write(self.fd, line) == len(line)
        except OSError:
            return False

    def close(self) -> None:
        """Give back what was opened; the descriptor itself is not ours."""
        if self._socket is not None:
            self._socket.close()
        if self.fd != self._given:
            os.close(self.fd)


class _File:
    """`logfile=/path`: lines `[time|process|pid] text`, in a file that is not world-readable."""

    def __init__(self, path: str, process: str) -> None:
        self.path, self.process = path, process
        self.fd = _open(path)

    def write(self, level: str, event: Event) -> bool:
        """True when the line went out whole."""
        head = f"[{time.ctime()}|{self.process}|{os.getpid()}]"
        line = _bytes(f"{head} {level} {_key_value(event)}")
        try:
            return os.write(self.fd, line) == len(line)
        except OSError:
            return False

    def reopen(self) -> None:
        """Follow the name, after the old file was moved away. Raises OSError and keeps the old."""
        fd = _open(self.path)
        os.close(self.fd)
        self.fd = fd

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


class _Syslog:
    """`logfile=local0`: datagrams to the system's syslog, connected anew when it restarted."""

    def __init__(self, facility: str, process: str) -> None:
        if facility not in FACILITY:
            raise ValueError(f'unknown syslog facility "{facility}"')
        self.facility, self.process = FACILITY[facility], process
        self.socket: socket.socket | None = None

    def write(self, level: str, event: Event) -> bool:
        """True when the datagram was taken."""
        head = f"<{self.facility * 8 + PRIORITY[level]}>lvsd-{self.process}[{os.getpid()}]: "
        try:
            self._connected().send(_bytes(head + _key_value(event))[:-1], socket.MSG_DONTWAIT)
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
        self.dropped = 0
        self._unreported = 0

    def emit(self, level: str, event: Event) -> None:
        """Write one event everywhere; count it once when it got lost anywhere."""
        if not self._write(level, event):
            self.dropped += 1
            self._unreported += 1
        elif self._unreported and self._write("warning", _lines_dropped(self._unreported)):
            self._unreported = 0

    def _write(self, level: str, event: Event) -> bool:
        sinks = [sink for sink in (self.stderr, self.extra) if sink is not None]
        written = [sink.write(level, event) for sink in sinks]
        return all(written)


_sinks = _Sinks()


def configure(process: str, logfile: str = "") -> None:
    """Set logging up for this process; `process` is `vrrp`, `director` or `guard`.

    `logfile` is the configuration's value: a path, a syslog facility, or "" for stderr alone.
    Raises ValueError for an unknown facility, OSError when the file cannot be opened.
    """
    _sinks.process = process
    if _sinks.stderr is not None:
        _sinks.stderr.close()
    with contextlib.suppress(OSError):  # stderr may be closed: no reason to die
        _sinks.stderr = _Stderr(STDERR)
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _emit],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=False,
    )
    set_logfile(logfile)


def get(**fields: Any) -> Logger:
    """The logger, with `fields` bound. May be called at import time, before `configure`."""
    logger: Logger = structlog.get_logger(**fields)
    return logger


def set_logfile(logfile: str) -> None:
    """Follow a new `logfile=`; the old one is closed only once the new one is open.

    Raises ValueError for an unknown facility, OSError when the file cannot be opened.
    """
    new: _File | _Syslog | None = None
    if logfile.startswith("/"):
        new = _File(logfile, _sinks.process)
    elif logfile:
        new = _Syslog(logfile, _sinks.process)
    if _sinks.extra is not None:
        _sinks.extra.close()
    _sinks.extra = new


def reopen() -> None:
    """Open the log file again by name, after logrotate moved it (SIGHUP). Raises OSError."""
    if _sinks.extra is not None:
        _sinks.extra.reopen()


def relay(event: str, **fields: Any) -> None:
    """Write another process's event to `logfile=` alone; that process wrote it to stderr."""
    if _sinks.extra is not None:
        _sinks.extra.write("info", {"event": event, **fields})


def dropped() -> int:
    """Lines lost so far in this process because nobody read them fast enough."""
    return _sinks.dropped


def events_document() -> str:
    """docs/events.md: made from `EVENTS`, compared with the file by a test."""
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in EVENTS.items())
    return (
        "# Events\n\n"
        "What lvsd writes to its log: one line per event, the event's name first, its data as\n"
        "`key=value`. This page is made from the list in `lvsd/log.py`.\n\n"
        f"| event | meaning |\n|---|---|\n{rows}"
    )


def _emit(logger: Any, method: str, event: Event) -> Any:
    """structlog's last processor: writes, and tells structlog that nothing is left to do."""
    _sinks.emit(method if method in PRIORITY else "error", event)
    raise structlog.DropEvent


def _lines_dropped(count: int) -> Event:
    return {"event": "lines_dropped", "count": count}


def _key_value(event: Event) -> str:
    """`real_down real=192.0.2.4:80 reason="status 500"`: one line whatever the values hold."""
    fields = [
        _field(key, value) for key, value in event.items() if key not in ("event", "exception")
    ]
    text = " ".join([_printable(str(event.get("event", ""))), *fields])
    if "exception" in event:  # a crash is told in full, one line per line of the traceback
        text += " | " + " | ".join(map(_printable, str(event["exception"]).splitlines()))
    return text


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


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    return os.open(path, flags, 0o640)


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


def _stamp() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
