"""The process that asks a PostgreSQL server, see `sql_process`.

It is run as a file, so that nothing else of lvsd is imported.
"""

from __future__ import annotations

import asyncio
import json
import runpy
import ssl
import sys
from pathlib import Path
from typing import Any

import asyncpg

#: The functions of the file beside this one.
TLS = runpy.run_path(str(Path(__file__).with_name("tls_context.py")))


def main() -> None:
    """Ask once."""
    sys.stdout.write(answer(json.load(sys.stdin)))


def answer(words: dict[str, Any]) -> str:
    """The line that tells what came of it."""
    try:
        words["ssl"] = TLS["wanted"](words.pop("tls")) or "prefer"
    except OSError as error:
        return f"local cafile cannot be used: {error}"
    try:
        return f"rows {asyncio.run(rows(words))}"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        return failure(error)


async def rows(words: dict[str, Any]) -> int:
    """The number at the end of a tag such as `SELECT 3`."""
    query = words.pop("query")
    words["database"] = words["database"] or words["user"]
    connection = await asyncpg.connect(**words)
    try:
        tag: str = await connection.execute(query)
    finally:
        connection.terminate()
    count = tag.rpartition(" ")[2]
    return int(count) if count.isdecimal() else 0


def failure(error: BaseException) -> str:
    """The error of TLS or of the socket, else the library's words."""
    if isinstance(error, ssl.SSLError):
        return f"failed {TLS['told'](error, True)}"
    if "rejected SSL upgrade" in str(error):
        return "failed the server offers no TLS"
    if isinstance(error, OSError) and error.errno:
        return f"errno {error.errno}"
    if isinstance(error, ConnectionError | asyncpg.ConnectionDoesNotExistError):
        return "failed connection closed early"
    return f"failed {error.args[0] if error.args else type(error).__name__}"


if __name__ == "__main__":
    main()
