"""What is told of the original: a remark with its place."""

from __future__ import annotations

from lvsd.config.diagnostics import Diagnostic, Place

WORD = "ldirectord"


def remark(place: Place, text: str) -> Diagnostic:
    """Something that the original does."""
    return Diagnostic(place.file, place.line, place.column, WORD, text)


def stops(place: Place, why: str) -> Diagnostic:
    """Something at which the original stops."""
    return remark(place, f"it refuses the whole file here: {why}")
