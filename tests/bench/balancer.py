"""keepalived as the balancer of a table without checks: how long it takes to load and to reload.

Its checker process alone, in the network namespace of the bench. What it has done is read where
that is cheapest, in /proc/net/ip_vs.
"""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lvsd.core.model import ServiceEntry, Table
from tests.lab.topology import wait_until

PROC = Path("/proc/thread-self/net/ip_vs")
#: Seconds between two looks, and until it has failed.
INTERVAL, PATIENCE = 0.02, 120.0


def measure(table: Table, changed: Table) -> dict[str, float]:
    """Seconds from start to the whole table, and from the signal to that of the `changed` one.

    The change is a weight that no other real server has. Leaves the table as it is found.
    """
    count = sum(len(entry.destinations) for entry in table.values())
    weights = {d.weight for e in table.values() for d in e.destinations.values()}
    (weight,) = {d.weight for e in changed.values() for d in e.destinations.values()} - weights
    with tempfile.TemporaryDirectory(prefix="lvsd-bench-") as folder:
        file, log = Path(folder, "keepalived.conf"), Path(folder, "log")
        file.write_text(conf(table))
        words = ["keepalived", "--check", "-n", "-l", "-D", "-f", str(file)]
        words += ["-p", f"{folder}/pid", "-c", f"{folder}/checkers.pid"]
        began = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(words, stdout=out, stderr=out)
        try:
            load = seen(lambda data: data.count(b"\n  -> ") == count + 1, "a full table") - began
            file.write_text(conf(changed))
            began = time.monotonic()
            process.send_signal(signal.SIGHUP)
            pattern = re.compile(rb"Route +%d " % weight)
            reload = seen(lambda data: bool(pattern.search(data)), "the new weight") - began
        except AssertionError as failed:
            raise AssertionError(f"{failed}: {log.read_text()[-2000:]}") from failed
        finally:
            process.terminate()
            process.wait(PATIENCE)
    return {"apply": load, "reload": reload}


def seen(wanted: Callable[[bytes], bool], what: str) -> float:
    """When the kernel's table was first found so."""
    wait_until(lambda: wanted(PROC.read_bytes()), PATIENCE, what, interval=INTERVAL)
    return time.monotonic()


def conf(table: Table) -> str:
    """The table in keepalived's language."""
    lines = ["global_defs {", "  router_id bench", "}"]
    for entry in table.values():
        lines += service(entry)
    return "\n".join(lines) + "\n"


def service(entry: ServiceEntry) -> list[str]:
    """One service of it."""
    key = entry.service.key
    lines = [f"virtual_server {key.address} {key.port} {{", "  lvs_method DR", "  protocol TCP"]
    lines.append(f"  lvs_sched {entry.service.scheduler}")
    for destination in entry.destinations.values():
        where = f"{destination.key.address} {destination.key.port}"
        lines.append(f"  real_server {where} {{\n    weight {destination.weight}\n  }}")
    return [*lines, "}"]
