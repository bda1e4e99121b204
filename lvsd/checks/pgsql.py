"""`service=pgsql`: log in and run `request`; one row passes. By asyncpg, an optional library.

TLS is used when the server offers it, as libpq does by default, and nothing is verified. With
`starttls` a server that has none fails.
"""

from __future__ import annotations

from lvsd.checks.sql_process import SqlProcess


class PgSql(SqlProcess):
    """Counts rows by the tag of the command, so none of them is kept."""

    library = "asyncpg"
    program = "pgsql_query.py"
