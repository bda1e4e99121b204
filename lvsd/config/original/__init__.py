"""Where ldirectord would act otherwise on the same file: `lvsd check --ldirectord`.

What it refuses, and so stops at, is in `refusals`; what it accepts and takes differently in
`meanings` and `sharing`, what it does unasked in `habits`. The facts were measured on ldirectord
1.186 of Debian.
"""

from __future__ import annotations

import socket

from lvsd.config.diagnostics import Diagnostic, Report
from lvsd.config.document import Document
from lvsd.config.load import loads
from lvsd.config.original.habits import habits
from lvsd.config.original.meanings import meanings
from lvsd.config.original.refusals import refused_lines, refused_words
from lvsd.config.original.sharing import shared_checks
from lvsd.config.rows import OPENERS


def surprises(path: str, *, node: str | None = None, text: bytes | None = None) -> list[Diagnostic]:
    """What ldirectord would do differently with the file at `path`, in file order.

    Raises ConfigError where lvsd itself refuses the file.
    """
    if text is None:
        with open(path, "rb") as file:
            text = file.read()
    config = loads(text, path, node=node)
    document = Document(Report(), node or socket.gethostname().split(".")[0])
    document.overlay = {path: text}
    document.read(path)
    sections = [s for s in document.sections if s.kind == OPENERS["virtual"]]
    blocks = list(zip(sections, config.virtuals, strict=True))
    found = [*refused_lines(text, path), *refused_words(document)]
    found += [*meanings(document.globals, blocks), *habits(config, path)]
    if not document.globals.value("fork", False):
        found += shared_checks(blocks)
    order: dict[str, int] = {}
    for one in found:
        order.setdefault(one.file, len(order))
    return sorted(dict.fromkeys(found), key=lambda d: (order[d.file], d.line, d.column))
