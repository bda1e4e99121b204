"""A stand-in for the library oracledb: Debian has no Oracle server to ask.

It offers what `lvsd/checks/oracle_query.py` uses of the database API (PEP 249), over a table in
memory, and knows one account and one SID. It says nothing about the library or a server.
"""

import sqlite3

Error = sqlite3.Error
DatabaseError = sqlite3.DatabaseError

_HELP = "\nHelp: https://docs.oracle.com/error-help/db/"


class Connection(sqlite3.Connection):
    """Closed at the end of its `with` block, as the library's is."""

    def __exit__(self, *_raised):
        self.close()


def connect(*, user, password, host, port, sid, retry_count, tcp_connect_timeout, **tls):
    """A connection, for joe with the password secret to ORCL."""
    if sid != "ORCL":
        raise DatabaseError(f"ORA-12505: SID {sid} is not registered (CONNECTION_ID=x){_HELP}")
    if (user, password) != ("joe", "secret"):
        raise DatabaseError(f"ORA-01017: invalid credential; logon denied{_HELP}ora-01017/")
    connection = sqlite3.connect(":memory:", factory=Connection)
    connection.execute("create table dual (dummy)")
    connection.execute("insert into dual values ('X')")
    return connection
