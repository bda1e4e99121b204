"""The kernel's IPVS table as a third party sees it: /proc/net/ip_vs of the calling thread."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path


def weights() -> dict[str, int]:
    """Real server (ADDRESS:PORT, IPv4) → weight, of all services; IPv6 ones are left out."""
    return read(Path("/proc/thread-self/net/ip_vs").read_text())


def read(text: str) -> dict[str, int]:
    """The same of a text; addresses and ports are hexadecimal there."""
    rows = (line.split() for line in text.splitlines() if line.startswith("  -> "))
    found = {}
    for _, real, _, weight, *_ in rows:
        address, _, port = real.partition(":")
        if len(address) == 8 and address.isalnum() and weight.isdigit():
            found[f"{IPv4Address(int(address, 16))}:{int(port, 16)}"] = int(weight)
    return found
