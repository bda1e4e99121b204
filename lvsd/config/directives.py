"""Questions to the table of directives: look-up, help, reference."""

from __future__ import annotations

from lvsd.config.diagnostics import proposal
from lvsd.config.rows import Directive, F, G, P, R, S, V
from lvsd.config.table import TABLE

_BY_SCOPE = {(scope, row.name): row for row in TABLE for scope in row.scopes}
NAMES = tuple(dict.fromkeys(row.name for row in TABLE))
_NOWHERE = frozenset[str]()
_SCOPES = {name: frozenset(scope for scope, row in _BY_SCOPE if row == name) for name in NAMES}


def directive(name: str, scope: str) -> Directive | None:
    """The row of `name` in blocks of kind `scope`."""
    return _BY_SCOPE.get((scope, name))


def scopes(name: str) -> frozenset[str]:
    """The kinds of blocks in which `name` may stand; empty for an unknown name."""
    return _SCOPES.get(name, _NOWHERE)


#: Words of keepalived.conf whose counterpart has another name.
_FOREIGN = {
    "vrrp_instance": "vrrp=NAME opens an instance",
    "vrrp_sync_group": "syncgroup=NAME in each vrrp= block",
    "vrrp_script": "script=NAME opens a script",
    "virtual_server": "virtual=ADDRESS:PORT opens a service",
    "real_server": "real=ADDRESS:PORT METHOD WEIGHT",
    "virtual_ipaddress": "address=ADDRESS",
    "virtual_ipaddress_excluded": "excludedaddress=ADDRESS",
    "virtual_routes": "route=DESTINATION via GATEWAY",
    "virtual_rules": "rule=from NETWORK table N",
    "unicast_peer": "peer=ADDRESS",
    "unicast_src_ip": "unicastsrcip=ADDRESS",
    "state": "the priority decides; leave it out",
    "router_id": "it is not needed; leave it out",
    "lb_algo": "scheduler=",
    "lb_kind": "gate, masq or ipip in each real= line",
    "lvs_sched": "scheduler=",
    "lvs_method": "gate, masq or ipip in each real= line",
    "delay_loop": "checkinterval=",
    "persistence_timeout": "persistent=",
    "sorry_server": "fallback=",
    "connect_timeout": "checktimeout=",
    "retry": "failurecount=",
    "vrrp_garp_interval": "garpinterval=",
    "vrrp_gna_interval": "gnainterval=",
    "nb_get_retry": "failurecount=",
    "weight": "the number behind the method in a real= line",
}


def hint(name: str, kind: str = G) -> str:
    """What to write for an unknown name: the counterpart, or the nearest name that fits here."""
    if name.lower() in _FOREIGN:
        return f"; here: {_FOREIGN[name.lower()]}"
    plain = name.lower().replace("_", "").replace("-", "")
    if plain in NAMES:
        return f'; did you mean "{plain}"?'
    there = [word for word in NAMES if directive(word, kind) is not None]
    return proposal(name, there) or proposal(name, NAMES)


def describe(name: str) -> str:
    """What `lvsd help NAME` prints. LookupError, with the nearest name, for an unknown name."""
    rows = [row for row in TABLE if row.name == name.lower()]
    if not rows:
        raise LookupError(f"no directive {name}{hint(name, '')}")
    return "\n".join(_described(row) for row in rows)


def _described(row: Directive) -> str:
    lines = [f"{row.name}=", f"  {row.doc}", f"  scope    {', '.join(sorted(row.scopes))}"]
    lines.append(f"  type     {_type(row)}")
    if row.default:
        lines.append(f"  default  {row.default}")
    if row.repeatable:
        lines.append("  may be repeated")
    if row.per_node:
        lines.append(f"  per node {row.name}=NODE:VALUE,NODE:VALUE")
    if row.refused:
        lines.append(f"  refused: {row.name} {row.refused}")
    lines.append(f"  since    {row.origin}")
    return "\n".join(lines)


def _type(row: Directive) -> str:
    if row.choices:
        return " | ".join(row.choices)
    words = {
        "number": "whole number",
        "integer": "whole number",
        "decimal": "number",
        "yesno": "yes | no",
        "quoted": '"text in straight double quotes"',
        "regex": '"regular expression in straight double quotes"',
        "argv": "program and arguments",
        "identity": "USER [GROUP]",
        "process": "program and arguments",
        "command": "program and arguments",
        "names": "names",
        "source": "address",
    }
    return words.get(row.kind, row.kind)


_PREFACE = """# Configuration reference

<!-- Generated from lvsd/config/table.py; a test compares it. -->

A file of `name=value` lines. Globals stand in column 0. A line such as `virtual=` or `vrrp=`
opens a block; its members follow, indented by a TAB or 4 blanks, until the first blank line or
the next line in column 0. `#` starts a comment. A repeated directive: the last one wins, with a
warning, unless it may be repeated. The order of globals and blocks does not matter.

"Since" tells whose word it is: a file for ldirectord, keepalived's word, or lvsd's own.
"""


def reference() -> str:
    """docs/configuration.md."""
    titles = {
        G: "Globals",
        V: "In a virtual= block",
        R: "In a vrrp= block",
        S: "In a script= block",
        P: "In a process= block",
        F: "In a file= block",
    }
    parts = [_PREFACE]
    for scope, title in titles.items():
        rows = sorted((r for r in TABLE if scope in r.scopes), key=lambda row: row.name)
        parts.append(f"\n## {title}\n\n| directive | type | default | since | meaning |")
        parts.append("\n|---|---|---|---|---|\n")
        parts.extend(_reference_row(row) for row in rows if not row.refused)
        refused = [row for row in rows if row.refused]
        if refused:
            parts.append("\nKnown, but refused with an error:\n\n")
            parts.extend(f"- `{row.name}` {row.refused}.\n" for row in refused)
    return "".join(parts)


def _reference_row(row: Directive) -> str:
    kind = _type(row).replace("|", "\\|")
    doc = row.doc.replace("|", "\\|") + (" May be repeated." if row.repeatable else "")
    if row.per_node:
        doc += " May differ per node."
    default = row.default or ("required" if "Required." in row.doc else "none")
    return f"| `{row.name}` | {kind} | {default} | {row.origin} | {doc} |\n"
