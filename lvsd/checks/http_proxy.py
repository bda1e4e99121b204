"""`service=http_proxy`: a page fetched through the proxy under check.

`request` is the whole URL, which goes to the proxy as it stands (RFC 9112 §3.2.2); `receive` and
the status are judged as for http. Redirects are followed through the same proxy, at most five.
Only http URLs can be asked for: ldirectord fetches others past the proxy, which says nothing of it.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin

from lvsd.checks.http import Http, escaped, headers
from lvsd.checks.probe import Failed, LocalFault, quoted
from lvsd.checks.reply import Reply

_URL = re.compile(rb"http://([^/?#\s]+)(.*)", re.IGNORECASE)


class HttpProxy(Http):
    """Raises LocalFault when `request` is no http URL."""

    def _render(self, method: str, path: bytes) -> bytes:
        found = _URL.fullmatch(path)
        if found is None:
            raise LocalFault(f'request "{quoted(path)}" is no http URL')
        host, rest = found.groups()
        return headers(method, b"http://" + host + escaped(rest), host.rpartition(b"@")[2])

    def _follow(self, path: bytes, reply: Reply) -> bytes:
        if not reply.location:
            raise Failed(f"status {reply.status} without Location")
        try:
            target = urljoin(path.decode("latin-1"), reply.location.decode("latin-1"))
        except ValueError:
            target = ""
        url = target.encode("latin-1", "replace")
        if not _URL.fullmatch(url):
            raise Failed(f"redirects to {quoted(reply.location)}, which is no http URL")
        return url
