"""Runs one command on a kernel with IPVS: `python -m tests.lab.run [OPTIONS] -- COMMAND...`.

Here, when the running kernel has IPVS and we are root; else in the lab's VM. Output and exit
status are the command's. Status 125 means that the lab could not run it, and says why.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.reaper import Reaper, kill_group
from tests.lab.tree import CHECKOUT, LabError, ensure, which
from tests.lab.user import is_root
from tests.lab.vm import Follower, Vm, check_possible

LAB_FAILED = 125


def native() -> bool:
    """Whether this kernel has IPVS and we may use it (a module is loaded if need be)."""
    forced = os.environ.get("LVSD_LAB_VM") and not os.environ.get("LVSD_IN_VM")
    if not is_root() or forced:
        return False
    proc = Path("/proc/net/ip_vs")
    if not proc.exists() and (modprobe := which("modprobe")):
        subprocess.run([modprobe, "-q", "ip_vs"], capture_output=True, check=False)
    return proc.exists()


def run_here(command: list[str], timeout: float) -> int:
    """Run natively, with the checkout as working directory and a time limit."""
    reaper = Reaper()
    process = subprocess.Popen(command, cwd=CHECKOUT, process_group=0)
    reaper.add("group", process.pid)
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise LabError(f"{command[0]} hit its time limit of {timeout:.0f} s") from None
    finally:
        kill_group(process.pid)
        process.wait()
        reaper.close()
    return status if status >= 0 else 128 - status


def run_in_vm(
    command: list[str],
    timeout: float,
    systemd: bool = False,
    beside: Callable[[Vm], None] | None = None,
) -> int:
    """Boot the VM, run, pass everything through; `beside` runs in a thread of its own."""
    check_possible()
    tree = ensure()
    started = time.monotonic()
    print("lab: booting a kernel with IPVS ...", file=sys.stderr, flush=True)
    # The guest's python is the tree's, whatever the caller's is called.
    words = ["python3" if word == sys.executable else word for word in command]
    with Vm(tree, words, timeout=timeout, systemd=systemd) as vm:
        out = Follower(vm.folder / "stdout", sys.stdout.buffer)
        err = Follower(vm.folder / "stderr", sys.stderr.buffer)
        booted = False
        if beside is not None:
            threading.Thread(target=beside, args=(vm,), daemon=True).start()

        def look() -> None:
            nonlocal booted
            if not booted and (vm.folder / "booted").exists():
                booted = True
                took = time.monotonic() - started
                print(f"lab: booted after {took:.0f} s", file=sys.stderr, flush=True)
            out()
            err()

        return vm.follow(look)


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.run", description=__doc__)
    parser.add_argument("--vm", action="store_true", help="in the VM even if IPVS is here")
    parser.add_argument("--systemd", action="store_true", help="boot the VM with systemd")
    parser.add_argument("--timeout", type=float, default=2400.0, help="seconds (%(default)s)")
    parser.add_argument("--tree-only", action="store_true", help="only build the tree")
    parser.add_argument("command", nargs="*", metavar="COMMAND")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if options.tree_only:
            ensure()
            return 0
        if not options.command:
            parser.error("no command given")
        if native() and not options.vm and not options.systemd:
            return run_here(options.command, options.timeout)
        return run_in_vm(options.command, options.timeout, options.systemd)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return LAB_FAILED


if __name__ == "__main__":
    sys.exit(main())
