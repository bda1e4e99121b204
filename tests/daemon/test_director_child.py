"""The child process with the real engine and a table in memory, driven as main drives it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvsd.daemon.messages import (
    Command,
    CommandDone,
    Notice,
    Ready,
    Refused,
    Reload,
    RouterEvent,
    Routers,
    StatusRequest,
    TrackValues,
)
from tests.daemon.childhood import Web, child


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


def virtual(*webs: Web, at: str = "192.0.2.1:80", extra: str = "") -> str:
    reals = "".join(f"\treal={web.name} masq 3\n" for web in webs)
    return (
        f"virtual={at}\n{reals}\tservice=http\n\tcheckinterval=1\n\tchecktimeout=1\n"
        f'\trequest="/"\n\treceive="alive"\n\tscheduler=rr\n\tprotocol=tcp\n{extra}'
    )


#: The child on a kernel without IPVS, whatever this one has.
WITHOUT_IPVS = """
from lvsd.daemon import prelude
from lvsd.linux import KernelError, ipvs

class Absent:
    @staticmethod
    async def open():
        raise KernelError(2, "this kernel has no IPVS: load the module ip_vs")

ipvs.Ipvs = Absent
prelude.main()
"""
VRRP = "vrrp=VI_1\n\tinterface=lo\n\tvirtualrouterid=51\n\taddress=192.0.2.1\n"


async def test_it_is_ready_once_every_real_was_judged_and_the_table_stands(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        status = await c.status()
        assert status["virtuals"][0]["up"] is True
        assert status["table"]["in_sync"] is True
        assert await c.weights() == {web.name: 3}
        assert await c.stop() == 0


async def test_a_failing_real_goes_to_weight_0_and_comes_back(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        web.status = 500
        status = await c.until(lambda s: s["virtuals"][0]["reals"][0]["health"] == "down")
        assert status["virtuals"][0]["reals"][0]["effective_weight"] == 0
        assert "500" in status["virtuals"][0]["reals"][0]["reason"]
        await c.logged("real_down")
        web.status = 200
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["effective_weight"] == 3)


async def test_the_fallback_serves_while_no_real_is_up(tmp_path: Path, web: Web) -> None:
    web.status = 500
    text = virtual(web, extra="\tfallback=127.0.0.1:9 masq\n")
    async with child(tmp_path, text) as c:
        await c.until(lambda s: s["virtuals"][0]["fallback"])
        await c.until(lambda s: s["virtuals"][0]["fallback_real"]["installed"])
        web.status = 200
        await c.until(lambda s: s["virtuals"][0]["fallback"] is None)


async def test_a_ping_is_answered(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ping()


async def test_signals_are_ignored_for_main_decides(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            c.process.send_signal(number)
        await c.ping()
        assert await c.stop() == 0


async def test_it_exits_at_once_when_main_is_gone_and_leaves_the_table(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        assert await c.leave() == 1
        assert "table_cleared" not in c.log


async def test_a_stop_removes_the_table_except_where_cleanstop_says_no(
    tmp_path: Path, web: Web
) -> None:
    text = virtual(web) + virtual(web, at="192.0.2.2:80", extra="\tcleanstop=no\n")
    async with child(tmp_path, text) as c:
        await c.ready()
        assert await c.stop() == 0
        assert "table_cleared services=1" in c.log
        stored = json.loads((c.state / "manifest.json").read_text())
        assert [s["address"] for s in stored["services"]] == ["192.0.2.2"]


async def test_a_bad_first_configuration_is_refused_with_every_error(tmp_path: Path) -> None:
    async with child(tmp_path, "virtual=192.0.2.1:99999\nnonsense=1\n") as c:
        refused = await c.expect(Refused)
        assert len(refused.errors) == 2
        assert f"{c.conf}:1:" in refused.errors[0]
        assert await c.end() == 1
        assert all(error in c.log for error in refused.errors)


async def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    async with child(tmp_path, "", start=False) as c:
        c.conf.unlink()
        await c.start()
        refused = await c.expect(Refused)
        assert str(c.conf) in refused.errors[0]
        assert await c.end() == 1


async def test_services_without_ipvs_are_refused_with_the_name_of_what_is_missing(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web), table="kernel", start=False) as c:
        c.program = ("-c", WITHOUT_IPVS)
        await c.start()
        refused = await c.expect(Refused)
        assert "ip_vs" in refused.errors[0]
        assert await c.end() == 1


async def test_with_only_vrrp_blocks_no_ipvs_is_needed(tmp_path: Path) -> None:
    async with child(tmp_path, VRRP, table="kernel", start=False) as c:
        c.program = ("-c", WITHOUT_IPVS)
        await c.start()
        routers = await c.expect(Routers)
        assert [r["name"] for r in routers.routers] == ["VI_1"]
        await c.ready()
        assert await c.stop() == 0


# --- reload -------------------------------------------------------------------


async def test_a_reload_without_a_change_writes_nothing(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web) + VRRP) as c:
        await c.ready()
        writes = (await c.status())["table"]["writes"]
        said = len(c.said)
        code, answer = await c.ask("POST", "/v1/reload")
        assert (code, answer["ok"], answer["changes"]) == (200, True, [])
        assert (await c.status())["table"]["writes"] == writes
        assert not [m for m in c.said[said:] if not isinstance(m, StatusRequest | Notice)]


async def test_a_reload_follows_the_file_and_says_what_changed(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        c.conf.write_text(virtual(web).replace("masq 3", "masq 9"))
        _, answer = await c.ask("POST", "/v1/reload")
        assert answer["ok"] is True
        assert "changed weight 3 → 9" in answer["changes"][0]
        assert await c.weights() == {web.name: 9}


async def test_a_bad_reload_is_refused_and_the_old_configuration_stays(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        c.conf.write_text(virtual(web).replace("scheduler=rr", "scheduler=rrr"))
        c.send(Reload())
        status = await c.until(lambda s: s["config"]["errors"])
        assert "rrr" in status["config"]["errors"][0]
        assert status["virtuals"][0]["scheduler"] == "rr"
        assert await c.weights() == {web.name: 3}
        c.conf.write_text(virtual(web).replace("scheduler=rr", "scheduler=wlc"))
        c.send(Reload())
        status = await c.until(lambda s: s["virtuals"][0]["scheduler"] == "wlc")
        assert status["config"]["errors"] == []


async def test_a_changed_check_empties_no_pool(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        c.conf.write_text(virtual(web).replace("alive", "ali"))
        asked = web.asked
        await c.ask("POST", "/v1/reload")
        assert await c.weights() == {web.name: 3}
        await c.until(lambda _: web.asked > asked)
        assert "real_down" not in c.log


async def test_autoreload_follows_a_change_on_disk_and_survives_deletion(
    tmp_path: Path, web: Web
) -> None:
    text = "autoreload=yes\n" + virtual(web)
    async with child(tmp_path, text) as c:
        await c.ready()
        c.conf.write_text(text.replace("masq 3", "masq 7"))
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["weight"] == 7)
        c.conf.unlink()
        status = await c.until(lambda s: s["config"]["errors"])
        assert "gone" in status["config"]["errors"][0]
        assert await c.weights() == {web.name: 7}
        c.conf.write_text(text.replace("masq 3", "masq 8"))
        status = await c.until(lambda s: s["virtuals"][0]["reals"][0]["weight"] == 8)
        assert status["config"]["errors"] == []
        assert c.log.count("the file is gone") == 1


# --- operators ----------------------------------------------------------------


async def test_a_drain_survives_a_restart_and_is_undone_by_undrain(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        code, answer = await c.ask("POST", "/v1/drain", {"real": web.name})
        assert (code, answer["touched"]) == (200, [f"192.0.2.1:80 {web.name}"])
        assert await c.weights() == {web.name: 0}
        assert (c.state / "drain.json").stat().st_mode & 0o777 == 0o600
        await c.stop()
        c.said.clear()
        await c.start()
        await c.ready()
        status = await c.status()
        assert status["virtuals"][0]["reals"][0]["admin"] == "drain"
        assert await c.weights() == {web.name: 0}
        await c.ask("POST", "/v1/undrain", {"real": "127.0.0.1"})
        assert await c.weights() == {web.name: 3}


async def test_a_drain_with_a_deadline_takes_the_real_out_of_the_table(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        await c.ask("POST", "/v1/drain", {"real": web.name, "deadline": 0.2})
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["admin"] == "disabled")
        await c.until(lambda s: not s["virtuals"][0]["reals"][0]["installed"])
        await c.logged("drain_expired")


async def test_an_unknown_real_is_a_404_with_its_name(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        code, answer = await c.ask("POST", "/v1/drain", {"real": "192.0.2.77"})
        assert code == 404
        assert "192.0.2.77" in str(answer)


async def test_a_spoilt_state_directory_costs_its_content_and_not_the_service(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web), start=False) as c:
        c.state.mkdir()
        (c.state / "drain.json").write_bytes(b"\xff[{")
        (c.state / "manifest.json").write_text('{"services": [{"family": 99}]}')
        await c.start()
        await c.ready()
        assert c.log.count("state_lost") == 2
        assert await c.file(c.state / "manifest.json.bad") == '{"services": [{"family": 99}]}'


async def test_plan_says_what_a_reload_would_do_and_does_nothing(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        _, answer = await c.ask("GET", "/v1/plan")
        assert answer["steps"] == []
        c.conf.write_text(virtual(web).replace("masq 3", "masq 9"))
        _, answer = await c.ask("GET", "/v1/plan")
        assert answer["steps"] == [
            f"ipvsadm -e -t 192.0.2.1:80 -r {web.name} -m -w 9",
        ]
        assert await c.weights() == {web.name: 3}


async def test_stepdown_is_passed_to_main_and_its_refusal_to_the_operator(tmp_path: Path) -> None:
    async with child(tmp_path, VRRP) as c:
        await c.ready()
        asked = asyncio.create_task(c.ask("POST", "/v1/stepdown", {"name": "VI_1"}))
        command = await c.expect(Command)
        assert (command.verb, command.router) == ("stepdown", "VI_1")
        c.send(CommandDone(command.serial, "nobody took over"))
        code, answer = await asked
        assert code == 409
        assert "nobody took over" in str(answer)
        assert (await c.ask("POST", "/v1/stepdown", {"name": "VI_9"}))[0] == 404


# --- routers ------------------------------------------------------------------


async def test_without_standbytable_the_table_follows_mastership(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, "standbytable=no\n" + virtual(web) + VRRP) as c:
        await c.ready()
        c.roles(VI_1="backup")
        assert (await c.status())["virtuals"][0]["installed"] is False
        c.roles(VI_1="master")
        await c.until(lambda s: s["virtuals"][0]["installed"])
        c.roles(VI_1="backup")
        await c.until(lambda s: not s["virtuals"][0]["installed"])


async def test_the_sync_daemon_follows_the_role_and_ends_with_the_stop(tmp_path: Path) -> None:
    async with child(tmp_path, VRRP + "\tsyncdaemon=lo 51\n") as c:
        await c.ready()
        c.roles(VI_1="backup")
        await c.until(lambda s: [d["role"] for d in s["syncdaemons"]] == ["backup"])
        c.roles(VI_1="master")
        await c.until(lambda s: [d["role"] for d in s["syncdaemons"]] == ["master"])
        assert await c.stop() == 0
        await c.logged("sync_stopped role=master")


async def test_a_tracked_virtual_is_reported_when_it_is_judged_and_when_it_changes(
    tmp_path: Path, web: Web
) -> None:
    text = virtual(web) + VRRP + "\ttrack=virtual 192.0.2.1:80 weight -40\n"
    async with child(tmp_path, text) as c:
        await c.expect(TrackValues, lambda t: t.values == {"virtual 192.0.2.1:80": True})
        web.status = 500
        await c.expect(TrackValues, lambda t: t.values == {"virtual 192.0.2.1:80": False})


@pytest.mark.root
async def test_notify_programs_get_keepaliveds_arguments(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = tmp_path / "notify"
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    program.chmod(0o755)
    async with child(tmp_path, VRRP + f"\tnotify={program} extra\n") as c:
        await c.ready()
        c.roles(VI_1="master")
        assert await c.file(told) == "extra INSTANCE VI_1 MASTER 100\n"
        assert await c.stop() == 0
        assert told.read_text().splitlines()[-1] == "extra INSTANCE VI_1 STOP 100"


@pytest.mark.root
async def test_a_master_that_hears_a_lower_bidder_notifies(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = tmp_path / "notify"
    program.write_text(f'#!/bin/sh\necho "$*" >> {told}\n')
    program.chmod(0o755)
    async with child(tmp_path, VRRP + f"\tnotifymasterrxlowerpri={program} reclaim\n") as c:
        await c.ready()
        c.roles(VI_1="master")
        fields = {"router": "VI_1", "source": "192.0.2.7", "priority": 50}
        c.send(RouterEvent("lower_priority_heard", 0.0, fields))
        assert await c.file(told) == "reclaim\n"


async def test_a_notify_program_that_others_may_write_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "notify"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o777)
    async with child(tmp_path, VRRP + f"\tnotify={program}\n") as c:
        await c.ready()
        c.roles(VI_1="master")
        await c.logged("writable by others")


@pytest.mark.root
async def test_a_tracked_script_is_reported_and_follows_its_exit_status(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    text = (
        f"script=chk\n\tcommand=/usr/bin/test -e {flag}\n\tinterval=0.1\n\tfall=2\n"
        + VRRP
        + "\ttrack=script chk weight -20\n"
    )
    async with child(tmp_path, text) as c:
        await c.expect(TrackValues, lambda t: t.values == {"script chk": True})
        flag.unlink()
        await c.expect(TrackValues, lambda t: t.values == {"script chk": False})
        await c.logged("script_down")


async def test_a_reload_with_a_new_real_is_ready_again_after_its_first_verdict(
    tmp_path: Path, web: Web
) -> None:
    other = Web()
    try:
        async with child(tmp_path, virtual(web)) as c:
            await c.ready()
            said = len(c.said)
            c.conf.write_text(virtual(web, other))
            await c.ask("POST", "/v1/reload")
            await c.expect(Ready, lambda r: not r.ready, after=said)
            await c.expect(Ready, lambda r: r.ready, after=said)
            assert await c.weights() == {web.name: 3, other.name: 3}
    finally:
        other.close()
