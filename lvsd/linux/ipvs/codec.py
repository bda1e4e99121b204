"""IPVS messages for bulk work: steps to bytes, and dump entries to model objects.

Numbers and layouts are those of linux/ip_vs.h (IPVS_CMD_*, IPVS_SVC_ATTR_*, IPVS_DEST_ATTR_*).
Attributes are in host byte order except addresses, ports and the IPv4 netmask; the IPv6 netmask is
a prefix length in host order.

A dump of destinations is one fixed layout repeated: it is learnt from the first entry, every
later entry is compared with it (all attribute headers at once, as one masked integer) and unpacked
in one go. An entry of another shape goes through the generic attribute walk.

What configures a destination lies in a few stretches of that layout, its `Mark`; the rest counts.
Equal marks mean equal destinations, so a reader that knows a mark need not decode the entry.
"""

from __future__ import annotations

import operator
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from socket import htons, ntohs
from typing import Any

from lvsd.core.model import (
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    IPAddress,
    Protocol,
    ServiceFlag,
    ServiceKey,
    Usage,
    VirtualService,
)
from lvsd.core.plan import DelDest, DelService, NewDest, NewService, SetDest, SetService, Step
from lvsd.core.record import dataclass

CMD_NEW_SERVICE, CMD_SET_SERVICE, CMD_DEL_SERVICE, CMD_GET_SERVICE = 1, 2, 3, 4
CMD_NEW_DEST, CMD_SET_DEST, CMD_DEL_DEST, CMD_GET_DEST = 5, 6, 7, 8

_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_ATTR_SERVICE, _ATTR_DEST = 1, 2
STATS, STATS64 = 10, 12
#: Plain numbers, which are packed more quickly than those of an enum.
_V4, _V6 = int(Family.INET), int(Family.INET6)

_HEADER = struct.Struct("=HH")
_SERVICE_KEY = struct.Struct("=HHHxx HHHxx HH16s HHHxx")
_MARK_KEY = struct.Struct("=HHHxx HHI")
_SERVICE_NUMBERS = struct.Struct("=HHII HHI HH4s")
_DEST_KEY = struct.Struct("=HHHxx HH16s HHHxx")
_DEST = struct.Struct("=HH HHHxx HH16s HHHxx HHI HHI HHI HHI HHBxxx HHHxx HHHxx")
_DEST_SIZE, _NESTED_DEST = _DEST.size, _ATTR_DEST | _NESTED


#: Values of attributes, and the bytes of an entry that configure a destination.
Fields = tuple[Any, ...]
Mark = tuple[bytes, ...]


class DecodeError(ValueError):
    """The kernel sent attributes that cannot be read as what was asked for."""


def _string(kind: int, text: str) -> bytes:
    value = text.encode() + b"\0"
    return _HEADER.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, content: bytes) -> bytes:
    return _HEADER.pack(4 + len(content), kind | _NESTED) + content


def _key_attributes(key: ServiceKey) -> bytes:
    if key.address is None:
        return _MARK_KEY.pack(6, 1, key.family, 8, 5, key.fwmark)
    return _SERVICE_KEY.pack(
        *(6, 1, key.family, 6, 2, key.protocol),
        *(20, 3, key.address.packed, 6, 4, htons(key.port)),
    )


def encode_key(key: ServiceKey) -> bytes:
    """The SERVICE attribute that names a service and nothing more."""
    return _nested(_ATTR_SERVICE, _key_attributes(key))


def netmask(family: Family, prefixlen: int) -> bytes:
    """The four bytes of IPVS_SVC_ATTR_NETMASK: a mask for IPv4, a prefix length for IPv6."""
    if family is Family.INET6:
        return struct.pack("=I", prefixlen)
    return (0xFFFFFFFF << (32 - min(prefixlen, 32)) & 0xFFFFFFFF).to_bytes(4)


def encode_service(service: VirtualService) -> bytes:
    """The SERVICE attribute with everything NEW_SERVICE and SET_SERVICE need."""
    flags = service.flags & ~ServiceFlag.HASHED
    numbers = _SERVICE_NUMBERS.pack(
        *(12, 7, flags, 0xFFFFFFFF),
        *(8, 8, service.timeout),
        *(8, 9, netmask(service.key.family, service.prefixlen)),
    )
    engine = _string(11, service.pe_name) if service.pe_name else b""
    key = _key_attributes(service.key)
    return _nested(_ATTR_SERVICE, key + _string(6, service.scheduler) + engine + numbers)


def _dest_key(key: DestinationKey) -> bytes:
    address = key.address
    return _DEST_KEY.pack(6, 11, Family.of(address), 20, 1, address.packed, 6, 2, htons(key.port))


def encode_destination(destination: Destination) -> bytes:
    """The DEST attribute with everything NEW_DEST and SET_DEST need."""
    # One call with plain arguments: ten thousand of these are what a big table costs to write.
    # fmt: off
    (family, address, port, method, weight, upper, lower,
     tun_type, tun_port, tun_flags) = _fields(destination)
    return _DEST.pack(
        _DEST_SIZE, _NESTED_DEST, 6, 11, family, 20, 1, address, 6, 2, port,
        8, 3, method, 8, 4, weight, 8, 5, upper, 8, 6, lower,
        5, 13, tun_type, 6, 14, tun_port, 6, 15, tun_flags,
    )
    # fmt: on


def _fields(destination: Destination) -> Fields:
    """What configures a destination, in the order and byte order of `_FIELDS`."""
    key = destination.key
    packed = key.address.packed
    return (
        _V4 if len(packed) == 4 else _V6,
        packed,
        htons(key.port),
        destination.forwarding,
        destination.weight,
        destination.u_threshold,
        destination.l_threshold,
        destination.tun_type,
        htons(destination.tun_port),
        destination.tun_flags,
    )


def encode_step(step: Step, key: bytes) -> tuple[int, bytes]:
    """Command and attributes of a step; `key` is `encode_key(step.key)`, once per service."""
    match step:
        case NewDest(destination=destination):
            return CMD_NEW_DEST, key + encode_destination(destination)
        case SetDest(destination=destination):
            return CMD_SET_DEST, key + encode_destination(destination)
        case DelDest(_, destination_key):
            return CMD_DEL_DEST, key + _nested(_ATTR_DEST, _dest_key(destination_key))
        case NewService(service):
            return CMD_NEW_SERVICE, encode_service(service)
        case SetService(service):
            return CMD_SET_SERVICE, encode_service(service)
        case DelService():
            return CMD_DEL_SERVICE, key


def attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, offset of the value, length of the value) of each attribute of a stream.

    Raises DecodeError when a length runs out of the stream.
    """
    while end - start >= 4:
        length, kind = _HEADER.unpack_from(data, start)
        if not 4 <= length <= end - start:
            raise DecodeError(f"attribute of {length} bytes where {end - start} are left")
        yield kind & _TYPE_MASK, start + 4, length - 4
        start += (length + 3) & ~3


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


@lru_cache(maxsize=65536)
def _address(family: int, packed: bytes) -> IPAddress:
    return IPv4Address(packed[:4]) if family == Family.INET else IPv6Address(packed)


def _content(data: bytes, kind: int) -> tuple[int, int]:
    """Start and end of the one nested attribute of type `kind` a dump entry consists of."""
    for found, offset, length in attributes(data, 0, len(data)):
        if found == kind:
            return offset, offset + length
    raise DecodeError(f"no attribute {kind}")


def decode_service(data: bytes) -> VirtualService:
    """One entry of a GET_SERVICE dump. Raises DecodeError on anything that is not one."""
    values = {k: data[o : o + n] for k, o, n in attributes(data, *_content(data, _ATTR_SERVICE))}
    try:
        family = Family(_number(values[1]))
        flags = ServiceFlag(_number(values[7][:4]) & ~ServiceFlag.HASHED)
        mask = values[9]
        return VirtualService(
            _decode_key(family, values),
            scheduler=values[6].rstrip(b"\0").decode(),
            flags=flags,
            timeout=_number(values[8]),
            prefixlen=int.from_bytes(mask).bit_count() if family == 2 else _number(mask),
            pe_name=values.get(11, b"").rstrip(b"\0").decode(),
        )
    except (KeyError, ValueError) as error:
        raise DecodeError(f"not a service: {error!r}") from error


def _decode_key(family: Family, values: Mapping[int, bytes]) -> ServiceKey:
    if 5 in values:
        return ServiceKey(family, Protocol.FWM, None, 0, _number(values[5]))
    address = _address(family, values[3])
    return ServiceKey(family, Protocol(_number(values[2])), address, int.from_bytes(values[4]))


#: What is read of a destination: path of attribute types → struct code, in `_build`'s order.
_FIELDS: Mapping[tuple[int, ...], str] = {
    (11,): "H",
    (1,): "16s",
    (2,): "H",
    **{(n,): "I" for n in range(3, 7)},
    (13,): "B",
    (14,): "H",
    (15,): "H",
    **{(n,): "I" for n in range(7, 10)},
    **{(STATS64, n): "Q" for n in range(1, 6)},
}
#: So many of them configure a destination, the rest is usage.
_CONFIGURING = 10
_FORWARDING = {int(method): method for method in Forwarding}


def _walk(data: bytes) -> dict[tuple[int, ...], tuple[int, int]]:
    """Path → (offset, length) of every attribute of a destination, the statistics opened."""
    found: dict[tuple[int, ...], tuple[int, int]] = {}
    for kind, offset, length in attributes(data, *_content(data, _ATTR_DEST)):
        found[(kind,)] = (offset, length)
        if kind in (STATS, STATS64):
            for inner, at, size in attributes(data, offset, offset + length):
                found[(kind, inner)] = (at, size)
    return found


def _read(data: bytes, family: Family) -> Fields:
    """The fields by the generic walk: whatever a kernel leaves out is 0 (32-bit totals serve)."""
    found = _walk(data)
    fields: list[Any] = []
    for path, code in _FIELDS.items():
        if path not in found and path[0] == STATS64:
            path = (STATS, path[1])
        offset, length = found.get(path, (0, 0))
        value = data[offset : offset + length]
        fields.append(value if code == "16s" else _number(value))
    if (1,) not in found or (2,) not in found or len(fields[1]) != 16:
        raise DecodeError("not a destination")
    fields[0] = fields[0] or family
    return tuple(fields)


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of one entry: `mask` selects its attribute headers, `headers` is what they say.

    `_stretches` cuts the mark out of an entry; `_packed`, `_places` and `_parts` make one anew.
    """

    size: int
    mask: int
    headers: int
    unpack: Callable[[bytes], Fields]
    order: Callable[[Fields], Fields]
    _stretches: struct.Struct
    _packed: struct.Struct
    _places: Callable[[Fields], Fields]
    _titles: Fields
    _parts: struct.Struct

    def matches(self, data: bytes) -> bool:
        """Whether an entry has this shape."""
        return len(data) == self.size and int.from_bytes(data) & self.mask == self.headers

    def marks(self, entries: Sequence[bytes]) -> list[Mark] | None:
        """The mark of each entry; None when one of them has another size."""
        if {*map(len, entries)} != {self.size}:
            return None
        return [*self._stretches.iter_unpack(b"".join(entries))]

    def expected(self, destinations: Iterable[Destination]) -> list[Mark]:
        """The marks that such destinations have."""
        pack, places, titles = self._packed.pack, self._places, self._titles
        packed = [pack(*places(_fields(d) + titles)) for d in destinations]
        return [*self._parts.iter_unpack(b"".join(packed))]


def learn(data: bytes) -> Layout | None:
    """The layout of an entry that has every field at its full size, else None."""
    found = _walk(data)
    places = []
    for number, (path, code) in enumerate(_FIELDS.items()):
        offset, length = found.get(path, (0, 0))
        if length != struct.calcsize("=" + code):
            return None
        places.append((offset, code, number, length))
    places.sort()
    text, at = "=", 0
    for offset, code, _, length in places:
        text += f"{offset - at}x{code}"
        at = offset + length
    unpacker = struct.Struct(f"{text}{len(data) - at}x")
    mask = bytearray(len(data))
    mask[0:4] = b"\xff" * 4
    for offset, _ in found.values():
        mask[offset - 4 : offset] = b"\xff" * 4
    bits = int.from_bytes(mask)
    positions = [0] * len(places)
    for position, (_, _, number, _) in enumerate(places):
        positions[number] = position
    return Layout(
        len(data),
        bits,
        int.from_bytes(data) & bits,
        unpacker.unpack,
        operator.itemgetter(*positions),
        *_marking(data, [place for place in places if place[2] < _CONFIGURING]),
    )


def _marking(
    data: bytes, places: Sequence[tuple[int, str, int, int]]
) -> tuple[struct.Struct, struct.Struct, Callable[[Fields], Fields], Fields, struct.Struct]:
    """How to cut a mark out of an entry such as `data`, and how to make one of values."""
    stretches: list[list[int]] = []
    for offset, _, _, length in places:
        end = offset + length + -length % 4
        if stretches and stretches[-1][1] == offset - 4:
            stretches[-1][1] = end
        else:
            stretches.append([offset - 4, end])
    text, at = "", 0
    for start, end in stretches:
        text += f"{start - at}x{end - start}s"
        at = end
    packed = "=" + "".join(f"4s{code}{-length % 4}x" for _, code, _, length in places)
    indices = [i for n, place in enumerate(places) for i in (_CONFIGURING + n, place[2])]
    return (
        struct.Struct(f"{text}{len(data) - at}x"),
        struct.Struct(packed),
        operator.itemgetter(*indices),
        tuple(data[offset - 4 : offset] for offset, *_ in places),
        struct.Struct("".join(f"{end - start}s" for start, end in stretches)),
    )


class DestinationDecoder:
    """Decodes the entries of GET_DEST dumps; keeps the layout it has learnt."""

    def __init__(self) -> None:
        self._layout: Layout | None = None

    def layout(self, data: bytes) -> Layout | None:
        """The layout learnt, from this entry if it is the first."""
        if self._layout is None:
            self._layout = learn(data)
        return self._layout

    def decode(self, data: bytes, family: Family) -> tuple[Destination, Usage]:
        """One entry. `family` is the service's, for kernels that do not send the entry's own.

        Raises DecodeError on anything that is not a destination.
        """
        layout = self.layout(data)
        if layout is not None and layout.matches(data):
            return _build(layout.order(layout.unpack(data)))
        return _build(_read(data, family))


def _build(fields: Fields) -> tuple[Destination, Usage]:
    (family, address, port, method, weight, upper, lower, tun_type, tun_port, tun_flags) = fields[
        :_CONFIGURING
    ]
    destination = Destination(
        DestinationKey(_address(family, address), ntohs(port)),
        _FORWARDING.get(method & 7, Forwarding.BYPASS),
        weight,
        upper,
        lower,
        tun_type,
        ntohs(tun_port),
        tun_flags,
    )
    return destination, Usage(*fields[_CONFIGURING:])
