"""TLS for checks: one context per distinct setting, made when a check is configured.

Without `verify=yes` nothing is verified and old protocols and keys are taken as well: the question
is whether the server works, not whether it is trusted. With it the chain must lead to `cafile` (or
the system's authorities) and the certificate must name the `virtualhost`, else the real's address.
With `starttls=yes` the connection goes over to TLS once the server agreed to (`Tls` yielded to a
stream); what it said before that in the clear does not count.

No session resumption: with TLS 1.3 it costs the client more CPU than a full handshake.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import ssl

from lvsd.checks import tls_context
from lvsd.checks.probe import Failed, LocalFault, quoted
from lvsd.core.model import Check

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")


class Tls:
    """The client's side of TLS for one check. Raises LocalFault when `cafile` cannot be used.

    `context` and `name`, the server's, are for those who connect by a library. One that asks for
    another name whatever it is told gets a context with `named`.
    """

    def __init__(self, check: Check, *, named: bool = False) -> None:
        name = server_name(check.virtualhost)
        self.name = name or (str(check.address) if check.verify else None)
        self.context = _context_of(check, name or "" if named else "")

    def wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        """The connected socket with TLS on top; the handshake is still to be done.

        Takes the socket over, and closes it when this raises.
        """
        try:
            return self.context.wrap_socket(
                plain, do_handshake_on_connect=False, server_hostname=self.name
            )
        except (OSError, ValueError):
            plain.close()
            raise


def server_name(virtualhost: bytes) -> str | None:
    """The name to send as SNI (RFC 6066 §3): no port, no address, None when there is none."""
    text = virtualhost.decode("ascii", "replace").strip()
    name = text.rpartition(":")[0] if re.search(r":\d+\Z", text) else text
    name = name.removesuffix(".")
    return name if _HOST_NAME.fullmatch(name) else None


def tls_failure(error: ssl.SSLError, handshake: bool) -> Failed:
    """The reason of a TLS error."""
    return Failed(quoted(tls_context.told(error, handshake).encode("ascii", "replace"), 200))


def _context_of(check: Check, name: str) -> ssl.SSLContext:
    if not check.verify:
        return _lenient()
    try:
        changed = os.stat(check.cafile).st_mtime_ns if check.cafile else 0
        return _strict(check.cafile, changed, name)
    except OSError as error:  # ssl.SSLError is one
        words = error.strerror or str(error)
        raise LocalFault(f"cafile {check.cafile} cannot be used: {words}") from error


@functools.cache
def _lenient() -> ssl.SSLContext:
    return tls_context.lenient()


@functools.lru_cache(maxsize=64)
def _strict(cafile: str, changed: int, name: str) -> ssl.SSLContext:
    """`changed` is the file's mtime, so that a reload sees a new file."""
    return tls_context.strict(cafile, name)
