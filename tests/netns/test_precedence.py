"""Real-time priority and locked memory: only as the limits permit, and for main alone.

The limits are told, not set: not every root may raise them. What is taken is real.
"""

import json
import os
import resource
import subprocess
import sys

UNLIMITED = resource.RLIM_INFINITY
PROGRAM = """
import json, os, re, resource, subprocess, sys
from lvsd.linux.precedence import take_precedence
rtprio, memlock = map(int, sys.argv[1:])
limits = {resource.RLIMIT_RTPRIO: (rtprio,) * 2, resource.RLIMIT_MEMLOCK: (memlock,) * 2}
resource.getrlimit = limits.__getitem__
take_precedence()
ask = "import os, resource; print(os.sched_getscheduler(0), *resource.getrlimit(14))"
child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
status = open("/proc/self/status").read()
print(json.dumps({
    "policy": os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK,
    "priority": os.sched_getparam(0).sched_priority,
    "locked": int(re.search(r"VmLck:\\s*(\\d+)", status)[1]),
    "child": child.stdout.split(),
}))
"""
LITTLE = 64 << 10


def limited(rtprio, memlock):
    words = [sys.executable, "-c", PROGRAM, str(rtprio), str(memlock)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_limit_is_the_priority_and_memory_is_locked():
    found = limited(3, UNLIMITED)

    assert (found["policy"], found["priority"]) == (os.SCHED_RR, 3)
    assert found["locked"] > 0


def test_no_limit_on_the_priority_means_the_highest_there_is():
    assert limited(UNLIMITED, LITTLE)["priority"] == 99


def test_what_main_starts_is_ordinary_and_cannot_become_real_time():
    assert limited(3, UNLIMITED)["child"] == [str(os.SCHED_OTHER), "0", "0"]


def test_without_permission_everything_stays_as_it_was():
    found = limited(0, LITTLE)

    assert (found["policy"], found["priority"]) == (os.sched_getscheduler(0), 0)
    assert found["locked"] == 0
