"""A second Debian tree with the servers that checks ask, built when a test first needs it.

It lies beside the lab's tree under a key of its own, so that neither is built anew for the other's
sake. It has no kernel and is never booted: a server runs by chroot in an overlay of the tree, in
mount and process namespaces of its own, listens on this machine's loopback, and is gone with all it
wrote when its test ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab.tree import SUITE, cache, phase, remove, run

FORMAT = "1"
PREFIX = "servers-"
PACKAGES = (
    *(
        "dovecot-imapd",
        "dovecot-pop3d",
        "freeradius",
        "kamailio",
        "leafnode",
        "mariadb-server-core",
    ),
    *("nginx-light", "openbsd-inetd", "postfix", "postgresql-15", "slapd", "tinyproxy", "unbound"),
    "vsftpd",
)

#: $1 the tree, $2 a folder for the overlay, $3 a folder to be seen as /mnt, $4 what to run.
_ENTER = """
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount --bind "$3" "$2/root/mnt"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
chroot "$2/root" /bin/sh -ec "$4" &
wait
"""


def key() -> str:
    """Names what the tree is made of."""
    words = "\n".join((FORMAT, SUITE, *PACKAGES)).encode()
    return PREFIX + hashlib.sha256(words).hexdigest()[:16]


def ensure() -> Path:
    """The tree, built first when it is missing. Raises LabError. Needs root."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache() / key()).exists():
            _build(cache() / f".building-{key()}")
    return cache() / key()


def _build(folder: Path) -> None:
    if folder.exists():
        remove(folder)
    for old in cache().glob(f"{PREFIX}*"):
        remove(old)
    with phase("Debian with servers to check (once, about two minutes)"):
        run(
            [
                *("mmdebstrap", "--variant=apt", f"--include={','.join(PACKAGES)}"),
                "--dpkgopt=path-exclude=/usr/share/doc/*",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                *(SUITE, folder),
            ]
        )
    folder.rename(cache() / key())


@contextlib.contextmanager
def running(tree: Path, script: str, folder: Path) -> Iterator[None]:
    """A shell script under way in an overlay of the tree; /mnt there is `folder`.

    What it says is in `folder`/log.
    """
    overlay = folder / "overlay"
    overlay.mkdir()
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*spaces, "sh", "-ec", _ENTER, "sh", tree, overlay, folder, script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the first process of the namespace: with it all others die before `unshare` ends."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in children or [str(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    process.wait()
