"""Dumps to entries: what is known or expected by its bytes is what decoding would have given."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsd.core.model import (
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    ServiceEntry,
    ServiceKey,
    Usage,
    VirtualService,
)
from lvsd.linux.ipvs.codec import DestinationDecoder, encode_service
from lvsd.linux.ipvs.reader import Reader, Torn
from tests.core.test_ipvs_codec import attr, destinations, dump_entry

WEB = ServiceKey(Family.INET, Protocol.TCP, ip_address("192.0.2.1"), 80)
SERVICE = VirtualService(WEB, "rr")


class Counting(DestinationDecoder):
    """Counts what it has decoded."""

    decoded = 0

    def decode(self, data: bytes, family: Family) -> tuple[Destination, Usage]:
        self.decoded += 1
        return super().decode(data, family)


def reals(count: int) -> list[Destination]:
    first = ip_address("198.51.100.1")
    keys = (DestinationKey(first + number, 80) for number in range(count))
    return [Destination(key, Forwarding.ROUTE, 1) for key in keys]


def entry(held: Sequence[Destination]) -> ServiceEntry:
    return ServiceEntry(SERVICE, {each.key: each for each in held})


def dump(held: Sequence[Destination], dice: random.Random | None = None) -> list[bytes]:
    """The kernel's: the newest first, with connections that come and go."""
    active = dice.randrange(1000) if dice else 3
    return [dump_entry(each, Usage(active)) for each in reversed(held)]


def read(
    reader: Reader, entries: list[bytes], expected: ServiceEntry | None = None
) -> ServiceEntry:
    return asyncio.run(reader.entry(SERVICE, entries, expected))


def test_a_service_that_stays_is_the_same_object_and_not_decoded() -> None:
    decoder, held = Counting(), reals(5)
    reader = Reader(decoder)
    first = read(reader, dump(held, random.Random(1)))
    assert (first, list(first.destinations)) == (entry(held), [each.key for each in held])
    assert decoder.decoded == 5
    assert read(reader, dump(held, random.Random(2))) is first
    assert decoder.decoded == 5


def test_what_is_expected_is_that_very_object_and_not_decoded() -> None:
    decoder, held = Counting(), reals(5)
    expected = entry(held)
    assert read(Reader(decoder), dump(held), expected) is expected
    assert decoder.decoded == 0


@pytest.mark.parametrize("surplus", [1, -1])
def test_what_is_expected_must_be_there_whole(surplus: int) -> None:
    held, expected = reals(3), entry(reals(3 + surplus))
    assert read(Reader(DestinationDecoder()), dump(held), expected) == entry(held)
    assert read(Reader(DestinationDecoder()), [], expected) == entry([])


def test_a_service_of_other_attributes_is_not_what_was_expected() -> None:
    other = ServiceEntry(VirtualService(WEB, "wlc"), entry(reals(2)).destinations)
    assert read(Reader(DestinationDecoder()), dump(reals(2)), other) == entry(reals(2))


def test_one_changed_destination_is_decoded_alone() -> None:
    decoder, held = Counting(), reals(5)
    reader = Reader(decoder)
    first = read(reader, dump(held))
    held[2] = replace(held[2], weight=7)
    second = read(reader, dump(held))
    assert second == entry(held)
    assert decoder.decoded == 6
    assert second.destinations[held[0].key] is first.destinations[held[0].key]


def test_a_changed_service_keeps_its_destinations() -> None:
    decoder, held = Counting(), reals(2)
    reader = Reader(decoder)
    first = read(reader, dump(held))
    other = VirtualService(WEB, "wlc")
    second = asyncio.run(reader.entry(other, dump(held), None))
    assert second == ServiceEntry(other, first.destinations)
    assert decoder.decoded == 2


def test_entries_of_a_kernel_that_is_not_known_are_walked_each_time() -> None:
    held, reader = reals(2), Reader(DestinationDecoder())
    old = [dump_entry(each, Usage(), wide=False) for each in reversed(held)]
    for _ in range(2):
        assert read(reader, old, entry(held)) == entry(held)
    mixed = [*dump(held[1:]), dump_entry(held[0], Usage(), extra=attr(99, b"new!"))]
    assert read(Reader(DestinationDecoder()), mixed, entry(held)) == entry(held)


def test_a_service_that_went_is_forgotten() -> None:
    decoder = Counting()
    reader = Reader(decoder)
    first = read(reader, dump(reals(2)))
    reader.forget({WEB})
    assert read(reader, dump(reals(2))) is first
    reader.forget(set())
    assert read(reader, dump(reals(2))) is not first
    assert decoder.decoded == 4


def service_entry(service: VirtualService, count: int, *, last: bool = True) -> bytes:
    """One GET_SERVICE entry as the kernel lays it out, the counters behind what configures it."""
    content = encode_service(service)[4:]
    counters = attr(10, attr(1, count.to_bytes(4))) + attr(12, attr(1, count.to_bytes(8)))
    return attr(1 | 0x8000, content + counters if last else counters + content)


def test_a_service_is_known_whatever_it_has_counted() -> None:
    reader = Reader(DestinationDecoder())
    first = reader.service(service_entry(SERVICE, 1))
    assert first == SERVICE
    assert reader.service(service_entry(SERVICE, 2)) is first
    other = VirtualService(WEB, "lc")
    assert reader.service(service_entry(other, 2)) == other
    assert reader.service(service_entry(SERVICE, 3)) is first
    reader.forget(set())
    assert reader.service(service_entry(SERVICE, 3)) is not first


def test_a_service_without_counters_at_the_end_is_decoded_each_time() -> None:
    reader = Reader(DestinationDecoder())
    for data in (service_entry(SERVICE, 1, last=False), encode_service(SERVICE)):
        assert reader.service(data) == reader.service(data) == SERVICE
        assert reader.service(data) is not reader.service(data)


@given(
    st.lists(st.lists(destinations, max_size=4, unique_by=lambda each: each.key), max_size=4),
    st.randoms(use_true_random=False),
)
def test_whatever_is_remembered_or_expected_the_answer_is_the_kernels(
    tables: list[list[Destination]], dice: random.Random
) -> None:
    reader = Reader(DestinationDecoder())
    for held in tables:
        expected = dice.choice([None, *map(entry, tables)])
        found = read(reader, dump(held, dice), expected)
        assert found == entry(held)
        assert list(found.destinations) == [each.key for each in held]


@pytest.mark.parametrize("weight", [1, 2])
def test_a_destination_that_is_named_twice_tells_that_the_dump_is_torn(weight: int) -> None:
    """Somebody has added one while it was under way, and perhaps changed the one sent twice."""
    held = reals(4)
    reader = Reader(DestinationDecoder())
    read(reader, dump(held))
    torn = dump(held)
    torn.insert(2, dump_entry(replace(held[2], weight=weight), Usage(0)))
    with pytest.raises(Torn):
        read(reader, torn)
    with pytest.raises(Torn):
        read(Reader(DestinationDecoder()), torn, entry(held))
    assert read(reader, dump(held)) == entry(held)
