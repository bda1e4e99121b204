"""Many real servers of one machine, checked by lvsd and keepalived, which tell of every change.

A Crowd says what is checked and how; each daemon turns it into its configuration. On a kernel
without IPVS lvsd keeps its table in memory (--table=none) and logs each change of it;
keepalived's goes to the stub (noipvs.c), which notes the time. So both are seen from outside at
the same point: the table was told.
"""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from lvsd.control.client import request
from tests.bench.daemons import Job, Keepalived, Lvsd, family, library
from tests.lab.director import Director
from tests.lab.topology import Topology

#: Lines of lvsd's log: when, and what became of the table; of a real server.
_CHANGED = re.compile(r"^(\S+Z) info table_changed step=(?:\"(\d+) steps more\")?", re.MULTILINE)
_JUDGED = re.compile(r"^(\S+Z) \w+ real_(down|up) ", re.MULTILINE)

FIRST = "10.78.0.1:80"


@dataclass(frozen=True, slots=True)
class Crowd:
    """`reals` at port 80, `group` of them a service, asked every `interval` seconds.

    `http`: a request with a body expression, else only a connection. `failures` in a row take one
    out, after `timeout` seconds each when it is silent. `watch`: lvsd's watch=yes failfast=yes.
    `single`: a service of its own with the first address at port 81, by NAT, for with direct
    routing ipvsadm knows no other port than the service's. `weight` is that of the first
    real server, the others have 1.
    """

    reals: int
    group: int
    interval: int
    timeout: int = 5
    http: bool = True
    failures: int = 1
    watch: bool = False
    single: bool = False
    weight: int = 1
    scheduler: str = "wrr"

    def services(self) -> Iterator[tuple[str, list[str]]]:
        """The services with their real servers, all ADDRESS:PORT."""
        reals = [f"{address(n)}:80" for n in range(self.reals)]
        parts = [reals[at : at + self.group] for at in range(0, self.reals, self.group)]
        if self.single:
            parts.append([f"{address(0)}:81"])
        for number, part in enumerate(parts):
            yield f"10.79.{number // 250}.{1 + number % 250}:80", part

    def weigh(self, real: str) -> int:
        """The weight of a real server."""
        return self.weight if real == FIRST else 1


def address(number: int) -> str:
    """The address of a real server."""
    return f"10.78.{number // 250}.{1 + number % 250}"


def number(text: str) -> int:
    """The number of the real server with this address."""
    third, fourth = map(int, text.split(".")[2:])
    return third * 250 + fourth - 1


def lvsd_conf(crowd: Crowd) -> str:
    """The file that lvsd, and in a VM ldirectord, reads."""
    lines = [f"checkinterval={crowd.interval}", f"checktimeout={crowd.timeout}"]
    lines += [f"negotiatetimeout={crowd.timeout}", f"failurecount={crowd.failures}"]
    lines += ["quiescent=yes", "supervised=yes"]
    for service, reals in crowd.services():
        lines += [f"virtual={service}", f"\tscheduler={crowd.scheduler}", "\tprotocol=tcp"]
        method = "masq" if reals[0].endswith(":81") else "gate"
        lines += [f"\treal={real} {method} {crowd.weigh(real)}" for real in reals]
        if crowd.http:
            lines += ["\tservice=http", '\trequest="/"', '\treceive="healthy"']
        else:
            lines += ["\tchecktype=connect"]
        lines += ["\twatch=yes", "\tfailfast=yes"] if crowd.watch else []
    return "\n".join(lines) + "\n"


def keepalived_conf(crowd: Crowd) -> str:
    """The same in keepalived's language."""
    check = "HTTP_GET" if crowd.http else "TCP_CHECK"
    lines = []
    for service, reals in crowd.services():
        lines += [f"virtual_server {service.replace(':', ' ')} {{"]
        method = "NAT" if reals[0].endswith(":81") else "DR"
        lines += [f"  lvs_sched {crowd.scheduler}", f"  lvs_method {method}", "  protocol TCP"]
        lines += [f"  delay_loop {crowd.interval}"]
        for real in reals:
            lines += [
                f"  real_server {real.replace(':', ' ')} {{",
                f"    weight {crowd.weigh(real)}",
            ]
            lines += ["    inhibit_on_failure", f"    {check} {{"]
            lines += [f"      connect_timeout {crowd.timeout}", f"      retry {crowd.failures - 1}"]
            lines += [f"      delay_before_retry {crowd.interval}"]
            if crowd.http:
                lines += ["      url {", "        path /", "        status_code 200"]
                lines += ['        regex "healthy"', "      }"]
            lines += ["    }", "  }"]
        lines += ["}"]
    return "\n".join(lines) + "\n"


class CrowdLvsd(Lvsd):
    """lvsd on dirA. `table` as of --table=."""

    def __init__(self, lab: Topology, crowd: Crowd, table: str = "none") -> None:
        self.node, self.crowd = "dirA", crowd
        shutil.rmtree(lab.folder / "lvsd-dirA", ignore_errors=True)
        self.director = Director(lab, "dirA", lvsd_conf(crowd), table=table)

    def changes(self) -> Iterator[tuple[float, int]]:
        """When the table was told something (Unix time, to the millisecond), and of how many."""
        for line in _CHANGED.finditer(self.log()):
            yield _unix(line[1]), int(line[2] or 1)

    def outs(self) -> Iterator[tuple[float, int]]:
        """When a real server went out (1) or came back (-1), and (0) when the table was told."""
        _, _, log = self.log().partition(" ready\n")
        told = [(at, 0) for at, _ in self.changes()]
        judged = ((line[1], line[2] == "down") for line in _JUDGED.finditer(log))
        yield from sorted(told + [(_unix(stamp), 1 if down else -1) for stamp, down in judged])

    def weighed(self, weight: int) -> float:
        """When the table was told that the first real server has this weight, else infinite."""
        line = rf"^(\S+Z) info table_changed step=\"[^\"]* -r {FIRST} -g -w {weight}\"$"
        found = re.search(line, self.log(), re.MULTILINE)
        return _unix(found[1]) if found else float("inf")

    def reload(self, crowd: Crowd) -> None:
        """Take another configuration; returns when it is in force."""
        self.director.config.write_text(lvsd_conf(crowd))
        code, answer = request(str(self.director.socket), "POST", "/v1/reload", timeout=120.0)
        assert code == 200, answer


class CrowdKeepalived(Keepalived):
    """keepalived on dirA. `stub`: over the stub of IPVS, else on the kernel's."""

    def __init__(self, lab: Topology, crowd: Crowd, stub: bool = True) -> None:
        super().__init__(lab, "dirA", Job(reals=crowd.reals))
        self.config.write_text(keepalived_conf(crowd))
        self.crowd, self.stub = crowd, stub
        self.notes = Path(lab.folder / "keepalived-table")
        self.notes.unlink(missing_ok=True)

    def start(self) -> None:
        words = ["keepalived", "-n", "-l", "-C", "-G", "-f", str(self.config)]
        if self.stub:
            loaded = f"LD_PRELOAD={library(self.lab.folder)}"
            words = ["env", loaded, f"NOIPVS_LOG={self.notes}", *words]
        self.process = self.lab.spawn_peer("dirA", words)

    def changes(self) -> Iterator[tuple[float, int]]:
        """When the stub was told something (Unix time), each of one real server."""
        for at, _ in self._noted():
            yield at, 1

    def outs(self) -> Iterator[tuple[float, int]]:
        """As of CrowdLvsd, as the stub was told."""
        for at, weight in self._noted():
            yield at, -1 if weight > 0 else 1
            yield at, 0

    def weighed(self, weight: int) -> float:
        """As of CrowdLvsd; `weight` is no other real server's."""
        return min((at for at, now in self._noted() if now == weight), default=float("inf"))

    def _noted(self) -> Iterator[tuple[float, int]]:
        text = self.notes.read_text() if self.notes.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():
            at, weight = line.split()
            yield float(at), int(weight)

    def reload(self, crowd: Crowd) -> None:
        """Take another configuration; returns at once."""
        self.config.write_text(keepalived_conf(crowd))
        assert self.process is not None
        self.process.send(signal.SIGHUP)


#: An ipvsadm that accepts everything, notes it, and knows of nothing.
_STUB = """\
#!/bin/sh
case "$*" in
    *-L*) echo "IP Virtual Server version 1.2.1 (size=4096)" ;;
    *) echo "$*" >>{} ;;
esac
"""


class Ldirectord:
    """ldirectord of the lab's tree on dirA. `stub`: its ipvsadm only notes what it is told."""

    name = "ldirectord"

    def __init__(self, lab: Topology, crowd: Crowd, stub: bool = False) -> None:
        self.lab, self.crowd = lab, crowd
        self.config = lab.folder / "ldirectord.cf"
        self.config.write_text(lvsd_conf(crowd))
        self.notes = lab.folder / "ipvsadm-notes"
        self.notes.write_text("")
        self._weighed: float | None = None
        self.words: list[str | Path] = ["ldirectord", self.config, "start"]
        if stub:
            program = lab.folder / "ipvsadm"
            program.write_text(_STUB.format(self.notes))
            program.chmod(0o755)
            over = f'mount --bind {program} /usr/sbin/ipvsadm && exec "$0" "$@"'
            self.words = ["sh", "-c", over, *self.words]

    def start(self) -> None:
        self.process = self.lab.spawn_peer("dirA", self.words)

    def pids(self) -> list[int]:
        """Every process of it."""
        return family(self.process.pid)

    def log(self) -> str:
        return self.process.text()

    def weighed(self, weight: int) -> float:
        """As of CrowdLvsd, as the stub has noted it and this has looked."""
        told = f"-r {FIRST} -g -w {weight}\n" in self.notes.read_text()
        if told and self._weighed is None:
            self._weighed = time.time()
        return self._weighed or float("inf")

    def reload(self, crowd: Crowd) -> None:
        """Take another configuration; returns at once."""
        self.config.write_text(lvsd_conf(crowd))
        self._weighed = None
        self.process.send(signal.SIGHUP)

    def kill_everything(self) -> None:
        """It is killed with its whole group."""
        self.process.kill()


CrowdDaemon = CrowdLvsd | CrowdKeepalived


def told(daemon: CrowdDaemon, count: int, since: float) -> float:
    """When the table had been told of `count` changes after `since`; infinite before that."""
    for at, news in daemon.changes():
        count -= news if at >= since else 0
        if count <= 0:
            return at
    return float("inf")


def out(daemon: CrowdDaemon, level: int) -> float:
    """When the table was told last, if so many real servers have been out since; else infinite."""
    down, last = 0, float("inf")
    for at, change in daemon.outs():
        down += change
        if change:
            last = float("inf")
        elif down == level:
            last = at
    return last


def _unix(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def reweighted(crowd: Crowd, weight: int) -> Crowd:
    """The same with another weight of the first real server."""
    return replace(crowd, weight=weight)
