"""What the kernel's numbers mean, in the words ipvsadm's users know."""

from __future__ import annotations

import errno
import os

from lvsd.core.model import Family, Forwarding, SyncDaemon, SyncRole
from lvsd.core.plan import (
    DelDest,
    DelService,
    NewDest,
    NewService,
    SetDest,
    SetService,
    Step,
    describe,
)
from lvsd.linux import KernelError

NO_IPVS = (
    "this kernel has no IPVS: load it with `modprobe ip_vs` "
    "(in a container: on the host, the module is shared), or install a kernel that has it"
)
NO_PERMISSION = (
    "Permission denied: reading and writing the IPVS table needs CAP_NET_ADMIN (run as root)"
)
NO_ANSWER = "the kernel did not answer an IPVS request in time"
UNSTEADY = "IPVS: the table changes faster than it can be read"

_GENERAL = {
    errno.EPERM: NO_PERMISSION,
    errno.ENOMEM: "Memory allocation problem",
    errno.ENOPROTOOPT: "Protocol not available",
    errno.EOPNOTSUPP: "Operation not supported by this kernel",
    errno.EAFNOSUPPORT: "Operation not supported with specified address family",
    errno.EPROTONOSUPPORT: "Protocol not supported by this kernel's IPVS",
    errno.ENOBUFS: "the kernel's answer was lost (no buffer space)",
}


def step_error(step: Step, number: int) -> KernelError:
    """Why the kernel refused `step` with errno `number`."""
    return KernelError(number, f"{describe(step)}: {_step_reason(step, number)}")


def _step_reason(step: Step, number: int) -> str:
    match step, number:
        case NewService(), errno.EEXIST:
            return "Service already exists"
        case ((NewService(service) | SetService(service)), errno.ENOENT):
            engine = f" or no persistence engine {service.pe_name}" if service.pe_name else ""
            return f"the kernel has no scheduler {service.scheduler}{engine}"
        case ((SetService() | DelService()), errno.ESRCH):
            return "No such service"
        case ((NewDest() | SetDest() | DelDest()), errno.ESRCH):
            return "No such service"
        case NewDest(), errno.EEXIST:
            return "Destination already exists"
        case ((SetDest() | DelDest()), errno.ENOENT):
            return "No such destination"
        case (
            (NewDest(key) | SetDest(key)),
            (errno.EINVAL | errno.ERANGE),
        ):
            return _destination_reason(key.family, step, number)
    return general_reason(number)


def _destination_reason(family: Family, step: NewDest | SetDest, number: int) -> str:
    destination = step.destination
    if destination.l_threshold > destination.u_threshold:
        return "the lower threshold is above the upper threshold"
    if Family.of(destination.key.address) is not family:
        if destination.forwarding is not Forwarding.TUNNEL:
            return "a real server of the other address family needs forwarding ipip"
        return "a real server of the other address family cannot be used beside a sync daemon"
    return general_reason(number)


def general_reason(number: int) -> str:
    """The reason behind an errno that means the same for every request."""
    return _GENERAL.get(number) or os.strerror(number)


def sync_error(role: SyncRole, daemon: SyncDaemon | None, number: int) -> KernelError:
    """Why a sync daemon could not be started (`daemon` given) or stopped."""
    name = role.name.lower()
    if daemon is None:
        reason = "No daemon is running" if number == errno.ESRCH else general_reason(number)
        return KernelError(number, f"ipvsadm --stop-daemon {name}: {reason}")
    tried = (
        f"ipvsadm --start-daemon {name} --mcast-interface {daemon.interface}"
        f" --syncid {daemon.syncid}"
    )
    match number:
        case errno.EEXIST:
            reason = "Daemon has already run"
        case errno.ENODEV:
            reason = f"no such device: {daemon.interface}"
        case errno.EINVAL:
            reason = "Invalid argument (the table may hold real servers of the other family)"
        case _:
            reason = general_reason(number)
    return KernelError(number, f"{tried}: {reason}")
