"""`checktype=external` and `external-perl`: a program of the operator's; exit status 0 passes.

It gets ldirectord's four arguments behind its own: virtual address or mark, virtual port, real
address, real port (0 where none was written); IPv6 addresses stand in brackets. It is run without a
shell and from a trusted path only, see `lvsd.program`. When the time is up it gets SIGTERM, as from
ldirectord, and is killed if that does not end it. Death by a signal is a failure.

The file of external-perl is given to perl as a program of its own, anew for each check; ldirectord
compiles it once into itself.
"""

from __future__ import annotations

from lvsd import program
from lvsd.checks.coroutine import Coroutine
from lvsd.checks.probe import Failed, LocalFault, fault

#: Seconds between SIGTERM and SIGKILL.
PATIENCE = 1.0


class External(Coroutine):
    """Passes when the program ends with status 0."""

    async def ask(self) -> str:
        """Run it once."""
        try:
            status = await program.run(self.argv(), None, patience=PATIENCE)
        except program.Refused as refused:
            if isinstance(refused.__cause__, OSError):
                shortage = fault(refused.__cause__)
                if isinstance(shortage, LocalFault):
                    raise shortage from refused
            raise Failed(f"can't run {refused}") from refused
        if status:
            raise Failed(f"exit status {status}" if status > 0 else f"killed by signal {-status}")
        return "exit status 0"

    def argv(self) -> tuple[str, ...]:
        """The program and its arguments. Raises Refused."""
        return self.check.command

    def late(self) -> str:
        """The program still runs."""
        return "no end"


class ExternalPerl(External):
    """The same for a file of Perl, which need not be executable."""

    def argv(self) -> tuple[str, ...]:
        """perl, the file, its arguments. Raises Refused."""
        file, *words = self.check.command
        return ("perl", program.owned(file), *words)
