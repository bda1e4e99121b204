"""Starts the main process with a scripted child: launch_main.py FOLDER (holds routers.json).

FOLDER/routers.faulty makes it raise an error at its next advert.
"""

import sys
from pathlib import Path

from lvsd.daemon import guard as guard_process

GUARD = guard_process.fork()

from lvsd.core.vrrp import VirtualRouter  # noqa: E402
from lvsd.daemon import start  # noqa: E402
from lvsd.daemon.herald import Herald  # noqa: E402
from lvsd.daemon.options import RunOptions  # noqa: E402


def faulty(folder: str) -> None:
    """Put the fault into the program."""
    advertise = Herald.advertise

    def fail(self: Herald, vr: VirtualRouter, priority: int) -> str:
        if Path(folder, "routers.faulty").exists():
            raise RuntimeError("a fault made on purpose")
        return advertise(self, vr, priority)

    Herald.advertise = fail


if __name__ == "__main__":
    folder = sys.argv[1]
    faulty(folder)
    child = str(Path(__file__).with_name("scripted_child.py"))
    options = RunOptions(
        config=f"{folder}/lvsd.conf",
        socket=f"{folder}/lvsd.sock",
        runtime_dir=folder,
        state_dir=folder,
        table="none",
        record=f"{folder}/recording",
        child_argv=(sys.executable, child, f"{folder}/routers.json"),
    )
    sys.exit(start.run(options, GUARD))
