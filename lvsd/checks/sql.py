"""What the checks of databases share whose client library may run in this process.

The libraries are optional (`pip install lvsd[mysql]`). One is imported when a configuration with
the first check that needs it comes into force, never while checks are made; where it is missing,
the check says how to install it and the configuration refuses it. Their exceptions become reasons
here: the socket's own error where one lies beneath, else their words. A library that stumbles over
a garbled answer means the server.
"""

from __future__ import annotations

import ssl
import struct
from abc import abstractmethod
from types import ModuleType

from lvsd.checks.coroutine import Coroutine
from lvsd.checks.probe import Failed, LocalFault, quoted
from lvsd.checks.tls import tls_failure
from lvsd.core.model import Check

#: What libraries raise over bytes that are not of their protocol.
GARBLED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NameError),
    *(RuntimeError, TypeError, ValueError, struct.error),
)


class Sql(Coroutine):
    """Passes when `request` gives at least one row. Subclasses say `rows`."""

    def __init__(self, check: Check, library: ModuleType | None, extra: str) -> None:
        super().__init__(check)
        if library is None:
            raise LocalFault(f"service={extra} needs a library: pip install 'lvsd[{extra}]'")
        self.login = check.login.decode()
        self.passwd = check.passwd.decode()
        self.database = check.database.decode()
        self.query = check.request.decode()

    @abstractmethod
    async def rows(self) -> int:
        """The number of rows, or 1 for any. Raises what the library raises."""

    async def ask(self) -> str:
        """Connect, ask, count."""
        if await self.rows() < 1:
            raise Failed("no row")
        return "row found"


def failure(error: BaseException) -> OSError | Failed:
    """What an exception of a library means."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return tls_failure(cause, handshake=True)
        if isinstance(cause, OSError) and cause.errno:
            return cause
        if isinstance(cause, EOFError | ConnectionError):
            return Failed("connection closed early")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, GARBLED):
        return Failed("answer not understood")
    words = " ".join(str(error.args[-1] if error.args else error).split())
    return Failed(quoted(words.encode("ascii", "replace")) or type(error).__name__)
