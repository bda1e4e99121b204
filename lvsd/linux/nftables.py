"""The packet filter behind `noaccept`: one table, one chain, two sets of addresses, as bytes.

The chain hangs in the input hook behind IPVS, which takes its packets at priority 98 and 99
(NF_IP_PRI_NAT_SRC - 2 and - 1, net/netfilter/ipvs/ip_vs_core.c): what IPVS schedules never comes
here, and what does come is meant for the host itself. Neighbour discovery passes (RFC 9568 §6.4.3),
and so does the host's own traffic. `nft list table inet lvsd` shows:

    type filter hook input priority srcnat; policy accept;
    iif "lo" accept
    ip daddr @vips drop
    icmpv6 type 135-136 accept
    ip6 daddr @vips6 drop

linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h; integers are big-endian.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Sequence

from lvsd.core.model import IPAddress
from lvsd.linux import KernelError
from lvsd.linux.rtnl import attribute

TABLE = "lvsd"
FAMILY = 12  # NETLINK_NETFILTER
_CHAIN, _SETS = "noaccept", {4: "vips", 6: "vips6"}
_PRIORITY = 100

_HEADER, _NFGENMSG = struct.Struct("=IHHII"), struct.Struct("!BBH")
_BATCH_BEGIN, _BATCH_END, _SUBSYSTEM, _INET = 16, 17, 10, 1
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 1, 2, 3, 6
_NEWSET, _NEWELEMENT, _DELELEMENT = 9, 12, 14
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_ERROR = 2
_NESTED = 0x8000
_LOCAL_IN, _DROP, _ACCEPT = 1, 0, 1
_META_IIF, _META_NFPROTO, _META_L4PROTO = 4, 15, 16
_EQUAL, _AT_MOST, _AT_LEAST = 0, 3, 5
_NETWORK, _TRANSPORT = 1, 2
_LOOPBACK = 1  # its index in every network namespace
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136


def establishment() -> bytes:
    """The table afresh, with empty sets; one that a crash has left goes."""
    table = _text(1, TABLE)
    hook = _number(1, _LOCAL_IN) + _number(2, _PRIORITY)
    chain = table + _text(3, _CHAIN) + _nest(4, hook) + _text(7, "filter")
    sets = [
        table
        + _text(2, name)
        + _number(3, 0)
        + _number(4, kind)
        + _number(5, size)
        + _number(10, n)
        for n, (name, kind, size) in enumerate(((_SETS[4], 7, 4), (_SETS[6], 8, 16)), 1)
    ]
    return _batch(
        (_NEWTABLE, _CREATE, table),
        (_DELTABLE, 0, table),
        (_NEWTABLE, _CREATE, table),
        *((_NEWSET, _CREATE, words) for words in sets),
        (_NEWCHAIN, _CREATE, chain),
        *((_NEWRULE, _CREATE | _APPEND, _rule(expressions)) for expressions in _rules()),
    )


def demolition() -> bytes:
    """The table and all that is in it away."""
    return _batch((_DELTABLE, 0, _text(1, TABLE)))


def elements(addresses: Collection[IPAddress], *, present: bool) -> bytes:
    """Addresses into the sets, or out of them."""
    messages = []
    for version, name in _SETS.items():
        mine = [address for address in addresses if address.version == version]
        if mine:
            keys = (_nest(1, _nest(1, attribute(1, address.packed))) for address in mine)
            words = _text(1, TABLE) + _text(2, name) + _nest(3, b"".join(keys))
            kind, flags = (_NEWELEMENT, _CREATE) if present else (_DELELEMENT, 0)
            messages.append((kind, flags, words))
    return _batch(*messages)


def inquiry() -> bytes:
    """Whether the table is there; the answer of the kernel is an error if not."""
    return _message(_SUBSYSTEM << 8 | _GETTABLE, _INET, 0, 1, _text(1, TABLE))


class FilterSocket:
    """A netfilter socket; the kernel works a batch off inside `send`. Raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, FAMILY
        )
        self._socket.bind((0, 0))

    def send(self, messages: bytes) -> None:
        """Send a batch or a request. Raises KernelError; then nothing of it was done."""
        try:
            self._socket.send(messages)
            codes = [code for answer in self._answers() for code in _errors(answer)]
        except OSError as error:
            codes = [-(error.errno or errno.EIO)]
        failed = next((code for code in codes if code), 0)
        if failed:
            raise KernelError(-failed, f"nf_tables: {os.strerror(-failed)}")

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _answers(self) -> list[bytes]:
        answers = []
        while True:
            try:
                answers.append(self._socket.recv(1 << 16))
            except BlockingIOError:
                return answers


def _rules() -> list[bytes]:
    """The expressions of each rule, in order."""
    nd_type = _load(_TRANSPORT, 0, 1)
    nd = _compare(_AT_LEAST, bytes([_SOLICITATION])) + _compare(_AT_MOST, bytes([_ADVERTISEMENT]))
    ipv4, ipv6 = _is_family(socket.AF_INET), _is_family(socket.AF_INET6)
    icmpv6 = ipv6 + _meta(_META_L4PROTO) + _compare(_EQUAL, bytes([_ICMPV6])) + nd_type + nd
    return [
        _meta(_META_IIF) + _compare(_EQUAL, struct.pack("=I", _LOOPBACK)) + _verdict(_ACCEPT),
        ipv4 + _load(_NETWORK, 16, 4) + _looked_up(_SETS[4], 1) + _verdict(_DROP),
        icmpv6 + _verdict(_ACCEPT),
        ipv6 + _load(_NETWORK, 24, 16) + _looked_up(_SETS[6], 2) + _verdict(_DROP),
    ]


def _rule(expressions: bytes) -> bytes:
    return _text(1, TABLE) + _text(2, _CHAIN) + _nest(4, expressions)


def _expression(name: str, words: bytes) -> bytes:
    return _nest(1, _text(1, name) + _nest(2, words))


def _meta(key: int) -> bytes:
    """A property of the packet into register 1."""
    return _expression("meta", _number(1, 1) + _number(2, key))


def _load(base: int, offset: int, length: int) -> bytes:
    """Bytes of the packet into register 1."""
    words = (1, base, offset, length)
    return _expression("payload", b"".join(_number(n, word) for n, word in enumerate(words, 1)))


def _compare(operation: int, value: bytes) -> bytes:
    words = _number(1, 1) + _number(2, operation) + _nest(3, attribute(1, value))
    return _expression("cmp", words)


def _is_family(family: int) -> bytes:
    return _meta(_META_NFPROTO) + _compare(_EQUAL, bytes([family]))


def _looked_up(name: str, number: int) -> bytes:
    return _expression("lookup", _text(1, name) + _number(2, 1) + _number(4, number))


def _verdict(code: int) -> bytes:
    words = _number(1, 0) + _nest(2, _nest(2, _number(1, code)))
    return _expression("immediate", words)


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _nest(kind: int, value: bytes) -> bytes:
    return attribute(kind | _NESTED, value)


def _batch(*messages: tuple[int, int, bytes]) -> bytes:
    """Messages (kind, flags, attributes) that the kernel takes all or not at all."""
    body = b"".join(
        _message(_SUBSYSTEM << 8 | kind, _INET, flags | _ACK, n, words)
        for n, (kind, flags, words) in enumerate(messages, 1)
    )
    return _frame(_BATCH_BEGIN, 0) + body + _frame(_BATCH_END, len(messages) + 1)


def _frame(kind: int, sequence: int) -> bytes:
    return _message(kind, socket.AF_UNSPEC, 0, sequence, b"", _SUBSYSTEM)


def _message(
    kind: int, family: int, flags: int, sequence: int, words: bytes, subsystem: int = 0
) -> bytes:
    body = _NFGENMSG.pack(family, 0, subsystem) + words
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, kind, flags | _REQUEST, sequence, 0) + body


def _errors(answer: bytes) -> Sequence[int]:
    """The codes of the acknowledgements in an answer, negative as the kernel has them."""
    found, at = [], 0
    while at + _HEADER.size + 4 <= len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, at)
        if length < _HEADER.size:
            break
        if kind == _ERROR:
            found.append(struct.unpack_from("=i", answer, at + _HEADER.size)[0])
        at += (length + 3) & ~3
    return found
