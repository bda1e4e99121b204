"""Programs that are started without waiting for them: what they get, and what they end with."""

from __future__ import annotations

import os
import signal
import socket
import sys

from lvsd.daemon.launch import NOT_EXECUTED, Launched, launch
from tests.lab.topology import wait_until

TELL = """
import os, signal, socket
fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
sock = socket.socket(fileno=7)
held = signal.pthread_sigmask(signal.SIG_BLOCK, [])
words = [os.read(0, 1) == b"", [fd for fd in fds if 2 < fd < 60], sorted(held)]
words += [signal.getsignal(n) is signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGHUP)]
sock.send(repr(words).encode())
sock.recv(1)
"""


def test_a_program_gets_its_descriptors_and_nothing_else_of_ours() -> None:
    ours, theirs = socket.socketpair()
    other = os.open("/proc/self/status", os.O_RDONLY)
    with ours, theirs:
        pid = launch([sys.executable, "-c", TELL], {7: theirs.fileno()})
        theirs.close()
        program = Launched(pid)
        ours.settimeout(20)
        empty, descriptors, held, *defaults = eval(ours.recv(1000))
        assert not program.poll()
    os.close(other)

    assert empty
    assert set(descriptors) <= {7, 3}  # and the folder that it listed
    assert held == []
    assert defaults == [True, True]
    wait_until(program.poll, 20, "it has ended")


def test_a_program_that_is_killed_or_does_not_exist_has_ended() -> None:
    sleeper = Launched(launch([sys.executable, "-c", "import time; time.sleep(600)"], {}))
    assert not sleeper.poll()
    sleeper.kill()
    wait_until(sleeper.poll, 20, "it was killed")
    sleeper.kill()  # harmless

    status = os.waitpid(launch(["/nonexistent"], {}), 0)[1]

    assert os.waitstatus_to_exitcode(status) == NOT_EXECUTED
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
