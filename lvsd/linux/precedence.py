"""Processes that come before others: real-time priority and locked memory, as limits permit.

The limits are the service manager's word (LimitRTPRIO= and LimitMEMLOCK= of the unit): a limit
above 0 is the priority to take (SCHED_RR), and unlimited locked memory means that pages once
used stay (a swapped-out master is a late one). What is not permitted is done without. Nothing
that is started later inherits either. The guard uses this too, so nothing large is imported before
it is needed. sched(7), mlockall(2).
"""

from __future__ import annotations

import contextlib
import os
import resource

# asm-generic/mman.h: what is mapped, what will be, and each page from its first use on only, so
# that locking costs no memory.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def take_precedence() -> None:
    """Take what the limits give; once, by the thread that speaks VRRP."""
    be_real_time()
    # Check and notify programs must not be able to do the same.
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        _lock_memory()


def be_real_time() -> None:
    """The highest real-time priority within the limit, if there is one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    highest = os.sched_get_priority_max(os.SCHED_RR)
    priority = highest if limit == resource.RLIM_INFINITY else min(limit, highest)
    if priority <= 0:
        return
    # A kernel with CONFIG_RT_GROUP_SCHED refuses in a control group without real-time budget.
    with contextlib.suppress(PermissionError):
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))


def _lock_memory() -> None:
    import ctypes  # main has it anyway; the guard, which does not get here, stays small

    ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
