"""The configuration that is running, as the runtime directory has it for a child that is restarted.

The first line of `last-good.conf` names the main process it belongs to, for only a child restarted
by that very process goes on with it; the second says which files it was made of. The rest is the
configuration in normal form.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from lvsd.daemon.watch import Signature

_FIRST_LINE = "# the configuration that is running under process "


class Running(msgspec.Struct, frozen=True):
    """Of the running configuration, what its normal form does not hold."""

    sha256: str = ""
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seen: Signature = {}


class LastGood:
    """The file of one daemon, whose main process was started at `since` (Unix time)."""

    def __init__(self, runtime_dir: str, since: float) -> None:
        self.path = Path(runtime_dir) / "last-good.conf"
        self._first_line = f"{_FIRST_LINE}{os.getppid()}, started at {since!r}\n"

    def about(self) -> Running | None:
        """About the configuration this very daemon was running, None when there is none."""
        try:
            with self.path.open("rb") as file:
                owner, about = file.readline(), file.readline()
            if owner != self._first_line.encode():
                return None
            return msgspec.convert(json.loads(about.removeprefix(b"# ")), Running)
        except (OSError, ValueError):
            return None

    def content(self, text: str, running: Running) -> bytes:
        """The file that holds a configuration in normal form."""
        about = json.dumps(msgspec.to_builtins(running))  # ASCII, whatever bytes a path holds
        return f"{self._first_line}# {about}\n{text}".encode()

    def text(self) -> str:
        """The configuration in normal form. Raises OSError."""
        return self.path.read_text().split("\n", 2)[2]
