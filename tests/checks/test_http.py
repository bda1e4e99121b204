"""What an HTTP check asks and how it judges the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsd import __version__
from lvsd.checks.http import Http
from lvsd.checks.probe import Failed
from lvsd.checks.reply import BODY_LIMIT, HEAD_LIMIT, Reply
from lvsd.checks.stream import Again
from lvsd.core.model import Check, CheckKind
from tests.checks.kinds import ask, server
from tests.checks.scripts import reply

CHECK = Check(CheckKind.HTTP, ip_address("192.0.2.4"), 8080, 10.0, 3.0, b"/test.html", b"fake")


def request(check: Check) -> bytes:
    """What the check sends first."""
    sent = next(Http(check).talk())
    assert isinstance(sent, bytes)
    return sent


def verdict(check: Check, *pieces: bytes) -> str:
    """Pass text or reason after these pieces; each redirect goes on with the next ones."""
    talk = Http(check).talk()
    answer = next(talk)
    try:
        for piece in (*pieces, b""):
            answer = talk.send(piece)
            if answer is Again.CONNECT:
                answer = talk.send(b"")
    except StopIteration as end:
        return f"passed: {end.value}"
    except Failed as reason:
        return str(reason)
    raise AssertionError("the talk goes on after the end of the stream")


def test_the_request_is_http_1_1_on_a_connection_of_its_own() -> None:
    assert request(CHECK) == (
        b"GET /test.html HTTP/1.1\r\nHost: 192.0.2.4\r\nUser-Agent: lvsd/%s\r\n"
        b"Accept: */*\r\nConnection: close\r\n\r\n" % __version__.encode()
    )


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"virtualhost": b"www.example.com"}, b"\r\nHost: www.example.com\r\n"),
        ({"address": ip_address("2001:db8::4")}, b"\r\nHost: [2001:db8::4]\r\n"),
        ({"method": "HEAD"}, b"HEAD /test.html HTTP/1.1\r\n"),
        ({"request": b"test.html"}, b"GET /test.html HTTP/1.1\r\n"),
        ({"request": b"/a b?c=[d]"}, b"GET /a%20b?c=%5Bd%5D HTTP/1.1\r\n"),
        ({"request": b"/caf\xc3\xa9"}, b"GET /caf%C3%A9 HTTP/1.1\r\n"),
        ({"request": b"/%41/../x;y=1,2"}, b"GET /%41/../x;y=1,2 HTTP/1.1\r\n"),
        ({"request": b"/http://x/"}, b"GET /http://x/ HTTP/1.1\r\n"),
        ({"request": b"/a#b"}, b"GET /a HTTP/1.1\r\n"),
    ],
)
def test_what_goes_into_the_request(change: dict[str, object], line: bytes) -> None:
    assert line in request(replace(CHECK, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("receive", "body", "passes"),
    [
        (b"", b"", True),
        (b"fake", b"this is a fake page", True),
        (b"fake", b"this is a FAKE page", False),
        (b"^fake", b"\nfake", False),
        (b"fake$", b"fake\n", True),
        (b"fake$", b"fake\n\n", False),
        (b"a.b", b"a\nb", False),
        (b"[\x80-\xff]", "é".encode(), True),
        (b"f(a|o)ke?", b"xfok", True),
    ],
)
def test_receive_is_an_expression_over_the_bytes(receive: bytes, body: bytes, passes: bool) -> None:
    text = verdict(replace(CHECK, receive=receive), reply(body))
    assert text.startswith("passed: status 200") is passes
    assert passes or text == f'body does not match "{receive.decode()}"'


@pytest.mark.parametrize("status", ["200 OK", "206 Partial", "226 ?", "200", "204 No Content"])
def test_every_2xx_passes(status: str) -> None:
    check = replace(CHECK, receive=b"")
    assert verdict(check, reply(b"", status.encode())).startswith("passed: status 2")


@pytest.mark.parametrize("status", [101, 300, 304, 305, 401, 403, 404, 500, 503, 999])
def test_any_other_status_fails_by_its_number(status: int) -> None:
    answer = b"HTTP/1.1 %d Whatever\r\n" % status  # decided by the status line alone
    assert verdict(CHECK, answer) == f"status {status}"


def test_head_needs_no_body_and_cannot_match_one() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
    head = replace(CHECK, method="HEAD")
    assert verdict(replace(head, receive=b""), answer) == "passed: status 200"
    assert verdict(head, answer) == "HEAD has no body to match"


def test_interim_replies_are_skipped() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + reply()
    assert verdict(CHECK, answer) == "passed: status 200, body matches"


def test_a_body_lasts_until_the_connection_closes_when_nothing_says_otherwise() -> None:
    assert verdict(CHECK, b"HTTP/1.0 200 OK\r\n\r\nfa", b"ke").startswith("passed")


def test_lone_line_feeds_are_understood() -> None:
    assert verdict(CHECK, b"HTTP/1.1 200 OK\nContent-Length: 4\n\nfake").startswith("passed")


def test_nothing_beyond_the_content_length_is_matched() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxxxfake"
    assert verdict(CHECK, answer) == 'body does not match "fake"'


def test_chunks_are_joined() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"2\r\nfa\r\n2 ;x=y\r\nke\r\n0\r\nTrailer: 1\r\n\r\n"
    whole = head + body
    assert verdict(CHECK, whole).startswith("passed")
    assert verdict(CHECK, *(whole[n : n + 1] for n in range(len(whole)))).startswith("passed")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "connection closed within the headers"),
        (b"HTTP/1.1 100 Go\r\n\r\n", "connection closed within the headers"),
        (reply(b"x" * 9)[:-1], "connection closed within the body"),
        (b"HTTP/1.1 OK\r\n", 'reply is not HTTP: "HTTP/1.1 OK??"'),
        (b"SSH-2.0-x\r\n", 'reply is not HTTP: "SSH-2.0-x??"'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 'malformed Content-Length "x"'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 'malformed Content-Length "-1"'),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "malformed chunk"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "connection closed within the body",
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000, "headers larger than 64 KiB"),
        (b"HTTP/1.1 200 " + b"x" * 70000, "status line larger than 8 KiB"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20000,
            "body in more than 16384 chunks",
        ),
    ],
)
def test_a_malformed_reply_fails_with_a_reason(answer: bytes, reason: str) -> None:
    assert verdict(CHECK, answer) == reason


def test_two_different_lengths_are_malformed() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfake"
    assert verdict(CHECK, answer).startswith("malformed Content-Length")


def test_a_body_beyond_the_limit_is_judged_by_its_beginning() -> None:
    big = b"x" * BODY_LIMIT
    assert verdict(CHECK, reply(b"fake" + big)).startswith("passed")
    assert verdict(replace(CHECK, receive=b""), reply(b"y" + big)).startswith("passed")
    failed = 'body larger than 1 MiB, no match for "{}"'
    assert verdict(CHECK, reply(big + b"fake")) == failed.format("fake")
    anchored = replace(CHECK, receive=b"x$")
    assert verdict(anchored, reply(big + b"y")) == failed.format("x$")


def redirect(location: bytes, status: bytes = b"302 Found") -> bytes:
    return reply(b"moved", status, b"Location: " + location)


@pytest.mark.parametrize(
    "location",
    [
        b"/new?a=b",
        b"new?a=b",
        b"http://192.0.2.4:8080/new?a=b",
        b"http://192.0.2.4/new?a=b",
        b"//www.example.com/new?a=b",
        b"HTTP://WWW.example.com:8080/new?a=b",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_server_is_followed(location: bytes, status: int) -> None:
    talk = Http(replace(CHECK, virtualhost=b"www.example.com")).talk()
    next(talk)
    assert talk.send(redirect(location, b"%d Go" % status)) is Again.CONNECT
    sent = talk.send(b"")
    assert isinstance(sent, bytes)
    assert sent.startswith(b"GET /new?a=b HTTP/1.1\r\nHost: www.example.com\r\n")
    with pytest.raises(StopIteration):
        talk.send(reply())


@pytest.mark.parametrize(
    "location",
    [
        b"http://www.example.org/",
        b"http://192.0.2.5:8080/",
        b"https://192.0.2.4/",
        b"http://192.0.2.4:80/",
        b"http://192.0.2.4:8080@evil.example/",
        b"ftp://192.0.2.4/",
    ],
)
def test_a_redirect_elsewhere_fails(location: bytes) -> None:
    reason = f"redirects to {location.decode()}, which is not this server"
    assert verdict(CHECK, redirect(location)) == reason


@pytest.mark.parametrize("location", [b"http://[::1/", b"http://192.0.2.4:99999/", b"//[x]/"])
def test_a_redirect_to_nonsense_fails(location: bytes) -> None:
    assert verdict(CHECK, redirect(location)).startswith("redirects to ")


def test_a_redirect_without_location_fails() -> None:
    assert verdict(CHECK, reply(b"", b"302 Found")) == "status 302 without Location"


def test_redirects_end() -> None:
    assert verdict(CHECK, *[redirect(b"/again")] * 9) == "more than 5 redirects"


async def test_a_redirect_is_followed_on_the_wire(no_leaks: None) -> None:
    asked: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
        writer.write(reply() if asked[-1] == b"/c" else redirect(b"/b" if len(asked) < 2 else b"c"))

    async with server(script) as port:
        result = await ask(replace(CHECK, address=ip_address("127.0.0.1"), port=port))
    assert result.passed, result.reason
    assert asked == [b"/test.html", b"/b", b"/c"]


def pieces(data: bytes, sizes: list[int]) -> Generator[bytes, None, None]:
    at = 0
    for size in sizes:
        if data[at : at + size]:
            yield data[at : at + size]
        at += size
    if data[at:]:
        yield data[at:]


REPLIES = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda head, body: b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body,
        st.sampled_from(
            [
                b"",
                b"Content-Length: 7",
                b"Transfer-Encoding: chunked",
                b"Transfer-Encoding: gzip\r\nLocation: //[",
            ]
        ),
        st.one_of(
            st.binary(max_size=200),
            st.text("0123456789abcdef\r\n;", max_size=200).map(str.encode),
        ),
    ),
    st.binary(max_size=60).map(
        lambda tail: b"HTTP/1.1 302 Found\r\nLocation: " + tail + b"\r\n\r\n"
    ),
)


@settings(deadline=None)
@given(REPLIES, st.lists(st.integers(1, 40), max_size=20))
def test_hostile_bytes_end_in_a_reason_however_they_are_cut(data: bytes, sizes: list[int]) -> None:
    def outcome(parts: list[bytes]) -> str:
        text = verdict(CHECK, *parts)
        assert text.isprintable()
        return text

    whole = outcome([data] if data else [])
    cut = outcome(list(pieces(data, sizes)))
    # How much garbage was there to quote depends on the cut.
    assert cut.partition(":")[0] == whole.partition(":")[0]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b" " * 60000 + b"\rx\n",
        b"HTTP/1.1 200 OK\r\nContent-Length" + b"\t" * 60000,
        b"HTTP/1.1 302 OK\r\nLocation:" + b"\r" * 60000,
        b"HTTP/1.1 200 OK\r\n" + b"\r" * 60000,
        b"HTTP/1.1 200 " + b"\r" * 8000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b" " * 1000,
    ],
)
def test_no_head_costs_more_than_its_length(head: bytes) -> None:
    begun = time.process_time()
    assert verdict(CHECK, head + b"\r\n\r\n")
    assert verdict(CHECK, *(head[n : n + 1] for n in range(len(head))))
    assert time.process_time() - begun < 3  # quadratic time would take minutes


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_memory_stays_bounded(noise: bytes) -> None:
    found = Reply("GET")
    found.feed(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(5):
        if noise:
            found.feed(noise)
    assert len(found.body) <= BODY_LIMIT
    assert HEAD_LIMIT < BODY_LIMIT
