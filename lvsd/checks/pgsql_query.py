"""The process that asks a PostgreSQL server, see `sql_process`.

It is run as a file, so that nothing else of lvsd is imported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import asyncpg


def main() -> None:
    """Ask once."""
    words = json.load(sys.stdin)
    try:
        answer = f"rows {asyncio.run(rows(words))}"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        answer = failure(error)
    sys.stdout.write(answer)


async def rows(words: dict[str, Any]) -> int:
    """The number at the end of a tag such as `SELECT 3`."""
    query = words.pop("query")
    words["database"] = words["database"] or words["user"]
    connection = await asyncpg.connect(**words, ssl="prefer")
    try:
        tag: str = await connection.execute(query)
    finally:
        connection.terminate()
    count = tag.rpartition(" ")[2]
    return int(count) if count.isdecimal() else 0


def failure(error: BaseException) -> str:
    """The error of the socket, else the library's words."""
    if isinstance(error, OSError) and error.errno:
        return f"errno {error.errno}"
    if isinstance(error, ConnectionError | asyncpg.ConnectionDoesNotExistError):
        return "failed connection closed early"
    return f"failed {error.args[0] if error.args else type(error).__name__}"


if __name__ == "__main__":
    main()
