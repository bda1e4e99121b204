"""Programs of the lab's Debian tree (keepalived, FRR, ldirectord, tcpdump, ...) on the host.

The tree is entered with chroot, in a mount namespace of its own with the host's /proc and /dev,
fresh /run, /tmp, /var/log and /var/tmp, and one folder of the host's at its own path. In the VM
the tree is the root file system, and nothing is entered.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.lab.tree import ensure


def words(command: Sequence[str | Path], shared: Path) -> list[str]:
    """The words that run a program of the tree, which finds `shared` where the host has it."""
    given = [str(word) for word in command]
    if os.environ.get("LVSD_IN_VM"):
        return given
    folder = shlex.quote(str(shared))
    script = [
        "set -e",
        f"cd {shlex.quote(str(ensure().root))}",
        "mount --rbind /dev dev; mount -t proc proc proc; mount -t sysfs sys sys",
        "for d in run tmp var/log var/tmp; do mount -t tmpfs tmpfs $d; done",
        "mkdir -p run/lock",
        f"mkdir -p .{folder} && mount --bind {folder} .{folder}",
        'exec chroot . "$@"',
    ]
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    unshare = ["unshare", "-m", "--propagation", "private", "sh", "-c", "\n".join(script)]
    return [*unshare, "peer", "/usr/bin/env", path, *given]
