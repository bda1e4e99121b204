"""Database checks whose client library runs in a process of its own.

An answer that is not of its protocol can send oracledb or asyncpg into a loop for ever, and here
nothing may stall. So each question starts a small program beside this file, which is killed when
the time is up. It gets its parameters in JSON on stdin and writes one line: `rows N`, `errno N` for
an error of the socket, `local` and words for what this host lacks, or `failed` and words. The time
that it takes to start counts.
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
from lvsd.checks.tls import Tls, server_name
from lvsd.core.model import Check


class SqlProcess(Coroutine):
    """Passes when `request` gives at least one row. Subclasses name the library and the program."""

    library = ""
    program = ""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        if importlib.util.find_spec(self.library) is None:
            kind = check.kind.value
            raise LocalFault(f"service={kind} needs a library: pip install 'lvsd[{kind}]'")
        words = {
            "host": str(check.address),
            "port": check.port,
            "user": check.login.decode(),
            "password": check.passwd.decode(),
            "database": check.database.decode(),
            "query": check.request.decode(),
            "timeout": check.timeout,
            "tls": self._tls(),
        }
        self._words = json.dumps(words).encode()

    def _tls(self) -> dict[str, object] | None:
        """The words of `tls_context.wanted`; None where no TLS is asked for."""
        check = self.check
        if not (check.starttls or check.verify):
            return None
        Tls(check)  # raises what this host is at fault for
        name = server_name(check.virtualhost) or str(check.address)
        return {"verify": check.verify, "cafile": check.cafile, "name": name}

    async def ask(self) -> str:
        """Have it asked, and read the verdict."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(Path(__file__).with_name(self.program))),
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
    """What the line of the program means."""
    kind, _, rest = said.partition(b" ")
    if kind == b"errno":
        raise OSError(int(rest), os.strerror(int(rest)))
    if kind == b"local":
        raise LocalFault(quoted(rest, 200))
    if kind != b"rows":
        raise Failed(quoted(rest, 200) or "answer not understood")
    if int(rest) < 1:
        raise Failed("no row")
    return "row found"
