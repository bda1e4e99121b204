"""What ldirectord's own reader makes of a file: the original's code, run by its own Perl.

The program of the lab's tree is taken as it is, up to the place where it would begin to work. There
it reads each file of a folder in a process of its own and tells what it has understood, as JSON.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab import peer
from tests.lab.tree import ensure

#: Where the original begins to work.
_START = "$DAEMON_STATUS = $DAEMON_STATUS_STARTING;\nld_init();"
_READ = r"""
use JSON::PP;
$| = 1;
$DAEMON_STATUS = $DAEMON_STATUS_STARTING;
my $json = JSON::PP->new->latin1->canonical->allow_nonref->allow_blessed;
for my $file (sort glob("$ARGV[0]/*.cf")) {
    my $pid = open(my $child, "-|") // die;
    if (!$pid) {
        open(STDERR, ">&STDOUT");
        ($CONFIG, $CFGNAME, $LDIRLOG) = ($file, "test", "/dev/null");
        read_config();
        my %globals = (
            checktimeout => $CHECKTIMEOUT, negotiatetimeout => $NEGOTIATETIMEOUT,
            checkinterval => $CHECKINTERVAL, failurecount => $FAILURECOUNT,
            quiescent => $QUIESCENT, autoreload => $AUTOCHECK, cleanstop => $CLEANSTOP,
            callback => $CALLBACK, emailalert => $EMAILALERT, emailalertfreq => $EMAILALERTFREQ,
            emailalertfrom => $EMAILALERTFROM, smtp => $SMTP, maintenancedir => $MAINTDIR,
            fallback => $FALLBACK, fallbackcommand => $FALLBACKCOMMAND,
        );
        print "\nREAD " . $json->encode(
            {virtuals => \@VIRTUAL, globals => \%globals, checks => \@REAL}) . "\n";
        close(STDOUT);
        POSIX::_exit(0);
    }
    local $/;
    my $said = <$child>;
    close($child);
    print $json->encode([$file, $? >> 8, $said]) . "\n";
}
POSIX::_exit(0);
"""


class Reading:
    """What the original said of one file: `error` is its complaint, "" when it accepts."""

    def __init__(self, status: int, said: str) -> None:
        said, found, document = said.partition("\nREAD ")
        self.error = "" if found else (said.strip() or f"exit status {status}")
        self.warnings = said if found else ""
        read = json.loads(document) if found else {"virtuals": [], "globals": {}, "checks": []}
        self.virtuals: list[dict[str, Any]] = read["virtuals"]
        self.globals: dict[str, Any] = read["globals"]
        #: For each check that it makes, the services that it counts for.
        self.checks: list[list[str]] = [check["virtual"] for check in read["checks"]]


def read(files: Mapping[str, bytes], folder: Path) -> dict[str, Reading]:
    """The original's reading of each of `files`, which are put into `folder`."""
    for name, text in files.items():
        (folder / f"{name}.cf").write_bytes(text)
    source = (ensure().root / "usr/sbin/ldirectord").read_text(encoding="utf-8")
    head, found, tail = source.partition(_START)
    assert found, "this ldirectord begins otherwise"
    (folder / "reader.pl").write_text(head + _READ + tail, encoding="utf-8")
    command = ["env", "PERLIO=perlio", "perl", folder / "reader.pl", folder]
    done = subprocess.run(
        peer.words(command, folder), capture_output=True, check=False, timeout=300
    )
    readings = {}
    for line in done.stdout.decode("latin1").splitlines():
        path, status, said = json.loads(line)
        readings[Path(path).stem] = Reading(status, said or "")
    assert readings.keys() == files.keys(), done.stderr.decode("utf-8", "replace")
    return readings
