"""lvsd and keepalived with the same job, behind one face.

A Job says what both do: a virtual router, HTTP checks of a farm, or both. Each daemon turns it
into its configuration. On a kernel without IPVS lvsd runs with --table=none; keepalived's
checkers would exit there, so a preloaded library (noipvs.c) tells them that the table accepts
everything.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvsd.control.client import request
from tests.lab.director import Director
from tests.lab.family import children
from tests.lab.topology import Process, Topology, wait_until

VIP = "10.77.0.100"
#: The priority of the processes that speak VRRP: what lvsd's unit gives it (LimitRTPRIO=).
REAL_TIME = 1
REAL_TIME_NOTE = (
    f"What speaks VRRP has real-time priority {REAL_TIME} on both sides, as lvsd's unit gives it "
    "(keepalived: `vrrp_rt_priority`), so that other work on the machine weighs less."
)
VRID = 51
#: Seconds in which keepalived reloads 40,000 real servers here, twice over.
RELOAD_TIME = 2.0
PRIORITIES = {"dirA": 150, "dirB": 100}
#: The priority of a router that owns its addresses: master without asking anybody.
OWNER = 255
SOURCES = {"dirA": "10.77.0.11", "dirB": "10.77.0.12"}


@dataclass(frozen=True, slots=True)
class Job:
    """A router with adverts every `advertint` seconds (0: none), and checks of `reals`.

    Every `interval` seconds one HTTP request with a body expression to each real server of each
    service. `services` share the same reals if `shared`, else each has its part of them; the last
    `tls` of them ask over TLS. `idle_reals` more of `weight` are in the table without a check, 100
    a service. `checkers` is lvsd's. The router is the `owner` of its address, or has the priority
    of its node.
    """

    advertint: float = 0.0
    reals: int = 0
    services: int = 1
    shared: bool = False
    interval: int = 1
    tls: int = 0
    idle_reals: int = 0
    weight: int = 1
    checkers: int = 0
    owner: bool = False

    @property
    def priorities(self) -> dict[str, int]:
        """The router's priority by node."""
        return dict.fromkeys(PRIORITIES, OWNER) if self.owner else PRIORITIES

    @property
    def version(self) -> int:
        """VRRP 2 where it can say the interval, as both daemons would by themselves."""
        return 2 if self.advertint >= 1 else 3

    def farm(self) -> Iterator[tuple[str, list[str]]]:
        """The services: address of the service, addresses of its real servers."""
        addresses = [f"10.78.{n // 250}.{1 + n % 250}" for n in range(self.reals)]
        part = self.reals if self.shared else -(-self.reals // self.services)
        for number in range(self.services if self.reals else 0):
            start = 0 if self.shared else number * part
            yield f"10.79.{number // 250}.{1 + number % 250}", addresses[start : start + part]

    def port(self, number: int) -> int:
        """Where the services ask, in the order of `farm`."""
        return 443 if number >= self.services - self.tls else 80

    def idle(self) -> Iterator[tuple[str, list[str]]]:
        """The services without checks."""
        for number in range(self.idle_reals // 100):
            part = f"10.81.{number // 2}"
            reals = [f"{part}.{1 + number % 2 * 100 + n}" for n in range(100)]
            yield f"10.80.{number // 250}.{1 + number % 250}", reals


def lvsd_conf(job: Job) -> str:
    """The job in lvsd's language."""
    lines = [f"checkinterval={job.interval}"]
    lines += [f"checkers={job.checkers}"] * bool(job.checkers)
    if job.advertint:
        priorities = ",".join(f"{node}:{value}" for node, value in job.priorities.items())
        lines += ["vrrp=VI_1", "\tinterface=eth0", f"\tvirtualrouterid={VRID}"]
        lines += [f"\tversion={job.version}", f"\tpriority={priorities}"]
        lines += [f"\tadvertint={job.advertint:g}", f"\taddress={VIP}"]
    for number, (service, reals) in enumerate(job.farm()):
        port = job.port(number)
        lines += [f"virtual={service}:{port}", *(f"\treal={real}:{port} gate" for real in reals)]
        lines += [f"\tservice={'https' if port == 443 else 'http'}", "\tnegotiatetimeout=5"]
        lines += ['\trequest="/"', '\treceive="healthy"']
    for service, reals in job.idle():
        lines += [f"virtual={service}:80"]
        lines += [f"\treal={real}:80 gate {job.weight}" for real in reals]
        lines += ["\tchecktype=on"]
    return "\n".join(lines) + "\n"


def keepalived_conf(job: Job, node: str, priority_file: Path) -> str:
    """The job in keepalived's language; a number in `priority_file` is added to the priority."""
    lines = ["global_defs {", f"  router_id {node}", f"  vrrp_version {job.version}"]
    lines += ["  vrrp_higher_prio_send_advert true", f"  vrrp_rt_priority {REAL_TIME}", "}"]
    if job.advertint:
        lines += ["track_file added {", f'  file "{priority_file}"', "  init_file 0", "}"]
        state = "MASTER" if job.owner else "BACKUP"
        lines += ["vrrp_instance VI_1 {", f"  state {state}", "  interface eth0"]
        lines += [f"  virtual_router_id {VRID}", f"  priority {job.priorities[node]}"]
        lines += [f"  advert_int {job.advertint:g}"]
        lines += ["  track_file {", "    added weight 1", "  }"]
        lines += [f"  virtual_ipaddress {{ {VIP}/32 dev eth0 }}", "}"]
    for number, (service, reals) in enumerate(job.farm()):
        port = job.port(number)
        lines += [f"virtual_server {service} {port} {{", "  lvs_sched wrr", "  lvs_method DR"]
        lines += ["  protocol TCP", f"  delay_loop {job.interval}"]
        for real in reals:
            lines += [f"  real_server {real} {port} {{", "    weight 1"]
            lines += [f"    {'SSL' if port == 443 else 'HTTP'}_GET {{"]
            lines += ["      connect_timeout 5", "      url {", "        path /"]
            lines += ["        status_code 200", '        regex "healthy"', "      }"]
            lines += ["    }", "  }"]
        lines += ["}"]
    for service, reals in job.idle():
        lines += [f"virtual_server {service} 80 {{", "  lvs_sched wrr", "  lvs_method DR"]
        lines += ["  protocol TCP"]
        lines += [f"  real_server {real} 80 {{ weight {job.weight} }}" for real in reals]
        lines += ["}"]
    return "\n".join(lines) + "\n"


class Lvsd:
    """lvsd on a director of the lab."""

    name = "lvsd"

    def __init__(self, lab: Topology, node: str, job: Job) -> None:
        self.node = node
        # A daemon of an earlier measurement must not be remembered.
        shutil.rmtree(lab.folder / f"lvsd-{node}", ignore_errors=True)
        self.director = Director(lab, node, lvsd_conf(job), table="none")

    def start(self) -> None:
        self.director.start()
        # Done here because not every root may raise the limit that lvsd would act on: as soon as
        # main has its lock, which is where it would take the priority itself.
        assert self.director.process is not None
        main = self.director.process.pid
        lock = self.director.folder / "run" / "lvsd.lock"
        wait_until(
            lambda: lock.exists() and lock.read_text() == f"{main}\n", 60, "lvsd runs", 0.005
        )
        for pid in (main, *guards(main)):
            real_time(pid, REAL_TIME)

    def pids(self) -> list[int]:
        """Every process of the daemon."""
        process = self.director.process
        return family(process.pid) if process else []

    def stop(self) -> None:
        """An orderly stop, to its end."""
        self.director.stop()

    def kill(self) -> None:
        """SIGKILL to the main process, which speaks VRRP."""
        self.director.kill_main()

    def step_down(self) -> None:
        """What `lvsd stepdown` asks for, without the start of that program."""
        self._ask({"name": "", "undo": False})

    def undo_step_down(self) -> None:
        self._ask({"name": "", "undo": True})

    def reload(self, job: Job) -> None:
        """Another job, until it has been taken."""
        self.director.config.write_text(lvsd_conf(job))
        code, answer = request(str(self.director.socket), "POST", "/v1/reload", timeout=60)
        assert code == 200, answer

    def _ask(self, body: dict[str, object]) -> None:
        code, answer = request(str(self.director.socket), "POST", "/v1/stepdown", body)
        assert code == 200, answer

    def kill_everything(self) -> None:
        """SIGKILL to all processes at once."""
        massacre(self.pids())
        if self.director.process:
            self.director.process.kill()

    def log(self) -> str:
        return self.director.log()


class Keepalived:
    """keepalived of the lab's tree on a director."""

    name = "keepalived"

    def __init__(self, lab: Topology, node: str, job: Job) -> None:
        self.lab, self.node, self.job = lab, node, job
        self.config = lab.folder / f"keepalived-{node}.conf"
        self.priority_file = lab.folder / f"keepalived-{node}.priority"
        self.priority_file.unlink(missing_ok=True)
        self.config.write_text(keepalived_conf(job, node, self.priority_file))
        self.process: Process | None = None

    def start(self) -> None:
        words = ["keepalived", "-n", "-l", "-D", "-G", "-f", str(self.config)]
        if not self.job.reals + self.job.idle_reals:
            words.append("-P")
        else:
            words = ["env", f"LD_PRELOAD={library(self.lab.folder)}", *words]
        self.process = self.lab.spawn_peer(self.node, words)

    def pids(self) -> list[int]:
        """Every process of the daemon."""
        return family(self.process.pid) if self.process else []

    def stop(self) -> None:
        """An orderly stop, to its end."""
        assert self.process is not None
        self.process.send(signal.SIGTERM)
        self.process.wait()

    def kill(self) -> None:
        """SIGKILL to the main process; the child that speaks VRRP ends by itself, orderly."""
        assert self.process is not None
        self.process.send(signal.SIGKILL)
        self.process.wait()

    def reload(self, job: Job) -> None:
        """Another job, and time to take it: nobody tells when both processes have."""
        assert self.process is not None
        self.config.write_text(keepalived_conf(job, self.node, self.priority_file))
        self.process.send(signal.SIGHUP)
        time.sleep(RELOAD_TIME)

    def step_down(self) -> None:
        """There is no such command: its operators have a tracked file lower the priority."""
        self.priority_file.write_text("-100\n")

    def undo_step_down(self) -> None:
        self.priority_file.write_text("0\n")

    def kill_everything(self) -> None:
        """SIGKILL to all processes at once."""
        massacre(self.pids())
        if self.process:
            self.process.kill()

    def log(self) -> str:
        return self.process.text() if self.process else ""


Daemon = Lvsd | Keepalived
DAEMONS: tuple[type[Lvsd] | type[Keepalived], ...] = (Lvsd, Keepalived)


def compiler() -> str | None:
    """The C compiler, if there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def checkers() -> tuple[type[Lvsd] | type[Keepalived], ...]:
    """The daemons whose checks can be measured here."""
    return DAEMONS if compiler() else (Lvsd,)


def stub_note() -> str:
    """How the daemons run without IPVS, for a table."""
    if compiler():
        return (
            "keepalived's checkers run against a stub of the IPVS interface "
            "(tests/bench/noipvs.c), lvsd with --table=none."
        )
    return "No C compiler here, so keepalived's checkers could not be measured beside."


def library(folder: Path) -> Path:
    """noipvs.c compiled into `folder`."""
    made = folder / "noipvs.so"
    if made.exists():
        return made
    source = Path(__file__).with_name("noipvs.c")
    words = [compiler() or "cc", "-shared", "-fPIC", "-O2", "-o", str(made), str(source), "-ldl"]
    subprocess.run(words, check=True)
    return made


def guards(main: int) -> list[int]:
    """lvsd's guard."""
    return [pid for pid, (name, _) in children(main).items() if name == "lvsd-guard"]


def real_time(pid: int, priority: int) -> None:
    """Give a process, not what it starts, a real-time priority."""
    policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    os.sched_setscheduler(pid, policy, os.sched_param(priority))


def family(pid: int) -> list[int]:
    """A process and all its descendants that live."""
    found = [pid]
    for parent in found:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
            lists = [Path(f"/proc/{parent}/task/{task}/children").read_text() for task in tasks]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [int(word) for words in lists for word in words.split()]
    return [each for each in found if Path(f"/proc/{each}").exists()]


def massacre(pids: list[int]) -> None:
    """Stop all, then SIGKILL all, so that none can react to the death of another."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def cpu_seconds(pids: list[int]) -> float:
    """CPU time the processes have used, to the nanosecond (/proc/PID/schedstat)."""
    spent = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            spent += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return spent / 1e9


def memory(pids: list[int]) -> tuple[float, float]:
    """Octets these processes would hold if nobody else ran; and their PSS as things are.

    PSS alone would be too kind to lvsd, whose interpreter the bench itself shares. In the first
    figure a mapping of a file counts once, as much of it as the process that has most of it;
    anonymous memory counts by PSS.
    """
    anonymous, pss, files = 0, 0, dict[tuple[str, str], int]()
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss += _field(rollup, "Pss")
        anonymous += _field(rollup, "Pss_Anon") + _field(rollup, "Pss_Shmem")
        for key, mapping in _mappings(Path(f"/proc/{pid}/smaps").read_text()):
            size = _field(mapping, "Rss") - _field(mapping, "Anonymous")
            files[key] = max(files.get(key, 0), size)
    return (anonymous + sum(files.values())) * 1024.0, pss * 1024.0


def _field(text: str, name: str) -> int:
    line = next((line for line in text.splitlines() if line.startswith(name + ":")), "x 0")
    return int(line.split()[1])


def _mappings(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    """((file, offset), fields) for each mapping of a file in /proc/PID/smaps."""
    key: tuple[str, str] | None = None
    fields: list[str] = []
    for line in [*text.splitlines(), "end 0 0 0 0 /end"]:
        words = line.split()
        if words[0].endswith(":"):
            fields.append(line)
            continue
        if key:
            yield key, "\n".join(fields)
        named = len(words) > 5 and words[5].startswith("/")
        key, fields = ((words[5], words[2]) if named else None), []
