"""Who is on the network with which addresses: the plan that Topology carries out.

`Layout.dr()`, `.nat()` and `.tun()` give the usual clusters; for the addresses of a given
site, name them. Addresses are written with their prefix length, any number of either family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface
from typing import Literal

Method = Literal["dr", "nat", "tun"]


@dataclass(frozen=True, slots=True)
class Cable:
    """An interface of a machine, plugged into a switch."""

    node: str
    interface: str
    switch: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A cluster. `directors` and `reals` have one tuple of addresses per machine.

    vips: plain addresses, held by the real servers on lo (dr) or the tunnel device (tun).
    sync: the directors' addresses on eth1. inner: theirs on eth2 (nat: towards the reals).
    router: (addresses on the lan, addresses on the client's side); the client is behind it,
    and it is everybody's default gateway. gateways: the reals' default routes, one per
    family; needed for nat, where it is a director's inner address.
    extra: machines besides, on the lan, by name.
    """

    method: Method = "dr"
    client: tuple[str, ...] = ("10.77.0.2/24", "fd77::2/64")
    directors: tuple[tuple[str, ...], ...] = ()
    reals: tuple[tuple[str, ...], ...] = ()
    vips: tuple[str, ...] = ("10.77.0.100", "fd77::100")
    sync: tuple[tuple[str, ...], ...] = (("10.79.0.11/24",), ("10.79.0.12/24",))
    inner: tuple[tuple[str, ...], ...] = ()
    router: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    gateways: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def dr(cls, *, reals: int = 2, directors: int = 2) -> Layout:
        """LVS-DR on one network: client .2, dirA .11, dirB .12, rs1.. .21.., VIP .100.

        IPv4 10.77.0.0/24 and, with the same last numbers, IPv6 fd77::/64.
        """
        return cls(
            "dr",
            directors=_hosts("10.77.0.", "fd77::", 11, directors),
            reals=_hosts("10.77.0.", "fd77::", 21, reals),
        )

    @classmethod
    def tun(cls, *, reals: int = 2, directors: int = 2) -> Layout:
        """LVS-TUN: the addresses of dr(); the reals have the VIPs on tunl0 and tun6."""
        return cls(
            "tun",
            directors=_hosts("10.77.0.", "fd77::", 11, directors),
            reals=_hosts("10.77.0.", "fd77::", 21, reals),
        )

    @classmethod
    def nat(cls, *, reals: int = 2, directors: int = 2) -> Layout:
        """LVS-NAT: reals 10.78.0.21.. and fd78::21.. behind the directors (eth2 .11, .12).

        The reals' default route is dirA's inner address.
        """
        return cls(
            "nat",
            directors=_hosts("10.77.0.", "fd77::", 11, directors),
            inner=_hosts("10.78.0.", "fd78::", 11, directors),
            reals=_hosts("10.78.0.", "fd78::", 21, reals),
            gateways=("10.78.0.11", "fd78::11"),
        )

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the machines."""
        return tuple(dict.fromkeys(cable.node for cable in self.cables))

    @property
    def switches(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cable.switch for cable in self.cables))

    @property
    def cables(self) -> tuple[Cable, ...]:
        """Every interface there is."""
        cables = [Cable("client", "eth0", "outer" if self.router else "lan", self.client)]
        if self.router:
            cables.append(Cable("router", "eth0", "lan", self.router[0]))
            cables.append(Cable("router", "eth1", "outer", self.router[1]))
        for index, addresses in enumerate(self.directors):
            name = f"dir{chr(ord('A') + index)}"
            cables.append(Cable(name, "eth0", "lan", addresses))
            if index < len(self.sync):
                cables.append(Cable(name, "eth1", "sync", self.sync[index]))
            if index < len(self.inner):
                cables.append(Cable(name, "eth2", "inner", self.inner[index]))
        where = "inner" if self.inner else "lan"
        for number, addresses in enumerate(self.reals, 1):
            cables.append(Cable(f"rs{number}", "eth0", where, addresses))
        for name, addresses in self.extra.items():
            cables.append(Cable(name, "eth0", "lan", addresses))
        return tuple(cables)

    def commands(self, node: str) -> list[str]:
        """What `ip -batch` does on a machine."""
        lines = ["link set lo up"]
        for cable in self.cables:
            if cable.node == node:
                lines += [f"addr add {a} dev {cable.interface}" for a in cable.addresses]
                lines.append(f"link set {cable.interface} up")
        if node.startswith("rs"):
            lines += self._vips_of_a_real(self.reals[int(node[2:]) - 1])
        return lines + self._routes(node)

    def _vips_of_a_real(self, own: tuple[str, ...]) -> list[str]:
        if self.method == "nat":
            return []
        if self.method == "dr":
            return [f"addr add {_host(vip)} dev lo" for vip in self.vips]
        lines = []
        for vip in self.vips:
            version = ip_address(vip).version
            device = "tunl0" if version == 4 else "tun6"
            up = f"link set {device} up"
            if up not in lines:
                if version == 6:
                    # ip6tnl0, made with the namespace, drops everything until it is configured.
                    local = next(str(ip_interface(a).ip) for a in own if ":" in a)
                    lines.append(f"link add name {device} type ip6tnl local {local} remote ::")
                lines.append(up)
            lines.append(f"addr add {_host(vip)} dev {device}")
        return lines

    def _routes(self, node: str) -> list[str]:
        gateways: Sequence[str] = self.gateways if node.startswith("rs") else ()
        if self.router and node != "router" and not gateways:
            side = self.router[1] if node == "client" else self.router[0]
            gateways = [str(ip_interface(address).ip) for address in side]
        return [f"route add default via {gateway}" for gateway in gateways]

    def sysctls(self, node: str) -> dict[str, object]:
        """The `net` sysctls of a machine."""
        values: dict[str, object] = {}
        if node.startswith(("dir", "router")):
            values |= {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}
        if node.startswith("dir"):
            # A director must not tell clients of a NAT service to go to the real directly.
            values |= {"ipv4/conf/all/send_redirects": 0, "ipv4/conf/eth0/send_redirects": 0}
        if node.startswith("rs") and self.method != "nat":
            values |= {"ipv4/conf/all/arp_ignore": 1, "ipv4/conf/all/arp_announce": 2}
        if node.startswith("rs") and self.method == "tun":
            values |= {"ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0}
            if any(ip_address(vip).version == 4 for vip in self.vips):
                values["ipv4/conf/tunl0/rp_filter"] = 0
        return values


def _host(address: str) -> str:
    """A single address with its full prefix length."""
    return f"{address}/{ip_address(address).max_prefixlen}"


def _hosts(v4: str, v6: str, first: int, count: int) -> tuple[tuple[str, ...], ...]:
    return tuple((f"{v4}{first + i}/24", f"{v6}{first + i}/64") for i in range(count))
