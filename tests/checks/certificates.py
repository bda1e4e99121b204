"""One certificate authority for all tests of checks, and a server's certificate of it."""

from __future__ import annotations

import functools
import ssl

import trustme


@functools.cache
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@functools.cache
def server_side() -> ssl.SSLContext:
    """A server's context with a certificate for www.example.test and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("www.example.test", "127.0.0.1").configure_cert(context)
    return context
