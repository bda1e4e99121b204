"""The Debian tree of the lab: the kernel, the peers and the Python that the VM runs.

mmdebstrap makes it in the cache folder ($LVSD_CACHE, else ~/.cache/lvsd-lab), under a key
that is the hash of what goes in; another key is another tree, and older ones are removed.
Beside the tree lies `root.img`, the same as an ext4 image: the VM boots from it, since a
block device is cached in the guest and a shared folder is not. lvsd's dependencies are
installed for the tree's Python and compiled beforehand. Nothing here needs root; a tree
made by root can also be entered with chroot, which is how peers run in namespaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.user import MARK

CHECKOUT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
FORMAT = "2"
PYTHON = "3.11"
PACKAGES = (
    *("busybox-static", "dbus", "kmod", "linux-image-amd64", "procps", "python3"),
    *("systemd", "systemd-sysv"),
    *("iproute2", "iptables", "iputils-ping", "nftables", "ethtool", "tcpdump"),
    *("frr", "ipvsadm", "keepalived", "ldirectord"),
    *("curl", "nginx-light"),
)
SITE = Path("opt/lvsd/site")
IMAGE_SIZE = "3G"


class LabError(Exception):
    """The lab cannot be built or booted; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A finished tree: `root` is the folder, `image` the same as a disk for the VM."""

    base: Path

    @property
    def root(self) -> Path:
        return self.base / "tree"

    @property
    def image(self) -> Path:
        return self.base / "root.img"

    @property
    def tools(self) -> Path:
        """Folder with the tree's `modprobe`, for hosts that have none."""
        return self.base / "bin"

    @property
    def kernel(self) -> Path:
        return sorted((self.root / "boot").glob("vmlinuz-*"))[-1]

    def program(self, path: str, *, name: str | None = None) -> list[str]:
        """The words that run a program of the tree on the host, without chroot."""
        libraries = self.root / "usr/lib/x86_64-linux-gnu"
        loader = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
        return [*loader, *(["--argv0", name] if name else []), str(self.root / path)]

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the tree's Python on the host."""
        env = {**os.environ, "PYTHONHOME": str(self.root / "usr")}
        return run([*self.program(f"usr/bin/python{PYTHON}"), *words], env=env)


def cache() -> Path:
    """The cache folder."""
    if named := os.environ.get("LVSD_CACHE"):
        return Path(named).resolve()
    return Path.home() / ".cache/lvsd-lab"


def key() -> str:
    """Names what the tree is made of; any change gives another key."""
    lock = (CHECKOUT / "requirements.lock").read_bytes()
    words = "\n".join((FORMAT, SUITE, PYTHON, IMAGE_SIZE, *PACKAGES)).encode()
    return hashlib.sha256(words + lock).hexdigest()[:16]


def run(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end; LabError with the last lines of its output when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise LabError(f"{command[0]} failed with status {done.returncode}:\n{tail}")
    return done


@contextlib.contextmanager
def phase(text: str) -> Iterator[None]:
    """Say on stderr what is being done, and how long it took."""
    started = time.monotonic()
    on_terminal = sys.stderr.isatty()
    print(f"lab: {text} ...", end="" if on_terminal else "\n", file=sys.stderr, flush=True)
    yield
    took = f"{time.monotonic() - started:.0f} s"
    print(f" {took}" if on_terminal else f"lab: {text}: {took}", file=sys.stderr, flush=True)


def find() -> Tree | None:
    """The tree, when it is there already."""
    base = cache() / key()
    return Tree(base) if (base / "root.img").exists() else None


def ensure() -> Tree:
    """The tree, built first when it is missing. Raises LabError."""
    if tree := find():
        return tree
    if platform.machine() != "x86_64":
        raise LabError(f"the lab's tree is for x86_64, this machine is {platform.machine()}")
    for program in ("mmdebstrap", "mke2fs"):
        if not which(program):
            raise LabError(f"{program} is not installed; run tests/lab/setup.sh")
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return find() or build()


def build() -> Tree:
    """Build beside the final place, then rename: a killed build leaves no half tree."""
    if MARK in os.environ:
        raise LabError("the lab's tree is not there; `make tree` builds it")
    for old in cache().glob(".building-*"):
        remove(old)
    tree = Tree(cache() / f".building-{os.getpid()}")
    tree.base.mkdir()
    try:
        with phase(f"Debian {SUITE} with kernel and peers (once, about two minutes)"):
            bootstrap(tree)
        with phase("lvsd's dependencies for it"):
            install(tree)
        with phase("disk image for the VM"):
            make_image(tree)
        tree.base.rename(cache() / key())
    except BaseException:
        remove(tree.base)
        raise
    for entry in cache().iterdir():
        # The tree of `servers` has its own key and its own builder.
        if entry.is_dir() and entry.name != key() and not entry.name.startswith("servers-"):
            remove(entry)
    return Tree(cache() / key())


def remove(folder: Path) -> None:
    """Remove a tree, unless something is mounted in it."""
    if str(folder.resolve()) + "/" in Path("/proc/self/mounts").read_text():
        raise LabError(f"something is mounted below {folder}; unmount it first")
    shutil.rmtree(folder)


def bootstrap(tree: Tree) -> None:
    """mmdebstrap; without root through a tar file, so that the files are the user's own."""
    options = [
        *("--variant=apt", f"--include={','.join(PACKAGES)}"),
        *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
    ]
    if os.geteuid() == 0:
        run(["mmdebstrap", *options, SUITE, tree.root])
        return
    archive = tree.base / "tree.tar"
    tree.root.mkdir()
    run(["mmdebstrap", *options, SUITE, archive])
    run(["tar", "-x", "--exclude=./dev/*", "-f", archive, "-C", tree.root])
    archive.unlink()
    run(["chmod", "-R", "u+rwX", tree.root])


def install(tree: Tree) -> None:
    """The locked dependencies as wheels for the tree's Python, and everything compiled."""
    tag = f"cp{PYTHON.replace('.', '')}"
    platforms = [f"--platform={name}_x86_64" for name in ("manylinux2014", "manylinux_2_28")]
    run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", tree.root / SITE, "--no-compile", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"),
            *(f"--abi={tag}", "--abi=abi3", "--abi=none", *platforms),
            *("-r", CHECKOUT / "requirements.lock"),
        ]
    )
    # Tests start the peers; nothing of them may come up by itself in a boot with systemd.
    for name in ("frr", "ipvsadm", "keepalived", "ldirectord", "nginx"):
        for unit in (tree.root / "etc/systemd/system").glob(f"*/{name}.service"):
            unit.unlink()
        (tree.root / f"lib/systemd/system/{name}.service").unlink(missing_ok=True)
    compile_all(tree, tree.root, tree.root / SITE, tree.root / f"usr/lib/python{PYTHON}")
    tree.tools.mkdir()
    here = '"$(cd "$(dirname "$0")/.." && pwd)"'
    words = " ".join(Tree(Path("$base")).program("usr/bin/kmod", name="modprobe"))
    shim = tree.tools / "modprobe"
    shim.write_text(f'#!/bin/sh\nbase={here}\nexec {words} "$@"\n')
    shim.chmod(0o755)


def compile_all(tree: Tree, strip: Path, *folders: Path, prefix: str = "/") -> None:
    """Byte code that is never compared with its source: no stat per module in the guest."""
    tree.python(
        *("-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash"),
        *("-s", str(strip), "-p", prefix),
        *map(str, folders),
    )


def make_image(tree: Tree) -> None:
    """The tree as an ext4 image; sparse, so only what is used takes space."""
    run(
        [
            *(which("mke2fs") or "mke2fs", "-q", "-t", "ext4", "-d", tree.root, "-m", "0"),
            *("-O", "^has_journal", "-N", "200000", tree.image, IMAGE_SIZE),
        ]
    )


def which(program: str) -> str | None:
    """Find a program also where an ordinary user's PATH does not look."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(program, path=path)


def main() -> int:
    """Build the tree when it is missing and print where it is."""
    try:
        print(ensure().root)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
