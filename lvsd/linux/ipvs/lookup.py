"""Finding IPVS: the number of its netlink family, and what it says of itself.

These two requests are part of every start, and of the time until the daemon listens on VRRP, so
they are packed by hand: pyroute2 takes longer to load than the whole reader of configurations.
"""

from __future__ import annotations

import errno
import struct
import sys

from lvsd.linux import KernelError
from lvsd.linux.ipvs.codec import DecodeError, attributes

#: CTRL_CMD_GETFAMILY of linux/genetlink.h, and the family it is sent to; IPVS_CMD_GET_INFO.
CMD_GET_FAMILY, GENL_ID_CTRL, CMD_GET_INFO = 3, 0x10, 15
FAMILY_NAME = "IPVS"
#: Length of nlmsghdr and genlmsghdr together.
HEADER_SIZE = 20

_FAMILY_ID, _FAMILY_NAME = 1, 2
_VERSION, _TABLE_SIZE = 1, 2
_ATTRIBUTE = struct.Struct("=HH")


def family_request() -> bytes:
    """Attributes of CTRL_CMD_GETFAMILY for IPVS."""
    name = FAMILY_NAME.encode() + b"\0"
    packed = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(name), _FAMILY_NAME) + name
    return packed + bytes(-len(packed) % 4)


def family_number(answer: bytes) -> int:
    """The generic netlink number of IPVS from the answer to `family_request`."""
    (number,) = _numbers(answer, _FAMILY_ID)
    return number


def read_info(answer: bytes) -> tuple[str, int]:
    """Version of IPVS (`1.2.1`) and size of the connection table, from GET_INFO's answer."""
    version, size = _numbers(answer, _VERSION, _TABLE_SIZE)
    return f"{version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}", size


def _numbers(answer: bytes, *kinds: int) -> list[int]:
    """The values of some attributes. Raises KernelError when one is not there."""
    try:
        found = {
            kind: int.from_bytes(answer[start : start + length], sys.byteorder)
            for kind, start, length in attributes(answer, 0, len(answer))
        }
        return [found[kind] for kind in kinds]
    except (DecodeError, KeyError) as error:
        raise KernelError(errno.EBADMSG, f"IPVS: unreadable answer: {error}") from error
