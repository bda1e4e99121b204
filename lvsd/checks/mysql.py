"""`service=mysql`: log in and run `request`; one row passes. By aiomysql, an optional library."""

from __future__ import annotations

from lvsd.checks.sql import GARBLED, Sql, failure
from lvsd.core.model import Check

try:
    import aiomysql
except ImportError:
    aiomysql = None


class MySql(Sql):
    """Rows are not fetched beyond the first, so a huge result costs nothing."""

    def __init__(self, check: Check) -> None:
        super().__init__(check, aiomysql, "mysql")

    async def rows(self) -> int:
        """Rows found, or changed by a statement that gives none."""
        try:
            connection = await aiomysql.connect(
                host=str(self.check.address),
                port=self.check.port,
                user=self.login,
                password=self.passwd,
                db=self.database or None,
                autocommit=None,
            )
            try:
                cursor = await connection.cursor(aiomysql.SSCursor)
                await cursor.execute(self.query)
                if cursor.description is None:
                    return int(cursor.rowcount)
                return 0 if await cursor.fetchone() is None else 1
            finally:
                connection.close()
        except (aiomysql.Error, OSError, *GARBLED) as error:
            raise failure(error) from error
