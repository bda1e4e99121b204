"""`service=mysql`: log in and run `request`; one row passes. By aiomysql, an optional library.

With `starttls` the login is inside TLS, and a server that has none is not told a password.
"""

from __future__ import annotations

from lvsd.checks.probe import Failed
from lvsd.checks.sql import GARBLED, Sql, failure
from lvsd.checks.tls import Tls
from lvsd.core.model import Check

try:
    import aiomysql
    from aiomysql import Connection
except ImportError:
    aiomysql, Connection = None, object

#: CLIENT_SSL among the server's capabilities.
_SSL = 0x800


class MySql(Sql):
    """Rows are not fetched beyond the first, so a huge result costs nothing."""

    def __init__(self, check: Check) -> None:
        super().__init__(check, aiomysql, "mysql")
        self._starttls = Tls(check, named=True) if check.starttls else None

    async def rows(self) -> int:
        """Rows found, or changed by a statement that gives none."""
        connection = _Secured(
            host=str(self.check.address),
            port=self.check.port,
            user=self.login,
            password=self.passwd,
            db=self.database or None,
            autocommit=None,
            ssl=self._starttls and self._starttls.context,
        )
        try:
            await connection._connect()
            cursor = await connection.cursor(aiomysql.SSCursor)
            await cursor.execute(self.query)
            if cursor.description is None:
                return int(cursor.rowcount)
            return 0 if await cursor.fetchone() is None else 1
        except (aiomysql.Error, OSError, *GARBLED) as error:
            raise failure(error) from error
        finally:
            connection.close()


class _Secured(Connection):  # type: ignore[misc]
    """Where TLS was asked for, never goes on in the clear, as the library does."""

    async def _request_authentication(self) -> None:
        if self._ssl_context and not self.server_capabilities & _SSL:
            raise Failed("the server offers no TLS")
        await super()._request_authentication()
