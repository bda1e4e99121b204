"""Virtual addresses as `address=` and `excludedaddress=` write them."""

from __future__ import annotations

import ipaddress
import re

from lvsd.config.diagnostics import BadValue, proposal
from lvsd.config.values import interface_name
from lvsd.core.model import IPAddress, Vip

SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254}


def vip(text: str) -> Vip:
    """ADDRESS[/LENGTH] [dev IF] [label IF:NAME] [scope S]. Raises BadValue."""
    host, *words = re.sub(r"\b(dev|label|scope)=", r"\1 ", text).split()
    plain, slash, length = host.partition("/")
    try:
        address = ipaddress.ip_address(plain.strip("[]"))
    except ValueError:
        raise BadValue(f"{plain} is no address; write ADDRESS or ADDRESS/LENGTH") from None
    if address.version == 6 and "%" in plain:
        raise BadValue(f"{plain}: no zone here; write dev INTERFACE behind the address")
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        raise BadValue(f"{plain} is no address that a host can hold")
    most = address.max_prefixlen
    if slash and not (re.fullmatch(r"[0-9]{1,3}", length) and 1 <= int(length) <= most):
        raise BadValue(f"/{length} is no length; 1 to {most} are possible", len(plain))
    if len(words) % 2:
        raise BadValue(f"{words[-1]} has no value; known are dev, label and scope")
    options: dict[str, str] = dict(zip(words[::2], words[1::2], strict=True))
    for word in options:
        if word not in ("dev", "label", "scope"):
            near = proposal(word, ("dev", "label", "scope"))
            raise BadValue(f"{word} is unknown; known are dev, label and scope{near}")
    return Vip(
        address=address,
        prefixlen=int(length) if slash else most,
        dev=interface_name(options["dev"]) if "dev" in options else "",
        label=_label(options.get("label", ""), address),
        scope=_scope(options.get("scope", "global")),
    )


def _label(label: str, address: IPAddress) -> str:
    if label and address.version == 6:
        raise BadValue("an IPv6 address has no label")
    if len(label.encode("utf-8", "surrogateescape")) > 15 or re.search(r"[#\"]", label):
        raise BadValue(f"the label {label} is longer than the kernel's 15 characters, or odd")
    return label


def _scope(text: str) -> int:
    if text in SCOPES:
        return SCOPES[text]
    if re.fullmatch(r"[0-9]{1,3}", text) and int(text) <= 254:
        return int(text)
    raise BadValue(
        f"{text} is no scope (global, site, link, host or a number){proposal(text, SCOPES)}"
    )
