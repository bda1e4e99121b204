"""Programs that run as another user, which only root can have done."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator

import pytest

from lvsd.core.model import Identity, RouterConfig
from lvsd.daemon.scripts import Notifier
from lvsd.program import run

pytestmark = [pytest.mark.netns, pytest.mark.root]

NOBODY = Identity("nobody", "daemon")


def shell(text: str) -> tuple[str, str, str]:
    return ("/bin/sh", "-c", text)


@pytest.fixture
def wall() -> Iterator[str]:
    """A file that everybody may write; pytest's own folders are for their owner only."""
    handle, path = tempfile.mkstemp()
    os.fchmod(handle, 0o666)
    os.close(handle)
    yield path
    os.unlink(path)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


async def test_a_program_runs_with_the_user_the_group_and_the_users_other_groups() -> None:
    told = 'test "$(id -un) $(id -gn)" = "nobody daemon"'
    assert await run(shell(told), 20.0, NOBODY) == 0
    assert await run(shell("id -Gn | grep -qw root"), 20.0, Identity("nobody")) == 1
    assert await run(shell('test "$(id -un)" = root'), 20.0) == 0


async def test_a_program_of_another_user_that_hangs_is_killed() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(shell("sleep 600"), 0.3, NOBODY), 20.0)


async def test_notify_programs_run_as_the_scriptuser_of_their_router(wall: str) -> None:
    command = shell(f"id -un >> {wall}")
    notifier = Notifier()
    for name, user in (("VI_1", NOBODY), ("VI_2", Identity())):
        router = RouterConfig(name, "lo", 51, 100, (), notifymaster=command, scriptuser=user)
        notifier.changed(router, "master", 100)
        await notifier.finish(20.0)
    assert read(wall).split() == ["nobody", "root"]
