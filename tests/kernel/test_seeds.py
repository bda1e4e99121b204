"""The tutorials that lvsd grew from: each one's set-up, commands and expected output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.lab.client import counts
from tests.lab.cluster import Client, Cluster
from tests.lab.layout import Layout
from tests.lab.topology import Topology, wait_until

EXAMPLES = Path(__file__).parents[2] / "etc" / "examples"
MakeLab = Callable[[Layout], Topology]


def example(name: str, interface: str = "eth0") -> str:
    """A shipped example, with the interface name of the lab's machines."""
    text = (EXAMPLES / name).read_text()
    return text.replace("interface=ens33", f"interface={interface}")


def by_hand(lab: Topology, commands: Iterable[str]) -> str:
    """The table that ipvsadm commands make, as `ipvsadm -Sn` says it; on the client's machine."""
    for command in commands:
        lab.exec_peer("client", command.split())
    return lab.exec_peer("client", ["ipvsadm", "-Sn"]).stdout


def site(network: str, director: int, reals: tuple[int, ...], vip: str, **more: object) -> Layout:
    """Everybody on one network of 24 bits."""
    return Layout(
        client=(f"{network}.9/24",),
        directors=((f"{network}.{director}/24",),),
        reals=tuple((f"{network}.{real}/24",) for real in reals),
        vips=(vip,),
        **more,  # type: ignore[arg-type]
    )


def test_seed_000_its_ipvsadm_commands_and_the_example_give_the_same_table(
    topology: MakeLab,
) -> None:
    lab = topology(site("172.16.69", 10, (20, 30), "172.16.69.254"))
    lab.ip("dirA", ["addr add 172.16.69.254/32 dev eth0"])
    cluster = Cluster.build(lab, example("dr-minimal.conf")).start()
    director = cluster.directors[0]

    wanted = by_hand(
        lab,
        (
            "ipvsadm -A -t 172.16.69.254:80 -s rr",
            "ipvsadm -a -t 172.16.69.254:80 -r 172.16.69.20:80 -g",
            "ipvsadm -a -t 172.16.69.254:80 -r 172.16.69.30:80 -g",
        ),
    )
    wait_until(lambda: director.ipvsadm() == wanted, 30, "the table of the page")
    listing = director.ipvsadm("-ln")
    assert "TCP  172.16.69.254:80 rr\n" in listing
    assert "  -> 172.16.69.20:80              Route   1      0          0" in listing
    assert "  -> 172.16.69.30:80              Route   1      0          0" in listing
    # The address was put there by hand, and is left alone.
    assert director.stop() == 0
    assert director.holds("172.16.69.254")


def test_seed_001_its_ipvsadm_commands_and_the_example_give_the_same_table(
    topology: MakeLab,
) -> None:
    lab = topology(site("192.200.0", 10, (20, 21), "192.200.0.198"))
    cluster = Cluster.build(lab, example("dr-public.conf")).start()

    wanted = by_hand(
        lab,
        (
            "ipvsadm -A -t 192.200.0.198:80 -s rr",
            "ipvsadm -a -t 192.200.0.198:80 -r 192.200.0.20:80 -g",
            "ipvsadm -a -t 192.200.0.198:80 -r 192.200.0.21:80 -g",
        ),
    )
    director = cluster.directors[0]
    wait_until(lambda: director.ipvsadm() == wanted, 30, "the table of the page")
    lab.exec_peer("client", ["ipvsadm", "-C"])
    asked = Client(lab, "http://192.200.0.198/", "--interval", "100").answers(10)
    assert set(counts(asked)) == {"rs1", "rs2"}


def test_seed_002_a_router_translates_to_the_vip_and_the_pair_survives_a_cut(
    topology: MakeLab,
) -> None:
    lab = topology(
        Layout(
            client=("192.168.17.105/24",),
            router=(("192.168.16.101/24",), ("192.168.17.101/24",)),
            directors=(("192.168.16.102/24",), ("192.168.16.106/24",)),
            reals=(("192.168.16.103/24",), ("192.168.16.104/24",)),
            vips=("192.168.16.200",),
        )
    )
    nat = "iptables -t nat -A"
    for rule in (
        f"{nat} PREROUTING -d 192.168.17.101 -p tcp --dport 80 -j DNAT"
        " --to-destination 192.168.16.200:80",
        f"{nat} POSTROUTING -s 192.168.16.0/24 -p tcp --sport 80 -j SNAT"
        " --to-source 192.168.17.101:80",
    ):
        lab.exec_peer("router", rule.split())
    text = example("dr-behind-router.conf").replace("priority=100", "priority=dirA:150,dirB:100")
    cluster = Cluster.build(lab, text).start()
    first, second = cluster.directors

    asking = Client(lab, "http://192.168.17.101/", "--interval", "100")
    assert set(counts(asking.answers(10))) == {"rs1", "rs2"}

    lab.cut("dirA")
    second.wait_state("master", 20)
    assert set(counts(asking.answers(10))) == {"rs1", "rs2"}
    assert not first.holds("192.168.16.200")


TABLE_003 = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.195.200:80 wlc
  -> 192.168.195.134:80           Route   1      0          0         
  -> 192.168.195.135:80           Route   {weight}      0          0         
"""  # noqa: W291 (ipvsadm pads its last column)


def test_seed_003_a_stopped_real_gives_the_table_of_the_page(topology: MakeLab) -> None:
    lab = topology(site("192.168.195", 130, (134, 135), "192.168.195.200"))
    page = "<html><body>This is fake WWW server {}</body></html>"
    text = example("ubuntu-dr.conf").replace("/var/log/", f"{lab.folder}/")
    cluster = Cluster.build(lab, text, lambda node: {"/test.html": page.format(node[2:])})
    director = cluster.start().directors[0]

    wait_until(lambda: director.ipvsadm("-ln") == TABLE_003.format(weight=1), 30, "both in")
    cluster.reals[1].kill()
    wait_until(lambda: director.ipvsadm("-ln") == TABLE_003.format(weight=0), 30, "one out")
    cluster.reals[1].start()
    wait_until(lambda: director.ipvsadm("-ln") == TABLE_003.format(weight=1), 30, "back in")

    assert "192.168.195.135:80" in (lab.folder / "ldirectord.log").read_text()


@pytest.mark.parametrize("standbytable", ["no", "yes"])
def test_seed_004_the_backup_takes_over_and_hands_back(
    topology: MakeLab, standbytable: str
) -> None:
    lab = topology(
        Layout(
            client=("192.168.1.9/24",),
            directors=(("192.168.1.2/24",), ("192.168.1.3/24",)),
            sync=(("172.16.1.2/24",), ("172.16.1.3/24",)),
            reals=(("192.168.1.4/24",), ("192.168.1.5/24",)),
            vips=("192.168.1.1",),
        )
    )
    text = (
        example("heartbeat-pair.conf")
        .replace("priority=100", "priority=dirA:150,dirB:100")
        .replace("/var/log/", f"{lab.folder}/")
    )
    text = f"standbytable={standbytable}\n{text}"
    cluster = Cluster.build(lab, text, lambda node: {"/.testpage": "test page\n"}).start()
    master, backup = cluster.directors
    full = (
        "-A -t 192.168.1.1:80 -s rr\n"
        "-a -t 192.168.1.1:80 -r 192.168.1.4:80 -g -w 5\n"
        "-a -t 192.168.1.1:80 -r 192.168.1.5:80 -g -w 5\n"
    )
    standby = full if standbytable == "yes" else ""

    wait_until(lambda: master.ipvsadm() == full, 30, "the master's table")
    wait_until(lambda: backup.ipvsadm() == standby, 30, "the backup's table")
    asking = Client(lab, "http://192.168.1.1/.testpage", "--interval", "100")
    assert set(counts(asking.answers(10))) == {"rs1", "rs2"}

    assert master.stop() == 0
    backup.wait_state("master", 10)
    wait_until(lambda: backup.ipvsadm() == full, 10, "the new master's table")
    assert set(counts(asking.answers(10))) == {"rs1", "rs2"}

    master.start()
    master.wait_state("master")
    wait_until(lambda: backup.ipvsadm() == standby, 30, "the backup's table again")
    wait_until(lambda: master.ipvsadm() == full, 30, "the master's table again")
    assert set(counts(asking.answers(10))) == {"rs1", "rs2"}

    # quiescent=no: a failed real disappears (three failures) and returns.
    cluster.reals[1].kill()
    one = "".join(line + "\n" for line in full.splitlines() if ".5:80" not in line)
    wait_until(lambda: master.ipvsadm() == one, 40, "the failed real is gone")
    cluster.reals[1].start()
    wait_until(lambda: set(master.ipvsadm().splitlines()) == set(full.splitlines()), 20, "back")
