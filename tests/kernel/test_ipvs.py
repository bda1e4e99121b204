"""The kernel's table as `ipvsadm` sees it, and what only a kernel can show."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
from ipaddress import ip_address

import pytest

from lvsd.core.listing import rules
from lvsd.core.model import (
    DestinationKey,
    Family,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Usage,
    VirtualService,
)
from lvsd.core.plan import DelDest, NewDest, NewService, plan
from lvsd.linux import KernelError, sysctl
from lvsd.linux.ipvs import Ipvs
from lvsd.linux.ipvs.channel import Channel
from tests.kernel.namespace import kernel, namespace
from tests.kernel.table_contract import MASQ, ROUTE, TUNNEL, VARIETY, WEB, entry, real, table

pytestmark = pytest.mark.kernel

__all__ = ["kernel", "namespace"]


def ipvsadm(*words: str, rules: str = "") -> str:
    done = subprocess.run(
        ["ipvsadm", *words], input=rules, capture_output=True, text=True, check=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def give_loopback(*addresses: str) -> None:
    for address in addresses:
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


async def test_ipvsadm_lists_what_was_written_and_rules_say_the_same(kernel: Ipvs) -> None:
    assert await kernel.apply(plan({}, VARIETY, ())) == []
    saved = ipvsadm("-Sn").splitlines()
    assert sorted(saved) == sorted(rules(VARIETY).splitlines())
    thresholds = ipvsadm("-Ln", "--thresholds").splitlines()
    assert [line.split() for line in thresholds if "192.0.2.12:80" in line] == [
        ["->", "192.0.2.12:80", "100", "75", "0", "0"]
    ]


async def test_a_table_of_ipvsadm_is_read_and_left_alone(kernel: Ipvs) -> None:
    text = rules(VARIETY)
    ipvsadm("-R", rules=text)
    held = await kernel.read_table()
    assert sorted(rules(held).splitlines()) == sorted(text.splitlines())
    assert plan(held, {}, ()) == ()


async def test_a_thousand_steps_do_not_stall_the_loop(kernel: Ipvs) -> None:
    services = [
        ServiceKey(WEB.family, WEB.protocol, ip_address(f"198.51.100.{n}"), 80) for n in range(10)
    ]
    desired = table(
        *(
            entry(
                VirtualService(key, "wlc"),
                *(real(f"10.0.{number}.{last}", 80, ROUTE) for last in range(1, 101)),
            )
            for number, key in enumerate(services)
        )
    )
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    assert await kernel.apply(plan({}, desired, ())) == []
    assert await kernel.read_table() == desired
    counter.cancel()
    assert turns > 10


async def test_a_local_destination_keeps_the_forwarding_it_was_given(kernel: Ipvs) -> None:
    wish = table(entry(VirtualService(WEB, "wlc"), real("127.0.0.1", 80, ROUTE)))
    await kernel.apply(plan({}, wish, ()))
    assert plan(await kernel.read_table(), wish, ()) == ()


async def test_both_sync_daemons_show_in_ipvsadm(kernel: Ipvs) -> None:
    for role in SyncRole:
        await kernel.start_sync(SyncDaemon(role, "lo", 51))
    shown = ipvsadm("-L", "--daemon")
    assert "master sync daemon (mcast=lo, syncid=51" in shown
    assert "backup sync daemon (mcast=lo, syncid=51" in shown
    for role in SyncRole:
        await kernel.stop_sync(role)
    assert ipvsadm("-L", "--daemon") == ""


async def test_the_options_of_a_sync_daemon_are_the_kernels(kernel: Ipvs) -> None:
    group = ip_address("239.0.0.1")
    daemon = SyncDaemon(SyncRole.MASTER, "lo", 51, 9000, 3, group, 1000)
    await kernel.start_sync(daemon)
    (running,) = await kernel.sync_daemons()
    shown = ipvsadm("-L", "--daemon")
    await kernel.stop_sync(SyncRole.MASTER)
    assert (running, running.maxlen) == (daemon, 1000)
    assert all(word in shown for word in ("maxlen=1000", f"group={group}", "port=9000", "ttl=3"))


async def test_a_sync_daemon_on_a_missing_interface_says_so(kernel: Ipvs) -> None:
    with pytest.raises(KernelError, match="no such device: eth9") as refused:
        await kernel.start_sync(SyncDaemon(SyncRole.MASTER, "eth9", 1))
    assert refused.value.errno == errno.ENODEV


async def test_mixed_families_beside_a_sync_daemon_are_refused_clearly(kernel: Ipvs) -> None:
    await kernel.start_sync(SyncDaemon(SyncRole.MASTER, "lo", 1))
    service = NewService(VirtualService(WEB, "wlc"))
    mixed = NewDest(WEB, real("2001:db8::11", 80, TUNNEL))
    ((step, error),) = await kernel.apply([service, mixed])
    await kernel.stop_sync(SyncRole.MASTER)
    assert step is mixed
    assert "cannot be used beside a sync daemon" in str(error)


async def test_timeouts_and_information_agree_with_ipvsadm(kernel: Ipvs) -> None:
    await kernel.set_timeouts(tcp=800, udp=200)
    tcp, tcp_fin, udp = await kernel.timeouts()
    assert (tcp, udp) == (800, 200)
    shown = f"Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}"
    assert ipvsadm("-L", "--timeout") == shown
    version, size = await kernel.info()
    assert ipvsadm("-Ln").startswith(f"IP Virtual Server version {version} (size={size})")


async def test_settings_of_ipvs_are_written_and_read(namespace: None) -> None:
    sysctl.write("net/ipv4/vs/expire_quiescent_template", 1)
    assert sysctl.read("net/ipv4/vs/expire_quiescent_template") == "1"
    assert sysctl.read("net.ipv4.vs.expire_nodest_conn") == "0"
    with pytest.raises(KernelError, match="no such setting"):
        sysctl.read("net/ipv4/vs/expire_everything")


async def counted(kernel: Ipvs, key: ServiceKey, name: DestinationKey) -> Usage:
    """The usage once the handshake and five bytes are in it: the kernel sums up every 2 s."""
    for _ in range(100):
        usage = (await kernel.read_usage())[key, name]
        if usage.inpkts >= 3:
            return usage
        await asyncio.sleep(0.1)
    pytest.fail("the connection was not counted within 10 s")


async def test_usage_counts_real_connections(kernel: Ipvs) -> None:
    give_loopback("198.51.100.1", "198.51.100.2")
    key = ServiceKey(Family.INET, WEB.protocol, ip_address("198.51.100.1"), 80)
    destination = real("198.51.100.2", 8080, MASQ)
    await kernel.apply([NewService(VirtualService(key, "rr")), NewDest(key, destination)])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "198.51.100.2", 8080)
    async with server:
        reader, writer = await asyncio.open_connection("198.51.100.1", 80)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        usage = await counted(kernel, key, destination.key)
        assert (usage.active, usage.conns) == (1, 1)
        assert usage.inbytes > usage.inpkts * 40
        shown = ipvsadm("-Ln", "--stats", "--exact").splitlines()[-1].split()
        totals = (usage.conns, usage.inpkts, usage.outpkts, usage.inbytes, usage.outbytes)
        assert shown[1:] == ["198.51.100.2:8080", *map(str, totals)]
        writer.close()
        await writer.wait_closed()


async def test_usage_of_an_unused_destination_is_nothing(kernel: Ipvs) -> None:
    await kernel.apply(
        plan({}, table(entry(VirtualService(WEB, "rr"), real("192.0.2.11", 80, ROUTE))), ())
    )
    usage = await kernel.read_usage()
    assert usage == {(WEB, DestinationKey(ip_address("192.0.2.11"), 80)): Usage()}


@pytest.mark.parametrize("change", [NewDest, DelDest])
async def test_a_dump_that_a_change_tears_is_read_again(
    kernel: Ipvs, change: type[NewDest | DelDest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pieces one comes or goes in front: another one is named twice, or left out."""
    held = [real(f"192.0.2.{n}", 80, ROUTE) for n in range(1, 251)]
    await kernel.apply(plan({}, table(entry(VirtualService(WEB, "rr"), *held)), ()))
    other, received, torn = await Ipvs.open(), Channel._receive, True

    async def receive(channel: Channel, sock: socket.socket) -> bytes:
        nonlocal torn
        data = await received(channel, sock)
        if channel is kernel._channel and len(data) > 2000 and not torn:
            torn = True
            added = real("198.51.100.1", len(known), ROUTE)
            step = NewDest(WEB, added) if change is NewDest else DelDest(WEB, known[-1])
            assert await other.apply([step]) == []
        return data

    monkeypatch.setattr(Channel, "_receive", receive)
    for _ in range(3):
        known, torn = [*(await kernel.read_table())[WEB].destinations], False
        found = await kernel.read_table()
        assert torn
        assert found == await kernel.read_table()
        assert len(found[WEB].destinations) == len(known) + (1 if change is NewDest else -1)
    other.close()


async def test_the_channel_recovers_after_a_cancelled_call(kernel: Ipvs) -> None:
    await kernel.apply(plan({}, VARIETY, ()))
    reading = asyncio.create_task(kernel.read_table())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await kernel.read_table() == VARIETY
    gone = DestinationKey(ip_address("192.0.2.250"), 1)
    ((_, error),) = await kernel.apply([DelDest(WEB, gone)])
    assert error.errno == errno.ENOENT


async def test_without_cap_net_admin_the_reason_is_told(namespace: None) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(KernelError, match="needs CAP_NET_ADMIN") as refused:
            await Ipvs.open()
    finally:
        os.seteuid(0)
    assert refused.value.errno == errno.EPERM
