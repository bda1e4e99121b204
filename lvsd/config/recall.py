"""Blocks that were read before: one of the same words becomes the very same Virtual again.

A reload changes a line or two of thousands. A block is remembered when nothing but its own words,
those of the globals and the node made it what it is: no name was looked up for it, no file looked
at, and there was nothing to tell of it, for a diagnostic names lines that may have moved. Since the
Virtual is the same object, comparing the old configuration with the new one is quick, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from lvsd.config.document import Document, Section
from lvsd.config.syntax import Statement
from lvsd.core.model import Virtual

#: Words whose meaning hangs on what there is on the disk.
_OF_FILES = frozenset(("checkcommand", "cafile"))


class Recall:
    """The blocks of the configuration read last; give the same one to each `load`."""

    def __init__(self) -> None:
        self._around = b""
        self._before: dict[bytes, Virtual] = {}
        self._now: dict[bytes, Virtual] = {}

    def begin(self, document: Document) -> None:
        """Another configuration is read; what is not in it will be forgotten."""
        around = _digest([document.node, *_words(document.globals.lines)])
        self._before = self._now if around == self._around else {}
        self._around, self._now = around, {}

    def find(self, section: Section) -> tuple[bytes, Virtual | None]:
        """The block's digest, and what was made of such a block before."""
        assert section.opener is not None
        digest = _digest(_words([section.opener, *section.lines]))
        virtual = self._before.get(digest)
        if virtual is not None:
            self._now[digest] = virtual
        return digest, virtual

    def keep(self, digest: bytes, section: Section, virtual: Virtual) -> None:
        """Remember what a block of which there was nothing to tell has become."""
        if not _OF_FILES & section.settings.keys():
            self._now[digest] = virtual


def _words(lines: Iterable[Statement]) -> Iterable[str]:
    return (line.name if line.bare else f"{line.name}={line.value}" for line in lines)


def _digest(words: Iterable[str]) -> bytes:
    text = "\n".join(words)  # no value holds one
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
