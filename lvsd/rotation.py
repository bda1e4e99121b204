"""Following the name of a log file: logrotate moves the file away and tells nobody.

Writers keep their descriptor and ask nothing. A thread looks once a second whether the name still
leads to the open file. If not, it opens the name and puts the new file in the descriptor's place
(dup2(2)), between two lines. A disk that hangs holds up this thread alone.
"""

from __future__ import annotations

import contextlib
import os
import threading

#: Seconds between two looks at the name.
INTERVAL = 1.0
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def open_log(path: str) -> int:
    """Open a file for appending, not readable by everybody if it is new. Raises OSError."""
    return os.open(path, _FLAGS, 0o640)


def leads_to(path: str, fd: int) -> bool:
    """Whether a name leads to the file that is open. Raises OSError for a bad descriptor."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


class Follower:
    """Keeps a descriptor at the file that `path` names, until it is closed."""

    def __init__(self, path: str, fd: int) -> None:
        self._path, self._fd = path, fd
        self._over = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._work, name="rotation", daemon=True).start()

    def reopen(self) -> None:
        """Open the name now. Raises OSError and keeps the old file."""
        new = open_log(self._path)
        try:
            with self._lock:
                if not self._over.is_set():
                    os.dup2(new, self._fd, inheritable=os.get_inheritable(self._fd))
        finally:
            os.close(new)

    def close(self) -> None:
        """Leave the descriptor alone from now on; it may be closed then."""
        with self._lock:
            self._over.set()

    def _work(self) -> None:
        while not self._over.wait(INTERVAL):
            with contextlib.suppress(OSError):  # it is tried again in a second
                if not leads_to(self._path, self._fd):
                    self.reopen()
