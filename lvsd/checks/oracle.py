"""`service=oracle`: log in and run `request`; one row passes. By oracledb, an optional library.

`database` is the SID, as in ldirectord. The library talks to the server itself ("thin"), inside TLS
(TCPS) where its certificate is to be verified.
"""

from __future__ import annotations

from lvsd.checks.sql_process import SqlProcess


class Oracle(SqlProcess):
    """Fetches the first row only."""

    library = "oracledb"
    program = "oracle_query.py"
