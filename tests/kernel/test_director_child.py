"""The child process on a kernel with IPVS, in a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lvsd.core.model import Forwarding
from lvsd.core.plan import NewService, SetDest
from lvsd.linux.ipvs import Ipvs
from tests.daemon import childhood
from tests.daemon.applier_contract import virtual as foreign_virtual
from tests.daemon.childhood import Web, child
from tests.kernel.namespace import kernel, namespace

pytestmark = pytest.mark.kernel

__all__ = ["kernel", "namespace"]


@pytest.fixture
def web(namespace: None) -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under emulation the child takes many seconds to start."""
    monkeypatch.setattr(childhood, "PATIENCE", 90.0)


def conf(web: Web, more: str = "") -> str:
    return (
        f"virtual=192.0.2.1:80\n\treal={web.name} masq 3\n\tservice=http\n\tcheckinterval=1\n"
        f'\tchecktimeout=3\n\trequest="/"\n\treceive="alive"\n\tscheduler=rr\n\tprotocol=tcp\n{more}'
    )


async def weights(kernel: Ipvs) -> dict[str, list[int]]:
    table = await kernel.read_table()
    return {str(k): [d.weight for d in e.destinations.values()] for k, e in table.items()}


async def test_the_child_keeps_the_kernels_table_from_start_to_stop(
    kernel: Ipvs, web: Web, tmp_path: Path
) -> None:
    foreign = foreign_virtual(7)
    await kernel.apply([NewService(foreign.service)])
    async with child(tmp_path, conf(web, "\tpersistent=300\n"), table="kernel") as c:
        await c.ready()
        assert await weights(kernel) == {"192.0.2.1:80": [3], "192.0.2.7:80": []}
        status = await c.until(lambda s: s["table"]["foreign"])
        assert status["virtuals"][0]["reals"][0]["installed"] is True
        writes = status["table"]["writes"]
        assert (await c.ask("POST", "/v1/reload"))[1]["changes"] == []
        status = await c.status()
        assert (status["table"]["writes"], status["table"]["repairs"]) == (writes, 0)

        web.status = 500
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["health"] == "down")
        await c.until(lambda s: s["table"]["in_sync"])
        assert (await weights(kernel))["192.0.2.1:80"] == [0]
        web.status = 200
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["health"] == "up")
        while (await weights(kernel))["192.0.2.1:80"] != [3]:
            await c.status()  # the applier is a moment behind the verdict

        await c.kill()
        c.said.clear()
        await c.start()
        await c.ready()
        assert (await c.status())["table"]["writes"] == 0

        table = await kernel.read_table()
        (entry,) = [e for key, e in table.items() if key != foreign.key]
        (destination,) = entry.destinations.values()
        assert destination.forwarding is Forwarding.MASQ
        zero = replace(destination, weight=0)
        assert await kernel.apply([SetDest(entry.service.key, zero)]) == []
        await c.until(lambda s: s["virtuals"][0]["reals"][0]["admin"] == "drain")
        await c.logged("weight_adopted")

        assert await c.stop() == 0
    assert await weights(kernel) == {"192.0.2.7:80": []}
