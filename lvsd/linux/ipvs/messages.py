"""pyroute2's IPVS message classes with their attribute types put right, and the rare requests.

pyroute2 declares the netmask as an IPv4 address (IPv6 wants a prefix length), the tunnel port in
host order (the kernel wants network order), and sync daemons and timeouts as opaque text. The
derived classes here say what linux/ip_vs.h says. They serve sync daemons and timeouts, where
convenience matters more than speed, and the tests as a decoder that shares nothing with `codec`.
(pyroute2's own `update` command is never used: it sends a delete.) Nothing imports this module
before the first such request: pyroute2 would be a third of what the child loads to start.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from pyroute2.netlink import genlmsg, nla
from pyroute2.netlink.generic import ipvs as pyroute2_ipvs

from lvsd.core.model import SyncDaemon, SyncRole
from lvsd.linux.ipvs.lookup import HEADER_SIZE

CMD_NEW_DAEMON, CMD_DEL_DAEMON, CMD_GET_DAEMON = 9, 10, 11
CMD_SET_CONFIG, CMD_GET_CONFIG = 12, 13


def _corrected(cls: Any, **types: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, types.get(name.split("ATTR_")[1], kind)) for name, kind in cls.nla_map)


class _Service(pyroute2_ipvs.ipvsmsg.service):  # type: ignore[misc]
    nla_map = _corrected(pyroute2_ipvs.ipvsmsg.service, NETMASK="uint32")


class _Dest(pyroute2_ipvs.ipvsmsg.dest):  # type: ignore[misc]
    nla_map = _corrected(pyroute2_ipvs.ipvsmsg.dest, TUN_PORT="be16")


class _Daemon(nla):  # type: ignore[misc]
    prefix = "IPVS_DAEMON_ATTR_"
    nla_map = (
        ("IPVS_DAEMON_ATTR_UNSPEC", "none"),
        ("IPVS_DAEMON_ATTR_STATE", "uint32"),
        ("IPVS_DAEMON_ATTR_MCAST_IFN", "asciiz"),
        ("IPVS_DAEMON_ATTR_SYNC_ID", "uint32"),
        ("IPVS_DAEMON_ATTR_SYNC_MAXLEN", "uint16"),
        ("IPVS_DAEMON_ATTR_MCAST_GROUP", "ip4addr"),
        ("IPVS_DAEMON_ATTR_MCAST_GROUP6", "ip6addr"),
        ("IPVS_DAEMON_ATTR_MCAST_PORT", "uint16"),
        ("IPVS_DAEMON_ATTR_MCAST_TTL", "uint8"),
    )


class IpvsMessage(genlmsg):  # type: ignore[misc]
    """Any IPVS message but the answer to GET_INFO, which `lookup` reads."""

    prefix = "IPVS_CMD_ATTR_"
    nla_map = (
        ("IPVS_CMD_ATTR_UNSPEC", "none"),
        ("IPVS_CMD_ATTR_SERVICE", "service"),
        ("IPVS_CMD_ATTR_DEST", "dest"),
        ("IPVS_CMD_ATTR_DAEMON", "daemon"),
        ("IPVS_CMD_ATTR_TIMEOUT_TCP", "uint32"),
        ("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN", "uint32"),
        ("IPVS_CMD_ATTR_TIMEOUT_UDP", "uint32"),
    )
    service, dest, daemon = _Service, _Dest, _Daemon


def _attributes(message: Any, attrs: Sequence[Any]) -> bytes:
    message["attrs"] = list(attrs)
    message.encode()
    return bytes(message.data[HEADER_SIZE:])


def decode(cls: Any, attributes: bytes) -> Any:
    """A pyroute2 message of class `cls` read from bare attributes (headers left out)."""
    header = struct.pack("=IHHIIBBxx", HEADER_SIZE + len(attributes), 0, 0, 0, 0, 0, 1)
    message = cls(header + attributes)
    message.decode()
    return message


def daemon_request(role: SyncRole, daemon: SyncDaemon | None = None) -> bytes:
    """Attributes of NEW_DAEMON, or of DEL_DAEMON (which needs the role alone)."""
    attrs: list[tuple[str, Any]] = [("IPVS_DAEMON_ATTR_STATE", int(role))]
    if daemon is not None:
        attrs.append(("IPVS_DAEMON_ATTR_MCAST_IFN", daemon.interface))
        attrs.append(("IPVS_DAEMON_ATTR_SYNC_ID", daemon.syncid))
        attrs += _sync_options(daemon)
    return _attributes(IpvsMessage(), [("IPVS_CMD_ATTR_DAEMON", {"attrs": attrs})])


def _sync_options(daemon: SyncDaemon) -> list[tuple[str, Any]]:
    """What differs from the kernel's defaults; before Linux 4.3 it knew no other."""
    plain = SyncDaemon(daemon.role, daemon.interface)
    six = "6" if daemon.group.version == 6 else ""
    options: list[tuple[str, Any]] = []
    if daemon.maxlen:
        options.append(("IPVS_DAEMON_ATTR_SYNC_MAXLEN", daemon.maxlen))
    if daemon.group != plain.group:
        options.append((f"IPVS_DAEMON_ATTR_MCAST_GROUP{six}", str(daemon.group)))
    if daemon.port != plain.port:
        options.append(("IPVS_DAEMON_ATTR_MCAST_PORT", daemon.port))
    if daemon.ttl != plain.ttl:
        options.append(("IPVS_DAEMON_ATTR_MCAST_TTL", daemon.ttl))
    return options


def read_daemon(attributes: bytes) -> SyncDaemon:
    """One entry of a GET_DAEMON dump."""
    daemon = decode(IpvsMessage, attributes).get_attr("IPVS_CMD_ATTR_DAEMON")

    def attribute(name: str) -> Any:
        return daemon.get_attr(f"IPVS_DAEMON_ATTR_{name}")

    plain = SyncDaemon(SyncRole(attribute("STATE")), attribute("MCAST_IFN"), attribute("SYNC_ID"))
    group = attribute("MCAST_GROUP") or attribute("MCAST_GROUP6")
    return replace(
        plain,
        port=attribute("MCAST_PORT") or plain.port,
        ttl=attribute("MCAST_TTL") or plain.ttl,
        group=ip_address(group) if group else plain.group,
        maxlen=attribute("SYNC_MAXLEN") or 0,
    )


_TIMEOUTS = ("TCP", "TCP_FIN", "UDP")


def timeouts_request(tcp: int, tcp_fin: int, udp: int) -> bytes:
    """Attributes of SET_CONFIG; seconds, 0 leaves a timeout as it is."""
    pairs = zip(_TIMEOUTS, (tcp, tcp_fin, udp), strict=True)
    return _attributes(
        IpvsMessage(), [(f"IPVS_CMD_ATTR_TIMEOUT_{name}", value) for name, value in pairs if value]
    )


def read_timeouts(attributes: bytes) -> tuple[int, int, int]:
    """Timeouts of tcp, tcpfin and udp in seconds, from GET_CONFIG's answer."""
    message = decode(IpvsMessage, attributes)
    tcp, tcp_fin, udp = (message.get_attr(f"IPVS_CMD_ATTR_TIMEOUT_{name}") for name in _TIMEOUTS)
    return int(tcp), int(tcp_fin), int(udp)
