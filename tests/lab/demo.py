"""`make demo`: a pair of directors loses a real server and then a director, while a client asks.

Everything is real: the daemons, IPVS, network namespaces for the machines, a client that opens a
new connection every 50 ms and keeps four open. Each step says what happens, does it, shows
`lvsd status`, and measures it from the client's side. Exit status 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.client import counts
from tests.lab.cluster import ROOT, Client, Cluster
from tests.lab.director import Director
from tests.lab.layout import Layout
from tests.lab.run import LAB_FAILED, native, run_in_vm
from tests.lab.topology import Topology, wait_until
from tests.lab.tree import LabError
from tests.lab.vm import Vm

#: In the VM's results: the lines typed for the shell of `--hold`.
TYPED = "typed"

VIP = "192.168.1.1"
REALS = {"rs1": "192.168.1.4:80", "rs2": "192.168.1.5:80"}
LAYOUT = Layout(
    client=("192.168.1.9/24",),
    directors=(("192.168.1.2/24",), ("192.168.1.3/24",)),
    sync=(("172.16.1.2/24",), ("172.16.1.3/24",)),
    reals=(("192.168.1.4/24",), ("192.168.1.5/24",)),
    vips=(VIP,),
)
CONFIG = """\
checktimeout=1
checkinterval=1
quiescent=yes

vrrp=VI_1
\tinterface=eth0
\tvirtualrouterid=51
\tpriority=dirA:150,dirB:100
\tadvertint=1
\taddress=192.168.1.1
\tsyncdaemon=eth1 51

virtual=192.168.1.1:80
\treal=192.168.1.4:80 gate
\treal=192.168.1.5:80 gate
\tservice=http
\trequest="/.testpage"
\treceive="test page"
\tscheduler=rr
\tprotocol=tcp
"""
PICTURE = """
    client 192.168.1.9 ──┐
                         │            ┌── rs1  192.168.1.4   answers "rs1"
    dirA   192.168.1.2 ──┤            │
    dirB   192.168.1.3 ──┴── switch ──┴── rs2  192.168.1.5   answers "rs2"

    The service is 192.168.1.1:80. A director owns that address and hands each connection
    to a real server (LVS-DR); the real server answers the client directly.
"""


class Claim(Exception):
    """Something the demo promised did not happen."""


class Story:
    """Prints the narration; with a terminal, headings stand out."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.bold, self.plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        self.number = 0

    def step(self, title: str, text: str) -> None:
        """A new chapter."""
        self.number += 1
        at = time.monotonic() - self.began
        print(f"\n{self.bold}{self.number}. {title}{self.plain}   [{at:.0f} s]\n")
        self.tell(text)

    def tell(self, text: str) -> None:
        """A paragraph."""
        print(textwrap.fill(" ".join(text.split()), 96, initial_indent="   ",
                            subsequent_indent="   "), flush=True)  # fmt: skip

    def show(self, director: Director) -> None:
        """`lvsd status` on a director."""
        print(f"\n   {director.node}# lvsd status")
        print(textwrap.indent(director.command("status"), "   | "), flush=True)

    def figure(self, text: str) -> None:
        """Something measured."""
        print(f"   {self.bold}=>{self.plain} {text}", flush=True)

    def claim(self, holds: bool, text: str) -> None:
        """Say it if it is so; raises Claim if it is not."""
        if not holds:
            raise Claim(text)
        self.figure(text)


def play(story: Story, lab: Topology) -> None:
    """The whole demo."""
    cluster = Cluster.build(lab, CONFIG, lambda node: {"/.testpage": "test page\n"})
    first, second = cluster.directors
    print(PICTURE)
    print(textwrap.indent(CONFIG.expandtabs(4), "   "))
    started(story, cluster)
    asking = Client(lab, f"http://{VIP}/", "--interval", "50", "--hold", "4")
    balanced(story, first, asking)
    real_dies(story, cluster, asking)
    director_dies(story, first, second, asking)
    director_returns(story, first, asking)
    cable_pulled(story, lab, first, second, asking)


def started(story: Story, cluster: Cluster) -> None:
    story.step(
        "Two directors start from the same file",
        """Both check the real servers and hold the table. dirA has the higher priority, so it
        becomes master and takes the address 192.168.1.1; but only once every real server has been
        judged.""",
    )
    cluster.start()
    for director in cluster.directors:
        story.show(director)


def balanced(story: Story, first: Director, asking: Client) -> None:
    story.step(
        "A client asks every 50 ms, a new connection each time",
        "The scheduler is rr (round robin), so the two real servers take turns.",
    )
    asked = asking.answers(40, timeout=60)
    by_real = counts(asked)
    story.figure(", ".join(f"{real} answered {count}" for real, count in sorted(by_real.items())))
    story.claim(abs(by_real["rs1"] - by_real["rs2"]) <= 4, "the load is shared evenly")
    story.show(first)


def real_dies(story: Story, cluster: Cluster, asking: Client) -> None:
    first, victim = cluster.directors[0], cluster.reals[1]
    story.step(
        "The real server rs2 dies",
        """Its web server is killed. The next check is refused, and its weight becomes 0: it stays
        in the table for the connections it has, but gets no new ones (quiescent=yes).""",
    )
    died_at = victim.kill()
    first.wait_health(REALS["rs2"], "down")
    out_at = time.monotonic()
    story.show(first)
    asking.answers(30)
    lost = asking.failed(died_at)
    story.figure(f"detected after {out_at - died_at:.1f} s; {len(lost)} requests failed until then")
    story.claim(not asking.failed(out_at + 0.1), "not one request failed after the detection")
    story.tell("It is started again, passes its check, and is back in service.")
    victim.start()
    first.wait_health(REALS["rs2"], "up")
    story.claim(counts(asking.answers(40))["rs2"] > 0, "rs2 answers again")


def director_dies(story: Story, first: Director, second: Director, asking: Client) -> None:
    story.step(
        "The master director is killed (kill -9 of its main process)",
        """A dead daemon must not keep the address. Its guard, a tiny process that does nothing
        else, says goodbye in its name (a VRRP advert of priority 0), keeps serving until dirB has
        announced itself, and then removes the address from dirA.""",
    )
    broken = sum(held.broken_at is not None for held in asking.held())
    died_at = time.monotonic()
    first.kill_main()
    second.wait_state("master", 30)
    wait_until(lambda: not first.holds(VIP), 10, "dirA has let the address go")
    asking.answers(60)
    story.show(second)
    story.claim(second.holds(VIP), f"dirB owns {VIP}, dirA does not")
    story.figure(f"longest time without service: {asking.longest_outage(died_at):.2f} s")
    fates = asking.held()
    alive = sum(held.broken_at is None for held in fates)
    story.claim(
        0 < alive == len(fates) - broken,
        f"{alive} connections that were open go on (the kernels copy them over eth1)",
    )


def director_returns(story: Story, first: Director, asking: Client) -> None:
    story.step(
        "dirA is started again",
        """It adopts the table it finds, judges the real servers, and only then takes the address
        back, since its priority is higher (nopreempt would leave it with dirB).""",
    )
    back_at = time.monotonic()
    first.start()
    first.wait_state("master")
    asking.answers(40)
    story.show(first)
    story.figure(f"longest time without service: {asking.longest_outage(back_at):.2f} s")


def cable_pulled(
    story: Story, lab: Topology, first: Director, second: Director, asking: Client
) -> None:
    story.step(
        "dirA's cable is pulled",
        """Nobody can say goodbye this time. dirB waits for three adverts and its skew time,
        3 x 1 s + (256 - 100) / 256 s = 3.61 s, and takes over.""",
    )
    pulled_at = time.monotonic()
    lab.cut("dirA")
    second.wait_state("master", 30)
    asking.answers(40)
    story.show(second)
    story.figure(f"longest time without service: {asking.longest_outage(pulled_at):.2f} s")
    story.claim(not first.holds(VIP), "dirA has given the address up")
    lab.join("dirA")
    first.wait_state("master")
    asking.answers(20)
    story.tell("The cable is back, and so is dirA.")


def hold(story: Story, lab: Topology) -> None:
    """Leave the cluster standing until the shell on dirA is left."""
    story.step(
        "Yours to play with",
        "A shell on dirA. Try: lvsd status, ipvsadm -Ln, ip addr. `exit` ends the demo.",
    )
    for node in lab.layout.nodes:
        print(f"   {node:8} nsenter --net=/run/netns/{lab.netns(node)}")
    folder = lab.folder / "bin"
    folder.mkdir()
    script = folder / "lvsd"
    home = lab.folder / "lvsd-dirA"
    script.write_text(
        f'#!/bin/sh\ncase "$1" in check|help) exec {sys.executable} -m lvsd'
        f' "$@" ;; esac\nexec {sys.executable} -m lvsd "$@" --socket {home}/run/lvsd.sock\n'
    )
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PS1": "dirA# "}
    environment["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    enter = ["nsenter", f"--net=/run/netns/{lab.netns('dirA')}", "sh", "-i"]
    print(flush=True)
    if "LVSD_IN_VM" not in os.environ:
        subprocess.run(enter, env=environment, check=False)
        return
    # The VM has no terminal: what is typed outside comes in through a file.
    shell = subprocess.Popen(
        enter, env=environment, stdin=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert shell.stdin is not None
    typed = Path(os.environ["LVSD_RESULTS"]) / TYPED
    seen = 0
    while shell.poll() is None:
        lines = typed.read_text().splitlines(keepends=True) if typed.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        for line in whole[seen:]:
            with contextlib.suppress(BrokenPipeError):
                shell.stdin.write(line)
                shell.stdin.flush()
        seen = len(whole)
        time.sleep(0.1)


def pass_typing_on(vm: Vm) -> None:
    """Append what is typed here to the file that `hold` reads in the VM; ^D is `exit`."""
    with (vm.results / TYPED).open("a") as typed:
        for line in sys.stdin:
            typed.write(line)
            typed.flush()
        typed.write("exit\n")


def in_vm(options: argparse.Namespace) -> int:
    """The demo on a kernel that has IPVS."""
    words = ["python3", "-m", "tests.lab.demo", *(["--hold"] if options.hold else [])]
    typing: Callable[[Vm], None] | None = pass_typing_on if options.hold else None
    return run_in_vm(words, timeout=86400.0 if options.hold else 1800.0, beside=typing)


def main() -> int:
    """The command line: `python -m tests.lab.demo [--hold]`, here or in the lab's VM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold", action="store_true", help="keep the cluster afterwards, a shell")
    options = parser.parse_args()
    if not native() and "LVSD_IN_VM" not in os.environ:
        try:
            return in_vm(options)
        except LabError as error:
            print(f"lab: {error}", file=sys.stderr)
            return LAB_FAILED
    story = Story()
    emulated = "emulated, so programs run many times slower; protocol times hold"
    where = emulated if os.environ.get("LVSD_IN_VM") else "this machine's own"
    print(f"lvsd demo on Linux {platform.release()} ({where})", flush=True)
    with Topology(LAYOUT) as lab:
        try:
            play(story, lab)
        except (Claim, AssertionError) as failure:
            print(f"\nThe demo failed: {failure}", file=sys.stderr)
            return 1
        if options.hold:
            hold(story, lab)
    print("\nDone: everything is stopped and removed again.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
