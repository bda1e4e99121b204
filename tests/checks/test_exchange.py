"""The short way of plain HTTP checks says what the dialogue would have said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import combinations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lvsd import checks
from lvsd.checks.exchange import Brief
from lvsd.checks.http import Http
from lvsd.checks.probe import Failed, Probe, Run
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import ask, server
from tests.checks.scripts import Script, reply

pytestmark = pytest.mark.usefixtures("no_leaks")

CHECK = Check(CheckKind.HTTP, ip_address("127.0.0.1"), 80, 60.0, 10.0, b"/", b"fake")

_LINES = (
    b"Content-Length: 9",
    b"content-length:9",
    b"Content-Length : 9",
    b"CONTENT-LENGTH:\t9 ",
    b"Content-Length: +9",
    b"Content-Length: 0",
    b"Content-Length: 9\rx",
    b"Content-Length: 12",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked",
    b"Location: /there",
    b"Date: today",
    b"Content-Length-X: 9",
    b"",
)
_STATUS = (
    b"200 OK",
    b"200",
    b"200 200",
    b"204 No",
    b"302 Found",
    b"100 Continue",
    b"500 Sorry",
    b"2000",
)


def _reply(
    version: bytes, status: bytes, ends: list[bytes], lines: list[bytes], body: bytes
) -> bytes:
    """A reply that may be right; the first lines end with `ends`."""
    ended = zip((version + status, *lines, b""), (*ends, *[b"\r\n"] * 9), strict=False)
    return b"".join(line + end for line, end in ended) + body


replies = st.builds(
    _reply,
    st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"http/1.1 ", b"HTTP/1.1  "]),
    st.sampled_from(_STATUS),
    st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n\r\n"]), max_size=2),
    st.lists(st.sampled_from(_LINES), max_size=4),
    st.sampled_from([b"fake page", b"fake", b"", b"4\r\nfake\r\n0\r\n\r\n", b"a longer fake page"]),
)


def concluded(check: Check, *pieces: bytes) -> str | None:
    """What the dialogue says to these pieces; None while it wants more."""
    talk = Http(check).talk()
    next(talk)
    try:
        for piece in pieces:
            if talk.send(piece):
                return "goes elsewhere"
    except StopIteration as end:
        return f"passed: {end.value}"
    except Failed as reason:
        return str(reason)
    return None


@settings(max_examples=1000)
@given(replies, st.sampled_from([b"", b"fake", b"page$"]))
@example(reply(), b"fake")
@example(b"HTTP/1.1 200 200\r\nContent-Length-X: 3\r\n\r\nfake", b"")
@example(reply() + b"HTTP/1.1 500 Sorry\r\n\r\n", b"page$")
@example(b"HTTP/1.1 200 \n\r\n\r\nContent-Length: 0\r\n\r\n", b"")
@example(b"HTTP/1.1 200 OK\n\nContent-Length: 0\r\n\r\n", b"")
def test_what_passes_the_short_way_passes(data: bytes, receive: bytes) -> None:
    check = replace(CHECK, receive=receive)
    asked = Http(check)
    if asked.passes(data):
        assert concluded(check, data) == f"passed: {asked.passing}"


@pytest.mark.parametrize(
    "data",
    [
        reply(),
        reply(b"fake page", b"200 All is well", b"Date: today"),
        reply().replace(b"Content-Length: ", b"content-length:"),
        reply().replace(b"HTTP/1.1", b"HTTP/1.0"),
        reply() + b"more",
    ],
)
def test_the_usual_answers_go_the_short_way(data: bytes) -> None:
    assert Http(CHECK).passes(data)


class Long(Http):
    """Never takes the short way."""

    def probe(self, run: Run) -> Probe:
        return super(Brief, self).probe(run)


def dribbling(pieces: Sequence[bytes]) -> Script:
    """Reads the request, then sends each piece by itself, then closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)

    return script


def cut_up(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` in pieces that end at `cuts`."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


async def verdicts(script: Script) -> list[tuple[bool, str]]:
    """What either way says of a server."""
    found = []
    async with server(script) as port:
        for kind in (Http, Long):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(checks, "KINDS", {CheckKind.HTTP: kind})
                result = await ask(replace(CHECK, port=port))
            found.append((result.passed, result.reason))
    return found


@settings(max_examples=60, deadline=None)
@given(replies, st.lists(st.integers(0, 80), max_size=3))
def test_both_ways_come_to_the_same_verdict(data: bytes, cuts: list[int]) -> None:
    # Pieces may arrive together; of a bad status with bad fields either is a reason.
    arriving = (cut_up(data, some) for n in range(len(cuts) + 1) for some in combinations(cuts, n))
    assume(len({concluded(CHECK, *pieces, b"") for pieces in arriving}) == 1)
    short, long = asyncio.run(verdicts(dribbling(cut_up(data, cuts))))
    assert short == long


async def test_every_single_cut_of_a_good_answer_is_the_same_to_both() -> None:
    for cut in range(len(reply())):
        assert (
            await verdicts(dribbling(cut_up(reply(), [cut])))
            == [(True, "status 200, body matches")] * 2
        )
