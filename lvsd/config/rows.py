"""What a directive is: one row of THE table, and the short way to write one.

A row with `refused` is known but can't be honoured yet: it is an error that says so, never ignored.
"""

from __future__ import annotations

from lvsd.core.record import dataclass

G, V, R, S, P, F = "global", "virtual", "vrrp", "script", "process", "file"

#: What opens a block of each kind.
OPENERS = {"virtual": V, "virtual6": V, "vrrp": R, "script": S, "process": P, "file": F}

SECONDS = (1, 86400 * 365)
COUNT = (1, 10**6)


@dataclass(frozen=True, slots=True)
class Directive:
    """One row. `origin` names whose word it is: ldirectord, keepalived or lvsd.

    `minimum` and `maximum` bound numbers. `per_node` values may be `node:value,node:value`.
    """

    name: str
    scopes: frozenset[str]
    kind: str
    default: str
    doc: str
    origin: str = "ldirectord"
    repeatable: bool = False
    per_node: bool = False
    minimum: float = 0
    maximum: float = 2**31 - 1
    choices: tuple[str, ...] = ()
    bare: bool = False
    refused: str = ""
    notice: str = ""


def row(
    scopes: str,
    name: str,
    kind: str,
    default: str,
    doc: str,
    *,
    origin: str = "ldirectord",
    many: bool = False,
    bounds: tuple[float, float] = (0, 2**31 - 1),
    choices: tuple[str, ...] = (),
    bare: bool = False,
    refused: str = "",
    notice: str = "",
) -> Directive:
    """One row; `scopes` are the letters of the kinds of blocks, `many` says it may be repeated."""
    letters = {"G": G, "V": V, "R": R, "S": S, "P": P, "F": F}
    per_node = kind in ("number", "integer", "decimal", "yesno", "interface", "source")
    return Directive(
        name=name,
        scopes=frozenset(letters[c] for c in scopes),
        kind=kind,
        default=default,
        doc=doc,
        origin=origin,
        repeatable=many,
        per_node=per_node,
        minimum=bounds[0],
        maximum=bounds[1],
        choices=choices,
        bare=bare,
        refused=refused,
        notice=notice,
    )
