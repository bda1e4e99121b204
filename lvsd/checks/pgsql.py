"""`service=pgsql`: log in and run `request`; one row passes. By asyncpg, an optional library.

TLS is used when the server offers it, as libpq does by default, and nothing is verified.
"""

from __future__ import annotations

from lvsd.checks.sql import GARBLED, Sql, failure
from lvsd.core.model import Check

try:
    import asyncpg
except ImportError:
    asyncpg = None


class PgSql(Sql):
    """Counts rows by the tag of the command, so none of them is kept."""

    def __init__(self, check: Check) -> None:
        super().__init__(check, asyncpg, "pgsql")

    async def rows(self) -> int:
        """The number at the end of a tag such as `SELECT 3`."""
        try:
            connection = await asyncpg.connect(
                host=str(self.check.address),
                port=self.check.port,
                user=self.login,
                password=self.passwd,
                database=self.database or self.login,
                ssl="prefer",
                timeout=2 * self.check.timeout,
            )
            try:
                tag: str = await connection.execute(self.query)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, *GARBLED) as error:
            raise failure(error) from error
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0
