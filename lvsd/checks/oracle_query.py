"""The process that asks an Oracle server, see `sql_process`.

It is run as a file, so that nothing else of lvsd is imported.
"""

from __future__ import annotations

import json
import re
import runpy
import ssl
import sys
from pathlib import Path
from typing import Any

import oracledb

#: The functions of the file beside this one.
TLS = runpy.run_path(str(Path(__file__).with_name("tls_context.py")))


def main() -> None:
    """Ask once."""
    sys.stdout.write(answer(json.load(sys.stdin)))


def answer(words: dict[str, Any]) -> str:
    """The line that tells what came of it."""
    try:
        context = TLS["wanted"](words.pop("tls"))
    except OSError as error:
        return f"local cafile cannot be used: {error}"
    if context is not None:
        words |= {"protocol": "tcps", "ssl_context": context, "ssl_server_dn_match": False}
    try:
        return f"rows {rows(words)}"
    except (oracledb.Error, OSError) as error:
        return failure(error)


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
    """The error of TLS or of the socket beneath, else the first line of the library's words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"failed {TLS['told'](cause, True)}"
        if isinstance(cause, OSError) and cause.errno:
            return f"errno {cause.errno}"
        cause = cause.__cause__ or cause.__context__
    if "DPY-4011" in str(error):
        return "failed connection closed early"
    first, *_ = re.split(r"[(\n]", str(error))
    return f"failed {first.strip()}"


if __name__ == "__main__":
    main()
