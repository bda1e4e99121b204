"""A `real=` line as ldirectord's own expressions take it.

They look for what they know and go on behind it, so that a number between quotes can become the
weight, and a request with a slash in front takes everything behind it away. The expressions, their
order and the loss are those of `_ld_read_config_real_resolve` and `add_real_server`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lvsd.config.diagnostics import BadValue

_HOST = r"(\d+\.\d+\.\d+\.\d+|[A-Za-z0-9.-]+|\[[0-9A-fa-f:]+\])"
_LINE = re.compile(rf"{_HOST}(->{_HOST})?(:(\d+|[A-Za-z0-9_-]+))?\s+(.*)", re.ASCII)
_METHOD = re.compile(r"(\w+)(.*)", re.ASCII)
_WEIGHT = re.compile(r"\s+(\d+)(.*)", re.ASCII)
_STRINGS = re.compile(r'\s+"(.*)"[, ]\s*"(.*)"(.*)', re.ASCII)


@dataclass(slots=True)
class Taken:
    """What the original makes of a line. `lost`: a slash took away what stands behind the weight.

    `strings` are request and receive, both or none.
    """

    weight: int = 1
    strings: tuple[str, str] | None = None
    lost: bool = False
    lower: int = 0
    upper: int = 0


def taken(text: str) -> Taken:
    """What the original makes of the value of a `real=` line.

    Raises BadValue with what stops it, for a line that lvsd takes.
    """
    text = text.partition("#")[0]
    line = _LINE.search(text)
    method = _METHOD.search(line[6]) if line else None
    if method is None or method[1] not in ("gate", "masq", "ipip"):
        why = "no blanks may stand around ->" if "->" in text else "it can't read this line"
        raise BadValue(why, max(text.find("->"), 0))
    result, rest = Taken(), method[2]
    why = ""
    if found := _WEIGHT.search(rest):
        if '"' in rest[: found.start()]:
            why = f"the weight is missing, and the {found[1]} between the quotes is taken for it"
        result.weight, rest = int(found[1]), found[2]
    if found := _STRINGS.search(rest):
        result.strings, rest = (found[1], found[2]), found[3]
        if found[1].startswith("/"):
            result.lost = True
            return result
    for name, letter in (("lower", "l"), ("upper", "u")):
        if found := re.search(rf"\s+{letter}:(\d+)(.*)", rest, re.ASCII):
            setattr(result, name, int(found[1]))
            rest = found[2]
    if rest.strip():
        raise BadValue(why or _left_over(rest.strip()), max(text.find(rest.strip()), 0))
    return result


def _left_over(rest: str) -> str:
    if word := re.search(r"(?:^|\s)(\w+)=", re.sub(r'"[^"]*"', '""', rest)):
        return f"a real line can't hold {word[1]}="
    if rest == ",":
        return "nothing follows the comma"
    if re.fullmatch(r'"[^"]*"\s*,?\s*"[^"]*".*', rest):
        return "between the two strings must stand one comma or blank, right behind the first"
    return f"it can't read {rest}"
