"""The table in ipvsadm's rule language, as `ipvsadm -Sn` prints it.

`rules` writes what the tool saves, so the two compare equal; that leaves out thresholds, which
`ipvsadm -S` forgets. The `*_words` functions are for commands and leave nothing out. Nothing is
ever looked up: addresses, ports and marks stay numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from lvsd.core.model import (
    Destination,
    Family,
    Forwarding,
    Protocol,
    ServiceFlag,
    ServiceKey,
    Table,
    VirtualService,
)

_METHOD = {
    Forwarding.MASQ: "-m",
    Forwarding.LOCAL: "-g",
    Forwarding.TUNNEL: "-i",
    Forwarding.ROUTE: "-g",
    Forwarding.BYPASS: "-g",
}
_PROTOCOL = {Protocol.TCP: "-t", Protocol.UDP: "-u", Protocol.SCTP: "--sctp-service"}
_TUNNEL_TYPE = ("ipip", "gue", "gre")
_TUNNEL_CHECKSUM = ("--tun-nocsum", "--tun-csum", "--tun-remcsum")
_SCHEDULER_FLAGS = {
    ServiceFlag.SCHED1: {"sh": "sh-fallback", "mh": "mh-fallback"},
    ServiceFlag.SCHED2: {"sh": "sh-port", "mh": "mh-port"},
    ServiceFlag.SCHED3: {},
}


def service_option(key: ServiceKey) -> str:
    """`-t 192.0.2.1:80`, `-u …`, `--sctp-service …`, `-f 1` or `-f 1 -6`."""
    if key.protocol is Protocol.FWM:
        return f"-f {key.fwmark}" + (" -6" if key.family is Family.INET6 else "")
    return f"{_PROTOCOL[key.protocol]} {key}"


def service_words(service: VirtualService) -> str:
    """The attributes of a service: `-s wlc -p 300 -M 255.255.255.0 --pe sip -o -b flag-3`."""
    return " ".join(_service_words(service))


def _service_words(service: VirtualService) -> Iterator[str]:
    yield f"-s {service.scheduler}"
    if service.flags & ServiceFlag.PERSISTENT:
        yield f"-p {service.timeout}"
        if mask := granularity(service):
            yield f"-M {mask}"
    if service.pe_name:
        yield f"--pe {service.pe_name}"
    if service.flags & ServiceFlag.ONEPACKET:
        yield "-o"
    if names := scheduler_flags(service):
        yield f"-b {','.join(names)}"


def granularity(service: VirtualService) -> str:
    """The persistence mask: `255.255.255.0`, or `64` for IPv6; "" for single hosts."""
    if service.key.family is Family.INET:
        whole = service.prefixlen == 32
        return "" if whole else str(IPv4Network((0, service.prefixlen)).netmask)
    return "" if service.prefixlen == 128 else str(service.prefixlen)


def scheduler_flags(service: VirtualService) -> list[str]:
    """The names of the scheduler's flags: `sh-port`, `flag-3`."""
    return [
        words.get(service.scheduler, f"flag-{number}")
        for number, (flag, words) in enumerate(_SCHEDULER_FLAGS.items(), 1)
        if service.flags & flag
    ]


def destination_words(destination: Destination) -> str:
    """The attributes of a destination: `-g -w 1`, with tunnel words and thresholds if any."""
    words = [_METHOD[destination.forwarding], f"-w {destination.weight}"]
    if destination.tun_type:
        words += _tunnel_words(destination)
    if destination.u_threshold:
        words.append(f"-x {destination.u_threshold}")
    if destination.l_threshold:
        words.append(f"-y {destination.l_threshold}")
    return " ".join(words)


def _saved_words(destination: Destination) -> str:
    """The same as `ipvsadm -S` saves it: the tunnel type always, thresholds never."""
    words = [_METHOD[destination.forwarding], f"-w {destination.weight}"]
    return " ".join([*words, *_tunnel_words(destination)])


def _tunnel_words(destination: Destination) -> Iterator[str]:
    kind = destination.tun_type
    if destination.forwarding is not Forwarding.TUNNEL or kind >= len(_TUNNEL_TYPE):
        return
    yield f"--tun-type {_TUNNEL_TYPE[kind]}"
    if kind == 1:
        yield f"--tun-port {destination.tun_port}"
    if kind and destination.tun_flags < len(_TUNNEL_CHECKSUM):
        yield _TUNNEL_CHECKSUM[destination.tun_flags]


def rules(table: Table) -> str:
    """The table as `ipvsadm -Sn` saves it: one rule per line, in the table's order.

    The tool itself sorts its lines, and prints marks above 2147483647 as negative numbers.
    """
    lines = []
    for key, entry in table.items():
        option = service_option(key)
        lines.append(f"-A {option} {service_words(entry.service)}")
        lines += (
            f"-a {option} -r {destination.key} {_saved_words(destination)}"
            for destination in entry.destinations.values()
        )
    return "".join(line + "\n" for line in lines)
