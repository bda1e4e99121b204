"""TLS contexts of checks, and what their errors mean.

Standard library only: the programs that ask pgsql and oracle servers run this file, see
`sql_process`, and import nothing else of lvsd.
"""

from __future__ import annotations

import ssl
from typing import Any


class Context(ssl.SSLContext):
    """A client's context that can verify a name of its own, whatever its user asks for.

    Libraries of databases ask for the host that they connect to, which is an address here, or leave
    the name to a comparison of their own.
    """

    name = ""

    def wrap_bio(self, *buffers: Any, **words: Any) -> ssl.SSLObject:
        """As SSLContext's; asyncio comes here."""
        return super().wrap_bio(*buffers, **self._with_name(words))

    def wrap_socket(self, *sockets: Any, **words: Any) -> ssl.SSLSocket:
        """As SSLContext's."""
        return super().wrap_socket(*sockets, **self._with_name(words))

    def _with_name(self, words: dict[str, Any]) -> dict[str, Any]:
        if not self.name:
            return words
        self.check_hostname = True
        return {**words, "server_hostname": self.name}


def lenient() -> Context:
    """Verifies nothing, and takes old protocols and keys as well."""
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def strict(cafile: str, name: str = "") -> Context:
    """Verifies the chain, up to `cafile` or the system's authorities, and the name.

    Raises OSError when the file cannot be used.
    """
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.name = name
    if cafile:
        context.load_verify_locations(cafile)
    else:
        context.load_default_certs()
    return context


def wanted(words: dict[str, Any] | None) -> Context | None:
    """The context of a program's words `verify`, `cafile` and `name`. Raises OSError."""
    if words is None:
        return None
    return strict(words["cafile"], words["name"]) if words["verify"] else lenient()


def told(error: ssl.SSLError, handshake: bool) -> str:
    """An error in the library's own words without their wrapping."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        words = "connection closed"
    else:
        words = (error.reason or str(error)).replace("_", " ").lower()
    return f"{'TLS handshake failed' if handshake else 'TLS failed'}: {words}"
