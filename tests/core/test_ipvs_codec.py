"""The struct codec against pyroute2's parsers, and dump decoding; no kernel with IPVS needed."""

from __future__ import annotations

import struct
from contextlib import suppress
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsd.core.model import (
    SCHEDULERS,
    Destination,
    DestinationKey,
    Family,
    Forwarding,
    Protocol,
    ServiceFlag,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Usage,
    VirtualService,
)
from lvsd.core.plan import DelDest, DelService, NewDest, NewService, SetDest, SetService
from lvsd.linux import KernelError
from lvsd.linux.ipvs import codec, lookup, messages

ports = st.integers(0, 65535)
numbers = st.integers(0, 2**31 - 1)
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)
keys = (
    st.builds(
        lambda protocol, address, port: ServiceKey(Family.of(address), protocol, address, port),
        st.sampled_from([Protocol.TCP, Protocol.UDP, Protocol.SCTP]),
        v4 | v6,
        ports,
    )
    | st.builds(
        lambda family, mark: ServiceKey(family, Protocol.FWM, None, 0, mark),
        st.sampled_from(Family),
        st.integers(1, 2**32 - 1),
    )
)  # fmt: skip
services = st.builds(
    lambda key, scheduler, flags, timeout, prefix, pe: VirtualService(
        key, scheduler, ServiceFlag(flags), timeout, min(prefix, 32 if key.family == 2 else 128), pe
    ),
    keys,
    st.sampled_from(SCHEDULERS),
    st.sampled_from([0, 1, 4, 5, 8, 0x10, 0x38]),
    numbers,
    st.integers(1, 128),
    st.sampled_from(["", "sip"]),
)
destinations = st.builds(
    Destination,
    st.builds(DestinationKey, v4 | v6, ports),
    st.sampled_from(Forwarding),
    numbers,
    numbers,
    numbers,
    st.integers(0, 2),
    ports,
    st.integers(0, 3),
)
totals = st.integers(0, 2**64 - 1)
usages = st.builds(Usage, *[numbers] * 3, *[totals] * 5)


def service_attrs(key: ServiceKey, data: bytes) -> Any:
    service = messages.decode(messages.IpvsMessage, data).get_attr("IPVS_CMD_ATTR_SERVICE")
    assert service.get_attr("IPVS_SVC_ATTR_AF") == key.family
    if key.address is None:
        assert service.get_attr("IPVS_SVC_ATTR_FWMARK") == key.fwmark
    else:
        assert service.get_attr("IPVS_SVC_ATTR_PROTOCOL") == key.protocol
        assert ip_address(service.get_attr("IPVS_SVC_ATTR_ADDR")) == key.address
        assert service.get_attr("IPVS_SVC_ATTR_PORT") == key.port
    return service


@settings(max_examples=50)
@given(services)
def test_pyroute2_reads_a_service_as_it_was_meant(service: VirtualService) -> None:
    attrs = service_attrs(service.key, codec.encode_service(service))
    assert attrs.get_attr("IPVS_SVC_ATTR_SCHED_NAME") == service.scheduler
    assert attrs.get_attr("IPVS_SVC_ATTR_FLAGS") == {"flags": service.flags, "mask": 0xFFFFFFFF}
    assert attrs.get_attr("IPVS_SVC_ATTR_TIMEOUT") == service.timeout
    assert attrs.get_attr("IPVS_SVC_ATTR_PE_NAME") == (service.pe_name or None)
    mask = struct.pack("=I", attrs.get_attr("IPVS_SVC_ATTR_NETMASK"))
    assert mask == codec.netmask(service.key.family, service.prefixlen)


@settings(max_examples=50)
@given(keys, destinations)
def test_pyroute2_reads_a_destination_as_it_was_meant(key: ServiceKey, dest: Destination) -> None:
    command, data = codec.encode_step(NewDest(key, dest), codec.encode_key(key))
    assert command == codec.CMD_NEW_DEST
    service_attrs(key, data)
    attrs = messages.decode(messages.IpvsMessage, data).get_attr("IPVS_CMD_ATTR_DEST")
    found = {name.removeprefix("IPVS_DEST_ATTR_"): value for name, value in attrs["attrs"]}
    assert ip_address(found.pop("ADDR")) == dest.key.address
    assert found == {
        "ADDR_FAMILY": AF_INET if dest.key.address.version == 4 else AF_INET6,
        "PORT": dest.key.port,
        "FWD_METHOD": dest.forwarding,
        "WEIGHT": dest.weight,
        "U_THRESH": dest.u_threshold,
        "L_THRESH": dest.l_threshold,
        "TUN_TYPE": dest.tun_type,
        "TUN_PORT": dest.tun_port,
        "TUN_FLAGS": dest.tun_flags,
    }


WEB = ServiceKey(Family.INET, Protocol.TCP, ip_address("192.0.2.1"), 80)
REAL = Destination(DestinationKey(ip_address("192.0.2.9"), 80), Forwarding.ROUTE, 1)


def test_each_step_has_the_command_of_its_name() -> None:
    service = VirtualService(WEB, "rr")
    steps = (
        *(NewService(service), SetService(service), DelService(WEB)),
        *(NewDest(WEB, REAL), SetDest(WEB, REAL), DelDest(WEB, REAL.key)),
    )
    key = codec.encode_key(WEB)
    assert [codec.encode_step(step, key)[0] for step in steps] == [1, 2, 3, 5, 6, 7]


def test_netmasks_follow_the_family() -> None:
    assert codec.netmask(Family.INET, 24) == bytes((255, 255, 255, 0))
    assert codec.netmask(Family.INET, 0) == bytes(4)
    assert codec.netmask(Family.INET6, 64) == struct.pack("=I", 64)


def test_the_kernels_own_flag_is_never_sent() -> None:
    service = VirtualService(WEB, "rr", ServiceFlag.PERSISTENT | ServiceFlag.HASHED, 300)
    attrs = service_attrs(WEB, codec.encode_service(service))
    assert attrs.get_attr("IPVS_SVC_ATTR_FLAGS")["flags"] == ServiceFlag.PERSISTENT


@given(services)
def test_a_service_comes_back_from_a_dump(service: VirtualService) -> None:
    assert codec.decode_service(codec.encode_service(service)) == service


def attr(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def dump_entry(dest: Destination, usage: Usage, *, wide: bool = True, extra: bytes = b"") -> bytes:
    """One GET_DEST entry laid out as the kernel does (ip_vs_genl_fill_dest)."""
    family = AF_INET if dest.key.address.version == 4 else AF_INET6
    content = attr(1, dest.key.address.packed.ljust(16, b"\0"))
    content += attr(2, struct.pack("!H", dest.key.port))
    for kind, number in enumerate((dest.forwarding, dest.weight), 3):
        content += attr(kind, struct.pack("=I", number))
    content += attr(13, bytes((dest.tun_type,))) + attr(14, struct.pack("!H", dest.tun_port))
    content += attr(15, struct.pack("=H", dest.tun_flags))
    for kind, number in (
        *((5, dest.u_threshold), (6, dest.l_threshold)),
        *((7, usage.active), (8, usage.inactive), (9, usage.persistent)),
    ):
        content += attr(kind, struct.pack("=I", number))
    figures = (usage.conns, usage.inpkts, usage.outpkts, usage.inbytes, usage.outbytes)
    narrow = b"".join(
        attr(kind, struct.pack("=I" if kind < 4 else "=Q", figure & (2**32 - 1)))
        for kind, figure in enumerate(figures, 1)
    )
    content += attr(10, narrow)
    if wide:
        long = (attr(kind, struct.pack("=Q", figure)) for kind, figure in enumerate(figures, 1))
        content += attr(12, b"".join(long)) + attr(11, struct.pack("=H", family))
    return attr(2 | 0x8000, content + extra)


@given(st.lists(st.tuples(destinations, usages), min_size=1, max_size=6))
def test_a_dump_gives_back_every_destination(dump: list[tuple[Destination, Usage]]) -> None:
    decoder = codec.DestinationDecoder()
    assert [decoder.decode(dump_entry(*one), Family.INET) for one in dump] == dump


@given(destinations, usages, destinations, usages)
def test_an_entry_of_another_shape_is_walked(
    dest: Destination, usage: Usage, odd: Destination, more: Usage
) -> None:
    decoder = codec.DestinationDecoder()
    assert decoder.decode(dump_entry(dest, usage), Family.INET) == (dest, usage)
    unusual = dump_entry(odd, more, extra=attr(99, b"new"))
    assert decoder.decode(unusual, Family.INET) == (odd, more)
    assert decoder.decode(dump_entry(dest, usage), Family.INET) == (dest, usage)


def test_a_shuffled_entry_of_the_same_length_is_not_misread() -> None:
    decoder = codec.DestinationDecoder()
    entry = dump_entry(REAL, Usage(active=7))
    decoder.decode(entry, Family.INET)
    active, inactive = attr(7, struct.pack("=I", 7)), attr(8, struct.pack("=I", 0))
    shuffled = entry.replace(active + inactive, inactive + active)
    assert shuffled != entry
    assert decoder.decode(shuffled, Family.INET) == (REAL, Usage(active=7))


def test_an_old_kernel_without_family_and_long_counters_is_understood() -> None:
    old = dump_entry(REAL, Usage(1, 2, 3, 4, 5, 6, 7, 8), wide=False)
    decoded = codec.DestinationDecoder().decode(old, Family.INET)
    assert decoded == (REAL, Usage(1, 2, 3, 4, 5, 6, 7, 8))


@given(
    st.binary(max_size=80) | st.builds(lambda n: dump_entry(REAL, Usage())[:n], st.integers(0, 400))
)
def test_garbage_is_a_decode_error_or_a_destination_never_anything_else(data: bytes) -> None:
    for decode in (
        codec.decode_service,
        lambda blob: codec.DestinationDecoder().decode(blob, Family.INET),
    ):
        with suppress(codec.DecodeError):
            assert decode(data)


def test_a_sync_daemon_survives_its_messages() -> None:
    daemon = SyncDaemon(SyncRole.BACKUP, "eth1", 51)
    data = messages.daemon_request(SyncRole.BACKUP, daemon)
    assert messages.read_daemon(data) == daemon


def test_timeouts_survive_their_messages_and_zero_is_left_out() -> None:
    assert messages.read_timeouts(messages.timeouts_request(900, 120, 300)) == (900, 120, 300)
    message = messages.decode(messages.IpvsMessage, messages.timeouts_request(0, 0, 60))
    assert [tuple(one) for one in message["attrs"]] == [("IPVS_CMD_ATTR_TIMEOUT_UDP", 60)]


def test_information_is_read_as_version_and_table_size() -> None:
    data = attr(1, struct.pack("=I", 0x010201)) + attr(2, struct.pack("=I", 4096))
    assert lookup.read_info(data) == ("1.2.1", 4096)


@pytest.mark.parametrize("answer", [b"", attr(2, b"IPVS\0"), attr(1, b"\1\0")[:5]])
def test_an_answer_without_the_number_is_an_error_of_the_kernel(answer: bytes) -> None:
    with pytest.raises(KernelError, match="unreadable answer"):
        lookup.family_number(answer)


def test_the_family_is_asked_for_by_name() -> None:
    assert lookup.family_request() == struct.pack("=HH5s3x", 9, 2, b"IPVS\0")
    assert lookup.family_number(attr(2, b"IPVS\0") + attr(1, b"\x17\0")) == 23


@pytest.mark.parametrize("cut", [1, 3, 5, 40])
def test_a_truncated_service_is_refused(cut: int) -> None:
    data = codec.encode_service(VirtualService(WEB, "rr"))
    with pytest.raises(codec.DecodeError):
        codec.decode_service(data[:-cut])
