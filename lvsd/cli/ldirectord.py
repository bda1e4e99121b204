"""`lvsd ldirectord [-d] [FILE] VERB`: ldirectord's command line and exit codes.

An init script, a haresources line or a cluster agent works when the program's path is replaced, or
when `ldirectord` is a link to `lvsd`. Each file has a daemon of its own, named after the file's
base name; it keeps its pid in the place where ldirectord keeps it.

Differs on purpose: `start` answers once the daemon serves, and `stop` once it has ended; a broken
or missing file keeps nobody from `stop` and `status`; without FILE and with `ldirectord.cf` it is
the same daemon.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from lvsd import __version__, config
from lvsd.control import client
from lvsd.core.model import Config
from lvsd.core.record import dataclass

USAGE = 255
DEFAULT = "ldirectord.cf"
#: Where a file is looked for, before the name as it is (ldirectord's order).
FOLDERS = ("/etc/ha.d", "/etc/ha.d/conf")
LOGFILE = "/var/log/ldirectord.log"
#: Seconds a daemon may take to serve, and to end.
PATIENCE = 60.0
_INTERVAL = 0.05

_HELP = """\
usage: lvsd ldirectord [-d] [FILE] VERB
  VERB  start, stop, restart, try-restart, reload, force-reload, status or configtest
  FILE  looked for in /etc/ha.d and /etc/ha.d/conf, then as given (default ldirectord.cf)
  -d    stay in the foreground
  -v    print the version"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where daemons keep their things; ldirectord's own places unless told otherwise."""

    run: str = "/run"
    state: str = "/var/lib/lvsd"
    table: str = "kernel"


@dataclass(frozen=True, slots=True)
class Instance:
    """The daemon of one file."""

    file: str
    places: Places

    @property
    def name(self) -> str:
        """`ldirectord.NAME`, NAME being the file's base name."""
        return f"ldirectord.{os.path.basename(self.file)}"

    @property
    def pidfile(self) -> str:
        """The file with the daemon's process id."""
        return os.path.join(self.places.run, f"{self.name}.pid")

    @property
    def folder(self) -> str:
        """The daemon's runtime directory."""
        return os.path.join(self.places.run, self.name)

    @property
    def socket(self) -> str:
        """The daemon's control socket."""
        return os.path.join(self.folder, "lvsd.sock")

    def command(self) -> list[str]:
        """What runs the daemon."""
        return [
            *(sys.executable, "-m", "lvsd", "run", "--config", self.file),
            *("--socket", self.socket, "--runtime-dir", self.folder),
            *("--state-dir", os.path.join(self.places.state, self.name)),
            *("--table", self.places.table),
        ]

    def pid(self) -> int | None:
        """The running daemon. None where there is none, also when the pid file is stale."""
        try:
            with open(self.pidfile, encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as command:
                words = command.read().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if self.socket.encode() in words else None


def run(words: Sequence[str], places: Places | None = None) -> int:
    """One call of ldirectord; its exit status."""
    options = [word for word in words if word.startswith("-")]
    names = [word for word in words if not word.startswith("-")]
    if options == ["-v"]:
        print(f"lvsd {__version__}")
        return 0
    if not 1 <= len(names) <= 2 or names[-1] not in VERBS or options not in ([], ["-d"]):
        print(_HELP, file=sys.stderr)
        return USAGE
    *given, verb = names
    try:
        return _call(given, verb, bool(options), places or Places())
    except OSError as error:  # not root, or a folder that cannot be written
        where = f"{error.filename}: " if error.filename else ""
        print(f"lvsd: {where}{error.strerror}", file=sys.stderr)
        return 1


def _call(given: Sequence[str], verb: str, foreground: bool, places: Places) -> int:
    instance = Instance(_found(given[0] if given else DEFAULT), places)
    if verb == "status":
        return _status(instance)
    if verb == "stop":
        with _alone(instance):
            return _stop(instance)
    if not os.path.exists(instance.file):
        print(f"Config file {instance.file} not found", file=sys.stderr)
        return 1
    loaded = _load(instance.file)
    if loaded is None:
        return 2
    if verb == "start" and (foreground or loaded.supervised):
        os.execv(sys.executable, instance.command())
    if verb == "configtest":
        return 0
    with _alone(instance):
        return _VERBS[verb](instance)


@contextlib.contextmanager
def _alone(instance: Instance) -> Iterator[None]:
    """While no other call starts or stops this daemon: it is waited for. Raises OSError.

    The lock is on the file, not in it, so it ends with us; the daemon does not inherit it.
    """
    if not os.path.isdir(instance.places.run):
        yield
        return
    fd = os.open(f"{instance.pidfile}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _found(name: str) -> str:
    places = (os.path.join(folder, name) for folder in FOLDERS)
    return next((path for path in places if os.path.isfile(path)), os.path.abspath(name))


def _load(path: str) -> Config | None:
    try:
        return config.load(path)
    except config.ConfigError as error:
        for line in error.errors:
            print(line, file=sys.stderr)
        return None


def _start(instance: Instance) -> int:
    if instance.pid() is not None:
        return 0
    os.makedirs(instance.folder, mode=0o750, exist_ok=True)
    with open(instance.pidfile, "w", encoding="ascii") as file:
        try:
            pid = _spawn(instance)
        except OSError:
            os.unlink(instance.pidfile)
            raise
        file.write(f"{pid}\n")
    if _until(lambda: _ended(pid) or _serves(instance)) and not _ended(pid):
        return 0
    if not _ended(pid):
        os.kill(pid, signal.SIGTERM)
        _until(lambda: _ended(pid))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(instance.pidfile)
    print(f"lvsd did not start for {instance.file}; see {_logfile(instance)}", file=sys.stderr)
    return 1


def _spawn(instance: Instance) -> int:
    """Run the daemon in a session of its own; its process id. Raises OSError."""
    path, flags = _logfile(instance), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    command = [*instance.command(), "--stderr-path", path]
    output = os.open(path, flags, 0o640)
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    try:
        with contextlib.chdir("/"):  # not to hold somebody's file system
            return os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)
    finally:
        os.close(output)


def _ended(pid: int) -> bool:
    """Whether our child is no more."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _stop(instance: Instance) -> int:
    pid = instance.pid()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not _until(lambda: instance.pid() is None):
            print(f"lvsd with pid {pid} does not end", file=sys.stderr)
            return 1
    with contextlib.suppress(FileNotFoundError):
        os.unlink(instance.pidfile)
    return 0


def _restart(instance: Instance) -> int:
    return _stop(instance) or _start(instance)


def _try_restart(instance: Instance) -> int:
    return 0 if instance.pid() is None else _restart(instance)


def _reload(instance: Instance) -> int:
    pid = instance.pid()
    if pid is None:
        return 1
    os.kill(pid, signal.SIGHUP)
    return 0


def _status(instance: Instance) -> int:
    pid = instance.pid()
    if pid is not None:
        print(f"ldirectord for {instance.file} is running with pid: {pid}", file=sys.stderr)
        return 0
    stale = os.path.exists(instance.pidfile)
    if stale:
        text = f"ldirectord stale pid file {instance.pidfile} for {instance.file}"
        print(text, file=sys.stderr)
    print(f"ldirectord is stopped for {instance.file}")
    return 1 if stale else 3


#: Those that need a good file and nobody else at work.
_VERBS: dict[str, Callable[[Instance], int]] = {
    "start": _start,
    "restart": _restart,
    "try-restart": _try_restart,
    "reload": _reload,
    "force-reload": _reload,
}


VERBS = frozenset((*_VERBS, "stop", "status", "configtest"))


def _logfile(instance: Instance) -> str:
    """Where lines go that `logfile=` does not take: ldirectord's default."""
    return LOGFILE if instance.places == Places() else os.path.join(instance.folder, "log")


def _serves(instance: Instance) -> bool:
    try:
        status, _ = client.request(instance.socket, "GET", "/v1/status")
    except client.Unreachable:
        return False
    return status == 200


def _until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; whether it came true in time."""
    give_up_at = time.monotonic() + PATIENCE
    while time.monotonic() < give_up_at:
        if condition():
            return True
        time.sleep(_INTERVAL)
    return condition()
