"""Privileges that a process gives up for good: another user, no capability, nothing to gain.

A check worker talks to servers that may be hostile, and needs nothing of root's. It ends with the
process that started it, however that ends. capabilities(7), prctl(2), setresuid(2).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from collections.abc import Sequence

# linux/prctl.h and linux/capability.h.
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def give_up(users: Sequence[str]) -> None:
    """Become the first of these users that there is, if that is permitted, without capabilities.

    Not permitted is it to who is not root, or root of a namespace without other users. OSError
    when privileges cannot be given up.
    """
    if (entry := _first(users)) is not None and os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        except OSError:  # stays who it is, without what that user may do
            pass
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def end_with(parent: int) -> None:
    """Be killed when the parent ends; at once if it has ended. After any change of user."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def _first(users: Sequence[str]) -> pwd.struct_passwd | None:
    for user in users:
        try:
            return pwd.getpwnam(user)
        except KeyError:
            continue
    return None


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
