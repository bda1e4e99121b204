"""The unit as shipped, under a real systemd: its sandbox, its watchdog and every way it can end.

Only where the program lies is different, by a drop-in. The VIP is on one end of a veth pair, the
real server on loopback. The VIP has no lease, so that what takes it away is the guard or nobody.
Programs start slowly under emulation, which the limits allow for.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.topology import wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = Path("/opt/lvsd-under-test")
DROP_INS = Path("/etc/systemd/system/lvsd.service.d")
VIP = "10.77.0.100"
START = 90.0
PLACE = f"""\
[Service]
ExecStart=
ExecStart={sys.executable} -m lvsd run
ExecReload=
ExecReload=/bin/kill -HUP $MAINPID
ExecReload={sys.executable} -m lvsd reload
Environment=PYTHONPATH={PROGRAM}:{os.environ.get("PYTHONPATH", "")}
"""
CONFIG = f"""\
checkinterval=1
checktimeout=5
quiescent=yes
vrrp=VI_1
\tinterface=lvsd0
\tvirtualrouterid=51
\tpriority=100
\tadvertint=1
\taddress={VIP}
virtual={VIP}:80
\treal=127.0.0.1:8080 masq
\tservice=http
\trequest="/"
\treceive="rs1"
\tpersistent=60
\tscheduler=wlc
"""


def run(*words: str | Path, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def shown(name: str) -> str:
    return run("systemctl", "show", "--value", "--property", name, "lvsd").strip()


def main_pid() -> int:
    return int(shown("MainPID"))


def processes() -> list[int]:
    """Those of the unit."""
    group = Path("/sys/fs/cgroup", shown("ControlGroup").lstrip("/"), "cgroup.procs")
    return [int(pid) for pid in group.read_text().split()]


def family() -> dict[str, int]:
    """The processes of the unit by name; main is `main`."""
    named = {}
    for pid in processes():
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if pid == main_pid():
            name = "main"
        named[name if name in ("main", "lvsd-guard") else "child"] = pid
    return named


def holds() -> bool:
    return f"inet {VIP}/" in run("ip", "address", "show", "dev", "lvsd0")


def table() -> str:
    return run("ipvsadm", "-Sn")


def journal() -> str:
    return run("journalctl", "--unit", "lvsd", "--no-pager", "--output", "cat", check=False)


def wait(true: Callable[[], object], timeout: float, what: str) -> None:
    try:
        wait_until(true, timeout, what, interval=0.1)
    except AssertionError as late:
        seen = run("systemctl", "status", "--no-pager", "lvsd", check=False)
        raise AssertionError(f"{late}\n{seen}\n{journal()}") from None


def served() -> bool:
    return holds() and f"-a -t {VIP}:80 -r 127.0.0.1:8080 -m -w 1" in table()


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """The unit, a configuration, an interface and a real server."""
    shutil.copytree(ROOT / "lvsd", PROGRAM / "lvsd")
    shutil.copy(ROOT / "systemd/lvsd.service", "/etc/systemd/system/lvsd.service")
    # The virtual machine's own is mounted there, and users are made by renaming a new one over it.
    run("umount", "/etc/shadow", check=False)
    run("systemd-sysusers", ROOT / "systemd/lvsd.sysusers")
    DROP_INS.mkdir(parents=True)
    (DROP_INS / "place.conf").write_text(PLACE)
    Path("/etc/lvsd").mkdir()
    Path("/etc/lvsd/lvsd.conf").write_text(CONFIG)
    run("ip", "link", "add", "lvsd0", "type", "veth", "peer", "name", "lvsd1")
    for name in ("lvsd0", "lvsd1"):
        run("ip", "link", "set", name, "up")
    run("ip", "address", "add", "10.77.0.11/24", "dev", "lvsd0")
    words = [sys.executable, "-m", "tests.lab.webserver", "--name", "rs1", "--port", "8080"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as server:
        run("systemctl", "daemon-reload")
        yield
        run("systemctl", "stop", "lvsd", check=False)
        server.kill()


@pytest.fixture
def service(installed: None) -> None:
    """Running, master, serving, whatever the test before has done."""
    run("systemctl", "reset-failed", "lvsd", check=False)
    if shown("ActiveState") != "active":
        run("systemctl", "start", "lvsd", check=False)
    wait(served, START, "VIP and table")


def test_a_started_unit_is_active_and_says_how_it_is(service: None) -> None:
    assert run("systemctl", "is-active", "lvsd").strip() == "active"
    wait(lambda: "1 master" in shown("StatusText"), 20, "the status line")
    assert "1 master" in run("systemctl", "status", "--no-pager", "lvsd")
    assert shown("NRestarts") == "0"


def test_main_and_guard_alone_have_real_time_priority_and_main_locks_its_memory(
    service: None,
) -> None:
    policies = {name: os.sched_getscheduler(pid) for name, pid in family().items()}
    status = Path(f"/proc/{main_pid()}/status").read_text()

    for name in ("main", "lvsd-guard"):
        assert policies.pop(name) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
    assert set(policies.values()) == {os.SCHED_OTHER}
    assert re.search(r"VmLck:\s+[1-9]", status)


def test_the_sandbox_leaves_what_is_needed_and_no_more(service: None) -> None:
    status = Path(f"/proc/{main_pid()}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    cap_chown, cap_kill, cap_setgid, cap_setuid, cap_net_admin, cap_net_raw = 0, 5, 6, 7, 12, 13
    needed = (cap_chown, cap_kill, cap_setgid, cap_setuid, cap_net_admin, cap_net_raw)
    allowed = sum(1 << c for c in needed)

    assert int(fields["CapBnd"], 16) == allowed
    assert int(fields["CapEff"], 16) & ~allowed == 0
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    # Yet the table, the VIP (in `service`) and the settings of IPVS are in place.
    setting = Path("/proc/sys/net/ipv4/vs/expire_quiescent_template")
    wait(lambda: setting.read_text() == "1\n", 10, "the sysctl")
    assert "Operation not permitted" not in journal()
    assert "Read-only file system" not in journal()
    socket = Path("/run/lvsd/lvsd.sock").stat()
    assert oct(socket.st_mode & 0o777) == "0o660"
    assert run("getent", "group", str(socket.st_gid)).startswith("lvsd:")


def test_a_check_worker_works_without_privileges(service: None) -> None:
    other = CONFIG.replace('receive="rs1"', 'receive="rs2"')
    Path("/etc/lvsd/lvsd.conf").write_text(f"checkers=1\n{other}")

    run("systemctl", "reload", "lvsd")

    wait(lambda: "-r 127.0.0.1:8080 -m -w 0" in table(), 20, "the worker's verdict")
    user = int(run("id", "--user", "lvsd-check"))
    (worker,) = [pid for pid in processes() if Path(f"/proc/{pid}").stat().st_uid == user]
    status = Path(f"/proc/{worker}/status").read_text()
    assert re.search(r"CapPrm:\s+0+\n", status)
    Path("/etc/lvsd/lvsd.conf").write_text(CONFIG)
    run("systemctl", "reload", "lvsd")
    wait(lambda: worker not in processes() and served(), 20, "all as before")


def test_a_reload_is_over_when_systemctl_returns(service: None) -> None:
    pid = main_pid()
    Path("/etc/lvsd/lvsd.conf").write_text(CONFIG.replace("scheduler=wlc", "scheduler=rr"))

    run("systemctl", "reload", "lvsd")

    assert f"-A -t {VIP}:80 -s rr" in table()
    wait(lambda: shown("ActiveState") == "active", 20, "active again")
    assert main_pid() == pid
    Path("/etc/lvsd/lvsd.conf").write_text(CONFIG)
    run("systemctl", "reload", "lvsd")
    assert f"-A -t {VIP}:80 -s wlc" in table()


def test_a_refused_reload_fails_and_the_service_goes_on(service: None) -> None:
    pid = main_pid()
    Path("/etc/lvsd/lvsd.conf").write_text(CONFIG.replace("wlc", "wlx"))

    done = subprocess.run(["systemctl", "reload", "lvsd"], capture_output=True)

    Path("/etc/lvsd/lvsd.conf").write_text(CONFIG)
    assert done.returncode != 0
    wait(lambda: shown("ActiveState") == "active", 20, "active again")
    assert main_pid() == pid
    assert served()


@pytest.fixture
def setting(service: None) -> Iterator[Callable[[str], None]]:
    """Runs the unit with one more line, and takes it back."""
    extra = DROP_INS / "extra.conf"

    def restart() -> None:
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "lvsd")
        wait(served, START, "VIP and table")

    def put(line: str) -> None:
        extra.write_text(f"[Service]\n{line}\n")
        restart()

    yield put
    extra.unlink(missing_ok=True)
    restart()


def at_its_end(pid: int) -> bool:
    """Waits for the end of a process; whether the VIP was still there at that moment."""
    process = os.pidfd_open(pid)
    ended, _, _ = select.select([process], [], [], 20)
    held = holds()
    os.close(process)
    assert ended, "the process goes on"
    return held


def test_after_mains_death_the_guard_acts_before_systemd_ends_it(service: None) -> None:
    """With no peer its farewell takes a second, in which it is neither killed nor hurried."""
    pids = family()
    assert pids.keys() == {"main", "lvsd-guard", "child"}
    restarts = int(shown("NRestarts"))
    killed_at = time.monotonic()

    run("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=main", "lvsd")

    assert not at_its_end(pids["lvsd-guard"])
    assert time.monotonic() - killed_at > 0.9
    wait(served, START, "a new start")
    assert int(shown("NRestarts")) == restarts + 1
    assert main_pid() != pids["main"]


def test_with_the_usual_kill_mode_the_guard_would_never_act(
    setting: Callable[[str], None],
) -> None:
    """Why the unit says `control-group`: should this fail, `mixed` would do as well."""
    setting("KillMode=mixed")
    pids = family()

    run("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=main", "lvsd")

    assert at_its_end(pids["lvsd-guard"])
    wait(served, START, "a new start")


def test_a_hung_main_is_ended_by_the_watchdog_and_the_guard_hands_over(
    setting: Callable[[str], None],
) -> None:
    setting("WatchdogSec=3")
    pids = family()

    os.kill(pids["main"], signal.SIGSTOP)

    assert not at_its_end(pids["lvsd-guard"])
    wait(lambda: main_pid() not in (0, pids["main"]), 30, "a new main process")
    wait(served, START, "a new start")


def test_a_stop_is_clean_and_in_time(service: None) -> None:
    stopped_at = time.monotonic()

    run("systemctl", "stop", "lvsd")

    assert time.monotonic() - stopped_at < 15
    assert (shown("ActiveState"), shown("Result"), shown("ExecMainStatus")) == (
        "inactive",
        "success",
        "0",
    )
    assert not holds()
    assert table() == ""
    assert not Path("/run/lvsd").exists()
    left = json.loads(run("ip", "-j", "address", "show", "dev", "lvsd0"))[0]["addr_info"]
    assert [a["local"] for a in left if a["family"] == "inet"] == ["10.77.0.11"]
