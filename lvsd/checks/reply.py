"""An HTTP/1 reply as it arrives, piece by piece (RFC 9112). No I/O.

Memory is bounded whatever the server sends: the head by `HEAD_LIMIT`, the body by `BODY_LIMIT`;
beyond it the body counts as cut and reading stops. Interim replies (1xx) are skipped. The body is
kept as sent, without content decoding; only chunked framing is taken away.
"""

from __future__ import annotations

import re

from lvsd.checks.probe import Failed, quoted

HEAD_LIMIT = 64 << 10
BODY_LIMIT = 1 << 20

# None of these may backtrack: they meet whatever a server cares to send.
_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9])?[ \t]+([1-9][0-9]{2})(?:[ \t][^\n]*)?\r?\n")
_STATUS_BEGINS = b"HTTP/"
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:([^\r\n]*)", re.I)
_CODING = re.compile(rb"\ntransfer-encoding[ \t]*:([^\r\n]*)", re.I)
_LOCATION = re.compile(rb"\nlocation[ \t]*:([^\r\n]*)", re.I)
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
_CHUNK_LINE_LIMIT = 1 << 10
#: Chunks of one body: each costs time, and a body of single bytes is an attack.
CHUNK_LIMIT = 16 << 10
#: Not more, since an unfinished line is looked at again with every byte that arrives.
_STATUS_LINE_LIMIT = 8 << 10

#: Replies that never have a body (RFC 9112 §6.3).
_BODILESS = frozenset({204, 304})

_PLAIN = (b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")
_PLAIN_LENGTH = b"\ncontent-length:"


def plain_body(data: bytes) -> bytes | None:
    """The body of an answer to GET that is status 200, of known length and whole in `data`.

    None for every other, be it good, bad or not yet at its end: those need a `Reply`.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or not data.startswith(_PLAIN):
        return None
    head = data[: end + 2].lower()
    at = head.find(_PLAIN_LENGTH)
    if at < 0 or head.count(_PLAIN_LENGTH[:-1]) != 1 or b"\ntransfer-encoding" in head:
        return None
    # A line that ends otherwise might be the end of the head, to a `Reply`.
    if head.count(b"\n") != head.count(b"\r\n"):
        return None
    at += len(_PLAIN_LENGTH)
    length = head[at : head.find(b"\r", at)].strip()
    if not length.isdigit() or len(length) > 18:
        return None
    begins, size = end + 4, int(length)
    return data[begins : begins + size] if len(data) >= begins + size else None


class Reply:
    """Feed it until `complete`. `status` is 0 until the final status line was read; `location`, of
    a redirect, is known from `head_done` on.

    `cut`: the body is longer than BODY_LIMIT and only its beginning is there.
    """

    __slots__ = (
        "_chunked",
        "_chunks",
        "_in",
        "_left",
        "_line_end",
        "_method",
        "_scan",
        "_seen",
        "body",
        "complete",
        "cut",
        "head_done",
        "location",
        "status",
    )

    def __init__(self, method: str) -> None:
        self.status = 0
        self.location: bytes | None = None
        self.body = bytearray()
        self.complete = False
        self.cut = False
        self._method = method
        self._in = bytearray()
        #: Bytes of interim heads so far; end of the status line, 0 before; where to look on.
        self._seen = self._line_end = self._scan = 0
        self.head_done = False
        self._chunked = False
        self._chunks = 0
        #: Bytes of the body (or of the chunk) still to come; None: until the connection closes.
        self._left: int | None = None

    def feed(self, data: bytes) -> None:
        """What arrived, b"" for the end of the stream. Raises Failed on what is not HTTP."""
        if not data:
            self._end()
            return
        if self.head_done and not self._chunked:
            self._take(data)
            return
        self._in += data
        while not self.head_done:
            if not self._read_head():
                return
        if self.complete:
            return
        if self._chunked:
            self._read_chunks()
        else:
            rest, self._in = self._in, bytearray()
            self._take(rest)

    def _end(self) -> None:
        if self.head_done and self._left is None and not self._chunked:
            self.complete = True
        elif self.head_done:
            raise Failed("connection closed within the body")
        elif self._in or self._seen:
            raise Failed("connection closed within the headers")
        else:
            raise Failed("connection closed without an answer")

    def _read_head(self) -> bool:
        """Read one whole head, interim or final; False when more must come first."""
        if not self._line_end and not self._read_status():
            return False
        buffer = self._in
        end = _HEAD_END.search(buffer, self._scan)
        self._bound_head(end.end() if end else len(buffer))
        if end is None:
            self._scan = max(self._scan, len(buffer) - 3)
            return False
        if self.status:
            self._read_fields(bytes(buffer[self._line_end - 1 : end.end()]))
            self.head_done = True
        self._seen += end.end()
        self._line_end = self._scan = 0
        del buffer[: end.end()]
        return self.head_done or bool(buffer)

    def _read_status(self) -> bool:
        buffer = self._in
        line = _STATUS.match(buffer)
        if line is None:
            if b"\n" in buffer or not buffer.startswith(_STATUS_BEGINS[: len(buffer)]):
                raise Failed(f'reply is not HTTP: "{quoted(bytes(buffer[:40]))}"')
            if len(buffer) > _STATUS_LINE_LIMIT:
                raise Failed(f"status line larger than {_STATUS_LINE_LIMIT >> 10} KiB")
            return False
        status = int(line[1])
        if status >= 200 or status == 101:
            self.status = status
        self._line_end = line.end()
        self._scan = line.end() - 2
        return True

    def _bound_head(self, size: int) -> None:
        if self._seen + size > HEAD_LIMIT:
            raise Failed(f"headers larger than {HEAD_LIMIT >> 10} KiB")

    def _read_fields(self, head: bytes) -> None:
        location = _LOCATION.search(head) if self.status // 100 == 3 else None
        self.location = location[1].strip() if location else None
        if self._method == "HEAD" or self.status in _BODILESS:
            self.complete = True
            return
        coding = _CODING.search(head)
        if coding is not None and coding[1].lower().rstrip().endswith(b"chunked"):
            self._chunked = True
            self._left = 0
        elif coding is None:
            lengths = {length.strip() for length in _LENGTH.findall(head)}
            if lengths:
                length = lengths.pop()
                if lengths or not re.fullmatch(rb"[0-9]{1,18}", length):
                    raise Failed(f'malformed Content-Length "{quoted(length, 40)}"')
                self._left = int(length)
                self.complete = self._left == 0

    def _take(self, data: bytes | bytearray) -> None:
        """Body bytes without framing."""
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            self.complete = self._left == 0
        self._keep(data)

    def _keep(self, data: bytes | bytearray) -> None:
        room = BODY_LIMIT - len(self.body)
        self.body += data if len(data) <= room else data[:room]
        if len(data) > room:
            self.cut = self.complete = True

    def _read_chunks(self) -> None:
        buffer, at = self._in, 0
        while not self.complete:
            if self._left:
                piece = buffer[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                self._keep(piece)
                if self._left:
                    break
                self._left = None
            if self._left is None:  # the line end behind a chunk
                rest = len(buffer) - at
                if rest == 0 or (rest == 1 and buffer[at] == 0x0D):
                    break
                if not buffer.startswith((b"\r\n", b"\n"), at):
                    raise Failed("malformed chunk")
                at += 2 if buffer[at] == 0x0D else 1
                self._left = 0
            size = _CHUNK_SIZE.match(buffer, at)
            if size is None:
                if b"\n" in buffer[at:] or len(buffer) - at > _CHUNK_LINE_LIMIT:
                    raise Failed("malformed chunk")
                break
            self._chunks += 1
            if self._chunks > CHUNK_LIMIT:
                raise Failed(f"body in more than {CHUNK_LIMIT} chunks")
            at = size.end()
            self._left = int(size[1], 16)
            if not self._left:
                self.complete = True
        del buffer[:at]
