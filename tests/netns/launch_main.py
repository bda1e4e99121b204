"""Starts the main process with a scripted child: launch_main.py FOLDER (holds routers.json)."""

import sys
from pathlib import Path

from lvsd.daemon import guard as guard_process

GUARD = guard_process.fork()

from lvsd.daemon import vrrp  # noqa: E402
from lvsd.daemon.options import RunOptions  # noqa: E402

if __name__ == "__main__":
    folder = sys.argv[1]
    child = str(Path(__file__).with_name("scripted_child.py"))
    options = RunOptions(
        config=f"{folder}/lvsd.conf",
        socket=f"{folder}/lvsd.sock",
        runtime_dir=folder,
        state_dir=folder,
        table="none",
        child_argv=(sys.executable, child, f"{folder}/routers.json"),
    )
    sys.exit(vrrp.run(options, GUARD))
