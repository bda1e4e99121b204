"""The processes that a process has started, read from /proc: a bare system has no `ps`."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> dict[int, tuple[str, str]]:
    """Process id → name and command line of each child, in the order of their start."""
    found = {}
    for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            name = Path(f"/proc/{word}/comm").read_text().strip()
            line = Path(f"/proc/{word}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        found[int(word)] = name, line
    return found
