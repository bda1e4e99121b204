"""Input that must not be accepted: each mistake one clear line, and nothing lost.

Every file goes through `lvsd check`, a first start, and a reload of a daemon that serves: it
keeps its configuration, its virtual address and its table, and says in its status what is wrong.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvsd import cli
from lvsd.control import client
from tests.netns.network import eventually

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parents[2]
#: An interface in a network namespace that ends with the process.
NAMESPACE = (
    "ip link set lo up; ip link add eth0 type veth peer name far; "
    "ip address add 10.9.0.1/24 dev eth0; ip link set far up; ip link set eth0 up; "
    'exec "$@"'
)
ROUTER = """vrrp=VI_1
	interface=eth0
	virtualrouterid=51
	priority=150
	authpass=s3cret
	address=10.9.0.100

"""
SERVICE = """virtual=10.9.0.100:80
	real=10.9.0.21:80 gate 5
	real=10.9.0.22:80 gate
	checktype=on
	scheduler=rr
"""
GOOD = ROUTER + SERVICE
SECOND = ROUTER.replace("VI_1", "VI_2").replace("10.9.0.100", "10.9.0.101")
KNOWN = "rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos"

#: What is in the file → what is said of it, without the name of the file.
REFUSED = {
    "empty": (
        b"",
        [
            "1:1: error: nothing to do: there is no virtual= and no vrrp= block (ldirectord accepts"
            " such a file and does nothing)"
        ],
    ),
    "binary": (
        b"\x7fELF\2\1\1\0" + bytes(range(256)) * 40,
        ["1:8: error: this is a binary file (it holds NUL bytes)"],
    ),
    "duplicate virtual": (
        SERVICE + "\n" + SERVICE,
        ["7:9: error: tcp service 10.9.0.100:80 was defined on line 1 already"],
    ),
    "real of the other family": (
        SERVICE.replace("10.9.0.22:80", "[2001:db8::1]:80"),
        [
            "3:7: error: 2001:db8::1 is an IPv6 address, the service is IPv4; "
            "only ipip reaches a real server of the other family"
        ],
    ),
    "unknown scheduler": (
        SERVICE.replace("=rr", "=wrrr"),
        [f'5:12: error: unknown scheduler wrrr (known: {KNOWN}); did you mean "wrr"?'],
    ),
    "port 99999": (
        SERVICE.replace("21:80", "21:99999"),
        ["2:7: error: port 99999 is too big; the highest is 65535"],
    ),
    "virtual port 99999": (
        SERVICE.replace("100:80", "100:99999"),
        ["1:9: error: port 99999 is too big; the highest is 65535"],
    ),
    "VRID used twice": (
        ROUTER + SECOND,
        [
            "3:18: error: virtualrouterid 51 is used twice on interface eth0: "
            "also by vrrp=VI_2 (line 10)",
            "10:18: error: virtualrouterid 51 is used twice on interface eth0: "
            "also by vrrp=VI_1 (line 3)",
        ],
    ),
    "missing include": (
        "include=none.conf\n" + SERVICE,
        ["1:9: error: can't read {folder}/none.conf: No such file or directory"],
    ),
    "include in a circle": (
        "include=lvsd.conf\n" + SERVICE,
        ["1:9: error: {folder}/lvsd.conf includes itself, directly or in a circle"],
    ),
    "two mistakes": (
        "checkinterva=5\n" + SERVICE.replace("gate 5", "gatee 5"),
        [
            '1:1: error: unknown directive checkinterva; did you mean "checkinterval"?',
            '3:20: error: gatee is no forwarding method (gate, masq or ipip); did you mean "gate"?',
        ],
    ),
    "a line of ten million bytes": (
        b"x" * 10_000_000,
        ["1:1: error: unknown directive " + "x" * 60],
    ),
}


def command(folder, *words, table="none", program=("-m", "lvsd")):
    """`lvsd run` in a namespace of its own."""
    run = [sys.executable, *program, "--socket", f"{folder}/s", "run", "--table", table]
    run += ["-c", f"{folder}/lvsd.conf", "--runtime-dir", f"{folder}/rt"]
    run += ["--state-dir", f"{folder}/st", "--node", "dir1"]
    return ["unshare", "-n", "sh", "-ec", NAMESPACE, "sh", *words, *run]


def first_start(folder, *words, table="none", program=("-m", "lvsd")):
    """Exit status and lines of a start that must fail, without times."""
    done = subprocess.run(
        command(folder, *words, table=table, program=program),
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
    )
    return done.returncode, done.stderr.splitlines()


class Daemon:
    """A serving daemon."""

    def __init__(self, folder):
        self.folder = folder
        self.conf = folder / "lvsd.conf"
        self.conf.write_text(GOOD)
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(command(folder), cwd=ROOT, stderr=self.log)
        self.eventually_serves()

    def eventually_serves(self):
        eventually(lambda: (self.folder / "s").exists() and self.serves(), 20)

    def status(self):
        return client.request(f"{self.folder}/s", "GET", "/v1/status")[1]

    def serves(self):
        """Master with its address in the kernel, and both real servers in the table."""
        try:
            status = self.status()
        except client.Unreachable:
            return False
        master = [router["state"] for router in status["vrrp"]] == ["master"]
        weights = [r["effective_weight"] for v in status["virtuals"] for r in v["reals"]]
        return master and weights == [5, 1] and self.holds()

    def holds(self):
        shown = subprocess.run(
            ["nsenter", "-t", str(self.process.pid), "-n", "ip", "-o", "address", "show"],
            capture_output=True,
            text=True,
        ).stdout
        return "10.9.0.100/32" in shown

    def picture(self):
        """What a refused reload must leave as it was."""
        status = self.status()
        virtuals = [
            (v["virtual"], v["installed"], [r["real"] for r in v["reals"]])
            for v in status["virtuals"]
        ]
        router = status["vrrp"][0]
        times = [router["since"], *(r["since"] for v in status["virtuals"] for r in v["reals"])]
        kept = (router["state"], status["pid"], status["config"]["sha256"])
        return kept, virtuals, status["table"]["writes"], [pytest.approx(t, abs=0.1) for t in times]

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    one = Daemon(tmp_path_factory.mktemp("d"))
    yield one
    one.close()


def spelled(lines, folder):
    return [f"{folder}/lvsd.conf:{line.format(folder=folder)}" for line in lines]


def starts_as(said, expected):
    """Line by line; a wish may be the beginning of a long line."""
    pairs = zip(said, expected, strict=True)
    return all(line.startswith(wish) and len(line) < 800 for line, wish in pairs)


def data(content):
    return content if isinstance(content, bytes) else content.encode()


@pytest.mark.parametrize("name", REFUSED)
def test_check_names_each_mistake_in_one_line(name, tmp_path, capsys):
    content, wanted = REFUSED[name]
    (tmp_path / "lvsd.conf").write_bytes(data(content))

    assert cli.main(["check", "-c", f"{tmp_path}/lvsd.conf", "--node", "dir1"]) == 1

    said = [line for line in capsys.readouterr().err.splitlines() if "warning:" not in line]
    assert starts_as(said, spelled(wanted, tmp_path)), said


@pytest.mark.parametrize("name", REFUSED)
def test_a_first_start_says_the_same_once_and_fails(name, tmp_path):
    content, wanted = REFUSED[name]
    (tmp_path / "lvsd.conf").write_bytes(data(content))

    status, lines = first_start(tmp_path)

    assert status == 1
    said = [line for line in lines if str(tmp_path) in line]
    assert starts_as(said, spelled(wanted, tmp_path)), lines
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_reload_changes_nothing_and_is_shown(name, daemon, capsys):
    content, wanted = REFUSED[name]
    before = daemon.picture()
    daemon.conf.write_bytes(data(content))

    assert cli.main(["reload", "--socket", f"{daemon.folder}/s"]) == 1

    said = capsys.readouterr().err.splitlines()
    assert said.pop() == "lvsd: reload refused, the configuration in force stays"
    assert starts_as(said, spelled(wanted, daemon.folder)), said
    assert starts_as(daemon.status()["config"]["errors"], spelled(wanted, daemon.folder))
    assert daemon.picture() == before
    assert daemon.serves()


def test_the_next_good_file_clears_the_errors(daemon, capsys):
    daemon.conf.write_text("nonsense")
    cli.main(["reload", "--socket", f"{daemon.folder}/s"])
    daemon.conf.write_text(GOOD)

    assert cli.main(["reload", "--socket", f"{daemon.folder}/s"]) == 0

    assert capsys.readouterr().out == "nothing changed\n"
    assert daemon.status()["config"]["errors"] == []


@pytest.mark.parametrize("what", ["removed", "folder", "pipe", "/dev/zero"])
def test_a_file_that_is_none_is_refused_at_once(what, daemon, capsys):
    before = daemon.picture()
    daemon.conf.unlink()
    text = "not a regular file"
    if what == "removed":
        text = "No such file or directory"
    elif what == "folder":
        daemon.conf.mkdir()
        text = "Is a directory"
    elif what == "pipe":
        os.mkfifo(daemon.conf)
    else:
        daemon.conf.symlink_to(what)
    started_at = time.monotonic()
    try:
        assert cli.main(["reload", "--socket", f"{daemon.folder}/s"]) == 1
    finally:
        if what == "folder":
            daemon.conf.rmdir()
        daemon.conf.unlink(missing_ok=True)
        daemon.conf.write_text(GOOD)

    assert f"lvsd.conf:1:1: error: can't read {daemon.conf}: {text}" in capsys.readouterr().err
    assert time.monotonic() - started_at < 5
    assert daemon.picture() == before


def test_an_interface_that_does_not_exist_is_a_warning_and_a_fault(daemon, capsys):
    daemon.conf.write_text(GOOD + "\n" + SECOND.replace("eth0", "eth7").replace("=51", "=52"))
    assert cli.main(["reload", "--socket", f"{daemon.folder}/s"]) == 0

    warning = f"{daemon.conf}:15:12: warning: there is no interface eth7 on this machine yet"
    assert warning in capsys.readouterr().err
    states = [(r["state"], r["reason"]) for r in daemon.status()["vrrp"]]
    assert states[0][0] == "master"
    assert states[1] == ("fault", "interface eth7 does not exist")
    daemon.conf.write_text(GOOD)
    assert cli.main(["reload", "--socket", f"{daemon.folder}/s"]) == 0
    assert daemon.serves()


def test_with_autoreload_a_deleted_or_emptied_file_takes_nothing_away(daemon, capsys):
    daemon.conf.write_text("autoreload=yes\n" + GOOD)
    assert cli.main(["reload", "--socket", f"{daemon.folder}/s"]) == 0
    before = daemon.picture()

    daemon.conf.unlink()
    gone = f"{daemon.conf}:1:1: error: the file is gone; the configuration in force stays"
    eventually(lambda: daemon.status()["config"]["errors"] == [gone])
    daemon.conf.write_text("")
    empty = spelled(REFUSED["empty"][1], daemon.folder)
    eventually(lambda: daemon.status()["config"]["errors"] == empty)

    assert daemon.picture() == before
    assert daemon.serves()
    daemon.conf.write_text(GOOD)
    eventually(lambda: daemon.status()["config"]["errors"] == [])


def test_a_second_daemon_in_the_same_folder_is_refused(daemon):
    status, lines = first_start(daemon.folder)

    assert status == 1
    assert lines == [
        f"lvsd: another lvsd (process {daemon.status()['pid']}) uses {daemon.folder}/rt; "
        "give this one its own --runtime-dir and --socket"
    ]
    assert daemon.serves()


def test_secrets_are_readable_by_root_alone_and_never_logged(daemon):
    files = [path for path in daemon.folder.rglob("*") if path.is_file() and path != daemon.conf]
    secret = [path for path in files if b"s3cret" in path.read_bytes()]

    assert [path.name for path in secret] == ["last-good.conf"]
    assert secret[0].stat().st_mode & 0o777 == 0o600
    assert (daemon.folder / "s").stat().st_mode & 0o777 == 0o660


def test_without_ipvs_a_configuration_with_services_is_refused(tmp_path):
    (tmp_path / "lvsd.conf").write_text(GOOD)
    if Path("/proc/net/ip_vs").exists():
        pytest.fail("this test wants a kernel without IPVS")

    status, lines = first_start(tmp_path, table="kernel")

    assert status == 1
    assert sum("this kernel has no IPVS" in line for line in lines) == 1
    assert not any("Traceback" in line for line in lines)


#: `lvsd run` as another user, who need not be able to read this checkout.
AS_NOBODY = """
import os, shutil, sys  # argparse wants shutil later, when nobody may be kept from reading it
from lvsd.cli import main
import lvsd.daemon.vrrp
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def test_another_user_is_told_what_is_missing():
    folder = Path(f"/tmp/lvsd-nobody-{os.getpid()}")
    folder.mkdir(mode=0o755)
    try:
        (folder / "lvsd.conf").write_text(GOOD)
        closed = first_start(folder, program=("-c", AS_NOBODY))
        os.chown(folder, 65534, 65534)
        opened = first_start(folder, program=("-c", AS_NOBODY))
    finally:
        shutil.rmtree(folder)

    assert closed == (1, [f"lvsd: {folder}/rt: Permission denied (lvsd run needs root)"])
    needs = "lvsd: lvsd run needs root, or the capabilities CAP_NET_ADMIN and CAP_NET_RAW"
    assert opened == (1, [needs])


def test_a_runtime_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "lvsd.conf").write_text(GOOD)
    (tmp_path / "rt").write_text("")

    assert first_start(tmp_path) == (1, [f"lvsd: {tmp_path}/rt: File exists"])


def test_a_socket_path_too_long_for_the_kernel_is_named(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    (folder / "lvsd.conf").write_text(GOOD)

    status, lines = first_start(folder)

    limit = "the path of a socket has at most 107 bytes (unix(7))"
    assert (status, lines) == (1, [f"lvsd: {folder}/s: {limit}"])
