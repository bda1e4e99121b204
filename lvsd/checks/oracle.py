"""`service=oracle`: log in and run `request`; one row passes. By oracledb, an optional library.

`database` is the SID, as in ldirectord. The library talks to the server itself ("thin"), but an
answer that is not Oracle's can send it into a loop for ever. So it does that in a process of its
own, `oracle_query`, which is killed when the time is up. The time that takes to start counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
from pathlib import Path

from lvsd.checks.coroutine import Coroutine
from lvsd.checks.probe import Failed, LocalFault, quoted
from lvsd.core.model import Check

_QUERY = Path(__file__).with_name("oracle_query.py")


class Oracle(Coroutine):
    """Passes when `request` gives at least one row."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        if importlib.util.find_spec("oracledb") is None:
            raise LocalFault("service=oracle needs a library: pip install 'lvsd[oracle]'")
        words = {
            "host": str(check.address),
            "port": check.port,
            "user": check.login.decode(),
            "password": check.passwd.decode(),
            "sid": check.database.decode(),
            "query": check.request.decode(),
            "timeout": check.timeout,
        }
        self._words = json.dumps(words).encode()

    async def ask(self) -> str:
        """Have it asked, and read the verdict."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(_QUERY)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
        )
        try:
            said, _ = await process.communicate(self._words)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return _verdict(said)


def _verdict(said: bytes) -> str:
    """What the process wrote: a count of rows, an errno, or words."""
    kind, _, rest = said.partition(b" ")
    if kind == b"errno":
        raise OSError(int(rest), os.strerror(int(rest)))
    if kind != b"rows":
        raise Failed(quoted(rest) or "answer not understood")
    if int(rest) < 1:
        raise Failed("no row")
    return "row found"
