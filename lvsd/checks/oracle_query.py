"""The process that asks an Oracle server, see `sql_process`.

It is run as a file, so that nothing else of lvsd is imported.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import oracledb


def main() -> None:
    """Ask once."""
    words = json.load(sys.stdin)
    try:
        answer = f"rows {rows(words)}"
    except (oracledb.Error, OSError) as error:
        answer = failure(error)
    sys.stdout.write(answer)


def rows(words: dict[str, Any]) -> int:
    """Rows found, the first at most, or changed by a statement that gives none."""
    query = words.pop("query")
    timeout = words.pop("timeout")
    words["sid"] = words.pop("database")
    with oracledb.connect(**words, retry_count=0, tcp_connect_timeout=timeout) as connection:
        cursor = connection.cursor()
        cursor.execute(query)
        if cursor.description is None:
            return int(cursor.rowcount)
        return 0 if cursor.fetchone() is None else 1


def failure(error: BaseException) -> str:
    """The error of the socket beneath, else the first line of the library's words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return f"errno {cause.errno}"
        cause = cause.__cause__ or cause.__context__
    text = str(error)
    return (
        f"failed {'connection closed early' if 'DPY-4011' in text else text.split('(')[0].strip()}"
    )


if __name__ == "__main__":
    main()
