"""Foreign VRRP implementations of the lab's Debian tree, in the namespace of a director.

keepalived 2.2.7 and FRR 8.4's vrrpd (which needs zebra, and macvlans with the virtual MAC made
beforehand). Both keep their files in the network's folder and are ended by process group.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab import peer
from tests.netns.network import Director, Network, eventually, ip

KEEPALIVED = """
global_defs {{ vrrp_version {version} }}
vrrp_instance VI_1 {{
    interface eth0
    state BACKUP
    virtual_router_id 51
    priority {priority}
    advert_int {interval}
    {more}
    virtual_ipaddress {{
        {addresses}
    }}
}}
"""
FRR = """
log stdout debugging
debug vrrp
interface eth0
 vrrp 51 version {version}
 vrrp 51 priority {priority}
 vrrp 51 advertisement-interval {interval}
{more} {addresses}
"""
#: FRR wants its user to be in the group of its terminal; a copy of /etc/group says so.
MEMBER = (
    *("sh", "-ec"),
    "sed 's/^\\(frrvty:.*\\)$/\\1,root/; s/:,root/:root/' /etc/group >/tmp/group;"
    ' mount --bind /tmp/group /etc/group; exec "$@"',
    "frr",
)


class Peer:
    """Programs that end with the context."""

    def __init__(self, network: Network, director: Director) -> None:
        self.director = director
        self.folder = network.folder / f"peer-{director.namespace}"
        self.folder.mkdir(exist_ok=True)
        self.running: list[subprocess.Popen[bytes]] = []

    def spawn(self, name: str, command: Sequence[str | Path]) -> None:
        inside = ["ip", "netns", "exec", self.director.namespace]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running.append(
                subprocess.Popen(
                    [*inside, *peer.words(command, self.folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def said(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """An orderly stop: whoever is master says priority 0."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=15)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Keepalived(Peer):
    """Starts with the context; `more` is put into its instance as it is.

    `device` is the interface of its addresses, "" to let it choose.
    """

    def __init__(
        self,
        network: Network,
        director: Director,
        *addresses: str,
        version: int = 2,
        priority: int = 100,
        interval: float = 1,
        more: str = "",
        device: str = "eth0",
    ) -> None:
        super().__init__(network, director)
        where = f" dev {device}" if device else ""
        text = KEEPALIVED.format(
            version=version,
            priority=priority,
            interval=interval,
            more=more,
            addresses="\n".join(f"{address}{where}" for address in addresses),
        )
        (self.folder / "keepalived.conf").write_text(text)

    def __enter__(self) -> Self:
        words = ["/usr/sbin/keepalived", "-n", "-l", "-P", "-D", "-G"]
        words += [
            "-f",
            str(self.folder / "keepalived.conf"),
            "-p",
            "/run/k.pid",
            "-r",
            "/run/v.pid",
        ]
        self.spawn("keepalived", words)
        return self

    @property
    def log(self) -> str:
        return self.said("keepalived")

    @property
    def state(self) -> str:
        """The state it entered last, in lower case; "" before the first."""
        found = [line for line in self.log.splitlines() if " Entering " in line]
        return found[-1].split(" Entering ")[1].split()[0].lower() if found else ""


class Frr(Peer):
    """FRR's zebra and vrrpd; it holds its addresses on a macvlan all the time.

    While it is not master the macvlan is down by protodown, so that it hears nothing.
    """

    def __init__(
        self,
        network: Network,
        director: Director,
        *addresses: str,
        version: int = 3,
        priority: int = 100,
        interval: float = 1.0,
        more: str = "",
    ) -> None:
        super().__init__(network, director)
        self.six = ":" in addresses[0]
        self.link = f"vrrp{6 if self.six else 4}-2-1"
        words = "ipv6" if self.six else "ip"
        text = FRR.format(
            version=version,
            priority=priority,
            interval=round(interval * 1000),
            more=f" {more}\n" if more else "",
            addresses="\n ".join(f"vrrp 51 {words} {address}" for address in addresses),
        )
        (self.folder / "frr.conf").write_text(text)
        self._macvlan(addresses)

    def _macvlan(self, addresses: Sequence[str]) -> None:
        name, inside = self.link, ("-n", self.director.namespace)
        mac = f"00:00:5e:00:0{2 if self.six else 1}:33"
        ip(*inside, "link", "add", name, "link", "eth0", "type", "macvlan", "mode", "bridge")
        ip(*inside, "link", "set", "dev", name, "addrgenmode", "random")
        ip(*inside, "link", "set", "dev", name, "address", mac)
        for address in addresses:
            length = 64 if self.six else 24
            # With "noprefixroute", or the client is answered over the macvlan while it is down.
            ip(*inside, "addr", "add", f"{address}/{length}", "dev", name, "noprefixroute")
        ip(*inside, "link", "set", "dev", name, "up")
        # The VIP is for the macvlan to answer for, not for the interface below it.
        self.director.python(
            "from pathlib import Path\n"
            "for each in ('all', 'eth0'):\n"
            "    Path(f'/proc/sys/net/ipv4/conf/{each}/arp_ignore').write_text('1')\n"
            "    Path(f'/proc/sys/net/ipv4/conf/{each}/rp_filter').write_text('0')\n"
        )

    def __enter__(self) -> Self:
        socket = self.folder / "zserv.api"
        common = ["-u", "root", "-g", "root", "--vty_socket", self.folder, "-z", socket]
        for name in ("zebra", "vrrpd"):
            files = ["-i", self.folder / f"{name}.pid", "-f", self.folder / "frr.conf"]
            self.spawn(name, [*MEMBER, f"/usr/lib/frr/{name}", *common, *files, "-P", "0"])
            self._wait_for(name)
        return self

    def _wait_for(self, name: str) -> None:
        try:
            eventually((self.folder / f"{name}.vty").exists)
        except AssertionError as late:
            self.__exit__(None, None, None)
            raise AssertionError(f"{name} does not answer:\n{self.said(name)}") from late

    @property
    def log(self) -> str:
        return self.said("vrrpd")

    def shown(self) -> dict[str, Any]:
        """What it says of its router: `v4` or `v6` of `show vrrp json`."""
        command = ["vtysh", "--vty_socket", self.folder, "-d", "vrrpd", "-c", "show vrrp json"]
        inside = ["ip", "netns", "exec", self.director.namespace]
        done = subprocess.run(
            [*inside, *peer.words(command, self.folder)], capture_output=True, text=True
        )
        try:
            (router,) = json.loads(done.stdout)
        except ValueError:
            return {}
        return dict(router["v6" if self.six else "v4"])

    @property
    def state(self) -> str:
        """Its state in lower case; "" while it does not answer."""
        return str(self.shown().get("status", "")).lower()
