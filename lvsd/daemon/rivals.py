"""Who else might be writing the IPVS table of this host."""

from __future__ import annotations

import os
from pathlib import Path

#: Programs known to write it, by the names of their processes or of the scripts they run.
KNOWN = ("keepalived", "ldirectord", "kube-proxy", "kube-router", "surealived", "pulse", "lvsd")


def rivals(proc: Path = Path("/proc")) -> list[str]:
    """`name (pid)` of each such process outside our own family; unreadable entries are skipped."""
    family = {os.getpid(), os.getppid()}
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdigit() or int(folder.name) in family:
            continue
        try:
            name = (folder / "comm").read_text().strip()
            words = (folder / "cmdline").read_bytes().split(b"\0")[:2]
        except OSError:
            continue  # it has ended meanwhile
        names = {name, *(os.path.basename(word).decode("utf-8", "replace") for word in words)}
        found += [f"{known} ({folder.name})" for known in KNOWN if known in names]
    return sorted(found)
