"""What a child restarted after a crash goes on with, and a reader of configurations that fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvsd.daemon.messages import Refused, RouterEvent
from tests.daemon.childhood import Web, child

#: The child with a reader that has a fault, for configurations that say so.
FAULTY = """
from lvsd import config
from lvsd.daemon import prelude

load = config.load

def faulty(path, **named):
    with open(path) as file:
        if "trip" in file.read():
            raise RecursionError("too deep")
    return load(path, **named)

config.load = faulty
prelude.main()
"""
#: The child with few descriptors allowed, of the many it may have.
FEW_FILES = """
import resource
from lvsd.daemon import prelude

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
prelude.main()
"""
#: The child on a host that has no port left for connect checks.
NO_PORT = """
from lvsd.checks import connect
from lvsd.checks.probe import LocalFault
from lvsd.daemon import prelude

def start(probe):
    raise LocalFault("no free port")

connect._Connection.start = start
prelude.main()
"""
#: The child that dies of a weight of 9, once it is asked to follow it.
FELLED = """
from lvsd.daemon import director, prelude

load = director.Child.load

async def fatal(child, config):
    assert config.virtuals[0].reals[0].weight != 9, "a fault of ours"
    await load(child, config)

director.Child.load = fatal
prelude.main()
"""
BAD = "virtual=192.0.2.1:80\n\tnonsense=1\n"


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


def virtual(web: Web, weight: int = 3) -> str:
    return (
        f"virtual=192.0.2.1:80\n\treal={web.name} masq {weight}\n\tservice=http\n"
        '\tcheckinterval=1\n\tchecktimeout=1\n\treceive="alive"\n'
    )


@pytest.mark.parametrize("edited", [BAD, "", None])
async def test_after_a_crash_the_running_configuration_goes_on(
    tmp_path: Path, web: Web, edited: str | None
) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        assert (c.runtime / "last-good.conf").stat().st_mode & 0o777 == 0o600
        before = await c.status()
        if edited is None:
            c.conf.unlink()
        else:
            c.conf.write_text(edited)
        await c.crash()
        await c.ready()
        status = await c.status()
        assert await c.weights() == {web.name: 3}
        for key in ("path", "sha256", "warnings"):
            assert status["config"][key] == before["config"][key]
        assert status["config"]["errors"] == []
        assert status["since"] == before["since"] == float(c.since)


async def test_an_edited_file_takes_effect_at_the_reload_after_a_crash(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        c.conf.write_text(virtual(web, 9))
        await c.crash()
        await c.ready()
        assert await c.weights() == {web.name: 3}
        _, answer = await c.ask("POST", "/v1/reload")
        assert "3 → 9" in answer["changes"][0]
        assert await c.weights() == {web.name: 9}


async def test_with_autoreload_an_edited_file_is_tried_after_a_crash(
    tmp_path: Path, web: Web
) -> None:
    text = "autoreload=yes\n" + virtual(web)
    async with child(tmp_path, text) as c:
        await c.ready()
        await c.kill()
        c.conf.write_text(text + BAD)
        c.said.clear()
        await c.start()
        status = await c.until(lambda s: s["config"]["errors"])
        assert "nonsense" in str(status["config"]["errors"])
        assert await c.weights() == {web.name: 3}
        await c.kill()
        c.conf.write_text("autoreload=yes\n" + virtual(web, 9))
        c.said.clear()
        await c.start()
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["weight"] == 9)


async def test_with_autoreload_an_untouched_file_is_not_read_again_after_a_crash(
    tmp_path: Path, web: Web
) -> None:
    (tmp_path / "more.conf").write_text(virtual(web))
    async with child(tmp_path, "autoreload=yes\ninclude=more.conf\n") as c:
        await c.ready()
        await c.crash()
        await c.ready()
        (tmp_path / "more.conf").write_text(virtual(web, 9))
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["weight"] == 9)
        assert c.log.count("config_changed") == 1


async def test_with_autoreload_a_file_that_felled_the_child_is_not_tried_again(
    tmp_path: Path, web: Web
) -> None:
    text = "autoreload=yes\n" + virtual(web)
    async with child(tmp_path, text, start=False) as c:
        c.program = ("-c", FELLED)
        await c.start()
        await c.ready()
        c.conf.write_text(text.replace("masq 3", "masq 9"))
        assert await c.end() == 1
        assert "director_failed" in c.log
        c.said.clear()
        await c.start()
        await c.ready()
        asked = web.asked
        await c.until(lambda _: web.asked > asked + 3)  # once a second, and so looks the watch
        assert c.log.count("config_changed") == 1
        assert await c.weights() == {web.name: 3}
        c.conf.write_text(text.replace("masq 3", "masq 8"))
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["weight"] == 8)


async def test_another_main_reads_the_file(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web)) as c:
        await c.ready()
        await c.kill()
        c.conf.write_text(virtual(web, 9))
        c.said.clear()
        c.since = "1234567899.0"
        await c.start()
        await c.ready()
        assert await c.weights() == {web.name: 9}


async def test_a_fault_of_the_reader_is_a_refused_reload(tmp_path: Path, web: Web) -> None:
    async with child(tmp_path, virtual(web), start=False) as c:
        c.program = ("-c", FAULTY)
        await c.start()
        await c.ready()
        c.conf.write_text(virtual(web, 9) + "# trip\n")
        _, answer = await c.ask("POST", "/v1/reload")
        line = f"internal error while reading {c.conf}: RecursionError: too deep, please report"
        assert (answer["ok"], answer["errors"]) == (False, [line])
        assert (await c.status())["config"]["errors"] == [line]
        assert await c.weights() == {web.name: 3}
        await c.logged("config_failed")
        assert re.search(r"error config_failed .*Traceback.*faulty", c.log)
        _, answer = await c.ask("GET", "/v1/plan")
        assert answer["errors"] == [line]
        assert await c.stop() == 0


async def test_a_fault_of_the_reader_at_the_first_start_is_a_refusal(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web) + "# trip\n", start=False) as c:
        c.program = ("-c", FAULTY)
        await c.start()
        refused = await c.expect(Refused)
        assert "please report" in refused.errors[0]
        assert await c.end() == 1


async def test_events_of_the_routers_reach_the_logfile_and_not_stderr_again(
    tmp_path: Path, web: Web
) -> None:
    logfile = tmp_path / "lvsd.log"
    async with child(tmp_path, f"logfile={logfile}\n" + virtual(web)) as c:
        await c.ready()
        fields = {"router": "VI_1", "reason": "checksum"}
        c.send(RouterEvent("advert_rejected", 0.0, fields, "warning"))
        c.send(RouterEvent("of_another_version", 0.0, {}))
        await c.ping()
        text = logfile.read_text()
        assert "warning advert_rejected router=VI_1 reason=checksum" in text
        assert "of_another_version" not in text
        assert "advert_rejected" not in c.log


async def test_the_child_may_open_as_many_files_as_the_system_allows(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web), start=False) as c:
        c.program = ("-c", FEW_FILES)
        await c.start()
        limits = await c.file(Path(f"/proc/{c.process.pid}/limits"))
        soft, hard = re.findall(r"Max open files +(\d+) +(\d+)", limits)[0]
        assert soft == hard


async def test_checks_that_cannot_be_made_are_told_and_shown(tmp_path: Path, web: Web) -> None:
    text = virtual(web) + "virtual=192.0.2.2:80\n\treal=192.0.2.9:80 masq\n\tchecktype=connect\n"
    async with child(tmp_path, text, start=False) as c:
        c.program = ("-c", NO_PORT)
        await c.start()
        status = await c.until(lambda s: s["notes"])
        assert status["notes"] == ["checks could not be made on this host: no free port"]
        await c.logged('error checks_hampered count=1 reason="no free port"')


async def test_results_against_the_verdict_are_counted_in_the_status(
    tmp_path: Path, web: Web
) -> None:
    async with child(tmp_path, virtual(web) + "\tfailurecount=40\n") as c:
        await c.ready()
        assert (await c.status())["virtuals"][0]["reals"][0]["streak"] == 0
        web.status = 500
        status = await c.until(lambda s: s["virtuals"][0]["reals"][0]["streak"])
        assert status["virtuals"][0]["reals"][0]["health"] == "up"
