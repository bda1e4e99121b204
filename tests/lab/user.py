"""Root for an ordinary user: the tests run in a user namespace, where the user is root.

There network namespaces, raw sockets and mounts are the user's to make, and whoever asks sees
user 0; /run is empty and the loopback is up. What it cannot give: IPVS, which wants the machine's
own root, and programs that belong to root (they seem to belong to nobody). Such tests run in the
VM. The system must allow user namespaces to ordinary users, as mmdebstrap needs them as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

UNSHARE = (
    *("unshare", "--user", "--map-root-user", "--map-auto", "--net", "--mount"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)
# The shell stays as process 1, which takes in orphans.
INSIDE = 'mount -t tmpfs tmpfs /run && ip link set lo up && "$@"; exit $?'
#: Set inside.
MARK = "LVSD_AS_ROOT"
PATH = ":/usr/local/sbin:/usr/sbin:/sbin"


def is_root() -> bool:
    """Whether we are the machine's own root, not only that of a user namespace."""
    return os.geteuid() == 0 and not in_namespace()


def in_namespace() -> bool:
    """Whether the user numbers here are not the machine's."""
    words = Path("/proc/self/uid_map").read_text().split()
    return words != ["0", "0", str(2**32 - 1)]


def possible() -> bool:
    """Whether this user may make such a namespace."""
    if not shutil.which("unshare") or not shutil.which("newuidmap"):
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


def become_root(command: Sequence[str]) -> NoReturn:
    """Run the command in the place of this process, as root of a namespace."""
    env = {**os.environ, "PATH": os.environ.get("PATH", "") + PATH, MARK: "1"}
    os.execvpe("unshare", [*UNSHARE, "sh", "-c", INSIDE, "sh", *command], env)
