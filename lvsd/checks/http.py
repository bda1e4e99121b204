"""`service=http` and `service=https`: a request, a 2xx status and, with `receive=`, a match.

As ldirectord asks: HTTP/1.1, a fresh connection, `Host` is `virtualhost`, else the real's address
without port; `receive` is searched in the undecoded body. Not as ldirectord: redirects are followed
on the same real server only, at most five, within the same deadline.

A body is read to its end, since a server that hangs in the middle does not serve. A body beyond
1 MiB is judged by its beginning.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urljoin, urlsplit

from lvsd import __version__
from lvsd.checks.exchange import Brief, Exchange
from lvsd.checks.probe import Failed, Probe, Run, quoted
from lvsd.checks.receive import Receive
from lvsd.checks.reply import BODY_LIMIT, Reply, plain_body
from lvsd.checks.stream import Again, Talk
from lvsd.checks.tls import Tls
from lvsd.core.model import Check

#: Redirects followed, as many as make sense on one server.
REDIRECTS = 5
_REDIRECT = frozenset({301, 302, 303, 307, 308})

#: What URI libraries escape in a path: everything outside RFC 3986, `%` and what it starts kept.
_ESCAPED = re.compile(rb"[^A-Za-z0-9\-._~:/?@!$&'()*+,;=%]")


class Http(Brief):
    """The plain one. Raises LocalFault when `receive` is not a regular expression."""

    scheme = "http"

    def __init__(self, check: Check, tls: Tls | None = None) -> None:
        super().__init__(check, tls)
        address = check.address
        literal = f"[{address}]" if address.version == 6 else str(address)
        self._host = check.virtualhost or literal.encode()
        host = self._host.lower().decode("latin-1")
        self._names = {literal.lower(), host, re.sub(r":[0-9]+\Z", "", host)}
        self.request = self._render(check.method, check.request)
        receive = Receive(check)
        self._shown = receive.shown
        self._only_head = check.method == "HEAD" and bool(receive)
        self._search = receive.search
        self.passing = self._passed(200)
        self._plain = tls is None and check.method == "GET"

    def probe(self, run: Run) -> Probe:
        """An exchange where that may do."""
        return Exchange(run, self) if self._plain else super().probe(run)

    def passes(self, data: bytes) -> bool:
        """Whether `data` is a plain answer, whole, that passes."""
        body = plain_body(data)
        return body is not None and (self._search is None or bool(self._search(body)))

    def talk(self) -> Talk:
        """Ask, read the reply, follow it on the same server, judge."""
        method, path, request = self.check.method, self.check.request, self.request
        for left in range(REDIRECTS, -1, -1):
            reply = Reply(method)
            reply.feed((yield request))
            while not self._decided(reply):
                reply.feed((yield b""))
            if reply.status not in _REDIRECT:
                return self._judge(reply)
            path = self._follow(path, reply)
            method = "GET" if reply.status == 303 and method != "HEAD" else method
            request = self._render(method, path)
            if left:  # else the next connection would be for nothing
                yield Again.CONNECT
        raise Failed(f"more than {REDIRECTS} redirects")

    @staticmethod
    def _decided(reply: Reply) -> bool:
        """Whether more of the reply cannot matter: a bad status is final, a Location too."""
        if reply.status in _REDIRECT:
            return reply.head_done
        return reply.complete or reply.status // 100 not in (0, 2)

    def _judge(self, reply: Reply) -> str:
        if reply.status // 100 != 2:
            raise Failed(f"status {reply.status}")
        if self._search is None:
            return self._passed(reply.status)
        if self._only_head:
            raise Failed("HEAD has no body to match")
        found = self._search(reply.body)
        if reply.cut:
            # An expression anchored at the end would match at the cut: only the inside counts.
            if found is None or found.end() >= len(reply.body) - 1:
                raise Failed(
                    f'body larger than {BODY_LIMIT >> 20} MiB, no match for "{self._shown}"'
                )
        elif found is None:
            raise Failed(f'body does not match "{self._shown}"')
        return self._passed(reply.status)

    def _passed(self, status: int) -> str:
        return f"status {status}" if self._search is None else f"status {status}, body matches"

    def _follow(self, path: bytes, reply: Reply) -> bytes:
        """The path a redirect names, when it leads to this very server."""
        if not reply.location:
            raise Failed(f"status {reply.status} without Location")
        shown = quoted(reply.location)
        try:
            host = self._host.decode("latin-1")
            base = f"{self.scheme}://{host}{path.decode('latin-1')}"
            target = urlsplit(urljoin(base, reply.location.decode("latin-1")))
            if not self._is_here(target):
                raise Failed(f"redirects to {shown}, which is not this server")
        except ValueError as error:
            raise Failed(f'redirects to "{shown}", which is not a URL') from error
        query = f"?{target.query}" if target.query else ""
        return f"{target.path or '/'}{query}".encode("latin-1", "replace")

    def _is_here(self, target: SplitResult) -> bool:
        """Whether a URL is served by the real under check. A URL without port may mean any."""
        host = target.netloc.rpartition("@")[2].lower()
        if target.scheme != self.scheme:
            return False
        if host in self._names:
            return True
        bare = host.removesuffix(f":{target.port}") if target.port is not None else host
        return bare in self._names and target.port in (None, self.check.port)

    def _render(self, method: str, path: bytes) -> bytes:
        return headers(method, escaped(path), self._host)


def escaped(path: bytes) -> bytes:
    """A path and query as it may stand in a request, without its fragment."""
    path = _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], path.partition(b"#")[0])
    return path if path.startswith(b"/") else b"/" + path


def headers(method: str, target: bytes, host: bytes) -> bytes:
    """A whole request."""
    return (
        b"%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lvsd/%s\r\n"
        b"Accept: */*\r\nConnection: close\r\n\r\n"
    ) % (method.encode(), target, host, __version__.encode())


class Https(Http):
    """The same inside TLS."""

    scheme = "https"

    def __init__(self, check: Check) -> None:
        super().__init__(check, Tls(check))
