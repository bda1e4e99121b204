"""The main process: VRRP, and the life of everything else.

It owns the routers (`routers`), the child (`child`), the guard's pipe, the control socket's file
and the signals. It imports no configuration reader, no checks and no HTTP library, and nothing it
awaits can hold up the routers, which live in callbacks of the same loop.

An orderly stop goes: priority 0, relieved, VIPs away, then the child puts sync daemons and table
away, then the guard is released (design rule 1). A second signal hurries. Whatever ends main in
another way is the guard's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from lvsd import __version__, log
from lvsd.core.model import TrackKind
from lvsd.core.vrrp import (
    Key,
    Resume,
    Shutdown,
    StepDown,
    relief_timeout,
    reported_state,
)
from lvsd.daemon import messages
from lvsd.daemon.child import LOST_AFTER, Child
from lvsd.daemon.diary import Diary
from lvsd.daemon.guard import Guard
from lvsd.daemon.messages import (
    Command,
    CommandDone,
    Hello,
    Message,
    Notice,
    Ready,
    Refused,
    Reload,
    RouterStates,
    RouterStatus,
    StatusRequest,
    TrackValues,
)
from lvsd.daemon.options import RunOptions
from lvsd.daemon.recorder import Recorder
from lvsd.daemon.routers import Routers
from lvsd.daemon.runtime import Runtime, Stopgap
from lvsd.daemon.states import router_status
from lvsd.daemon.systemd import Systemd
from lvsd.daemon.warden import Warden

#: Seconds an orderly stop waits: for relief beyond its own limit, and for the child.
RELIEF_MARGIN = 1.0
CHILD_STOP_TIMEOUT = 5.0
#: Seconds after SIGHUP by which the manager is told that the reload is over, whatever came of it.
RELOAD_TIMEOUT = 10.0

_TRACKED = frozenset(kind.value for kind in TrackKind)

if TYPE_CHECKING:
    from lvsd.daemon.start import Firstborn

_log = log.get()


def run(options: RunOptions, guard: Guard, runtime: Runtime, firstborn: Firstborn | None) -> int:
    """The main process, until it is told to stop; its exit status (0 orderly, 1 failure).

    The place on the machine and the first child were made before this was loaded (`start`).
    """
    log.configure("vrrp", stderr=options.stderr_path)
    return asyncio.run(Main(options, guard, runtime, firstborn).run())


class Main:
    """The main process as an object: implements the child's Parent and the routers' Observer."""

    def __init__(
        self, options: RunOptions, guard: Guard, runtime: Runtime, firstborn: Firstborn | None
    ) -> None:
        self._options = options
        self._guard = guard
        self._runtime = runtime
        self._since = runtime.since
        self._firstborn = firstborn
        self._systemd = Systemd()
        self._status = 0
        self._configured = self._in_force = False
        self._reloading: asyncio.TimerHandle | None = None
        self._notice = ""
        self._commands: dict[int, tuple[set[Key], str]] = {}

    async def run(self) -> int:
        """Everything from the first dump to the last farewell."""
        loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        self._hurry = asyncio.Event()
        self._calm = asyncio.Event()
        try:
            recorder = Recorder(self._options.record)
        except OSError as error:
            print(f"lvsd: cannot record to {self._options.record}: {error}", file=sys.stderr)
            self._guard.release()
            return 1
        try:
            self._routers = Routers(self._guard, self, recorder)
        except PermissionError:
            text = "lvsd run needs root, or the capabilities CAP_NET_ADMIN and CAP_NET_RAW"
            print(f"lvsd: {text}", file=sys.stderr)
            self._guard.release()
            return 1
        self._stopgap = Stopgap(self._runtime.listener, self._minimal_status)
        listen = self._runtime.listener.fileno()
        self._child = Child(self._options, listen, self, self._since, self._firstborn)
        self._diary = Diary(self._child.send)
        try:
            self._routers.links.read()
        except OSError as error:
            print(f"lvsd: cannot read the interfaces: {error}", file=sys.stderr)
            self._guard.release()
            return 1
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        self._warden = Warden(self._guard, self._diary.tell)
        loop.set_exception_handler(self._on_crash)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._routers.links.watch(), name="links"),
                group.create_task(self._child.run(), name="child"),
                group.create_task(self._keep_alive(), name="watchdog"),
            ]
            await self._leave.wait()
            await self._stop()
            for task in tasks:
                task.cancel()
        return self._status

    # --- the child --------------------------------------------------------------------------

    def child_said(self, message: Message) -> None:
        """Act on the child's word."""
        match message:
            case Hello():
                self._on_hello(message)
            case Refused(errors):
                # The child has printed them already, each on a line of its own.
                reason = "refused for what the lines above say" if errors else "refused"
                _log.error("start_failed", error=reason, errors=len(errors))
                self._fail()
            case messages.Routers(routers, paces, early):
                self._routers.pace([messages.pace_from_wire(pace) for pace in paces])
                self._on_routers([messages.router_from_wire(r) for r in routers])
                if not early:
                    self._on_force()
            case Ready(ready):
                self._routers.services_ready(ready)
            case TrackValues(values, numbers):
                for words, up in values.items():
                    kind, _, name = words.partition(" ")
                    if kind in _TRACKED:
                        self._routers.track(TrackKind(kind), name, up, numbers.get(words, 0))
            case StatusRequest():
                self._send_states()
            case Command():
                self._on_command(message)
            case Notice(status):
                self._notice = status
                self._on_force()
                self._reloaded()
                self._systemd.status(self._status_line())

    def child_gone(self, reason: str, failures: int) -> None:
        """Go on alone; at the first start there is nothing to go on with."""
        if not self._in_force:
            if not self._leave.is_set():
                _log.error("start_failed", error=f"the director process {reason}")
            self._fail()
            return
        self._diary.shut()
        lost = {"pid": self._child.pid, "reason": reason, "failures": failures}
        self._diary.tell("error", "child_lost", **lost)
        self._commands.clear()
        self._stopgap.open()
        if failures >= LOST_AFTER:
            self._routers.child_lost(True)

    def _on_hello(self, message: Hello) -> None:
        self._stopgap.shut()
        if self._configured:
            self._diary.tell("info", "child_returned", pid=message.pid)
        self._send_states()

    def _on_routers(self, configs: list[Any]) -> None:
        self._routers.configure(configs)
        self._routers.child_lost(False)
        if not self._configured:
            self._configured = True
            # Told now: the first line loads the logger, and the routers came first.
            self._diary.tell("info", "child_started", pid=self._child.pid)
            self._diary.tell("info", "started", version=__version__, routers=len(configs))
            gc.freeze()  # all that was loaded; to look through it now would keep adverts waiting
            gc.enable()
        self._diary.open()
        self._reloaded()
        self._send_states()

    def _on_force(self) -> None:
        """The configuration is in force as a whole."""
        if not self._in_force:
            self._in_force = True
            self._systemd.ready(self._status_line())

    def _on_command(self, message: Command) -> None:
        known = self._routers.core.routers
        keys = {k for k, vr in known.items() if message.router in ("", vr.config.name)}
        if not keys:
            error = f'no virtual router "{message.router}"' if message.router else "no routers"
            self._child.send(CommandDone(message.serial, error))
            return
        self._diary.tell("info", "stepdown", router=message.router or "all", verb=message.verb)
        if message.verb == "stepdown":
            self._commands[message.serial] = (set(keys), "")
            for key in sorted(keys):
                self._routers.post(key, StepDown())
        else:
            for key in sorted(keys):
                self._routers.post(key, Resume())
            self._child.send(CommandDone(message.serial))

    # --- the routers ------------------------------------------------------------------------

    def routers_changed(self) -> None:
        """Tell the child and the service manager; notice when a stop is complete."""
        if self._configured:
            self._send_states()
            self._systemd.status(self._status_line())
        if self._routers.core.stopped():
            self._calm.set()

    def router_event(self, event: str, fields: dict[str, Any], level: str = "info") -> None:
        """Pass on to the child, which keeps the events and runs notify programs."""
        self._diary.pass_on(level, event, fields)

    def stepdown_finished(self, key: Key, error: str) -> None:
        """Answer the commands that waited for this router, once all of theirs are done."""
        for serial, (keys, first) in [*self._commands.items()]:
            keys.discard(key)
            first = first or error
            self._commands[serial] = (keys, first)
            if not keys:
                del self._commands[serial]
                self._child.send(CommandDone(serial, first))

    # --- signals ----------------------------------------------------------------------------

    def _on_stop(self, name: str) -> None:
        if self._leave.is_set():
            self._hurry.set()
        else:
            self._diary.tell("info", "stopping", signal=name)
            self._leave.set()

    def _on_reload(self) -> None:
        with contextlib.suppress(OSError):
            log.reopen()
        self._systemd.reloading()
        if self._reloading is None:
            loop = asyncio.get_running_loop()
            self._reloading = loop.call_later(RELOAD_TIMEOUT, self._reloaded)
        self._child.send(Reload())

    def _reloaded(self) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
            self._reloading = None
            self._systemd.ready(self._status_line())

    def _on_crash(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error in a callback ends the process at once: half a step must not be lived with.

        The guard hands over within milliseconds and the service manager starts us again.
        """
        error = context.get("exception")
        _log.critical("crashed", error=context.get("message", ""), exc_info=error)
        os._exit(1)

    def _fail(self) -> None:
        self._status = 1
        self._leave.set()

    # --- the end ----------------------------------------------------------------------------

    async def _stop(self) -> None:
        self._systemd.stopping()
        known = [vr.config for vr in self._routers.core.routers.values()]
        patience = max(map(relief_timeout, known), default=0.0) + RELIEF_MARGIN
        self._calm.clear()
        self._routers.post(None, Shutdown())
        if self._routers.core.stopped():
            self._calm.set()
        await self._first_of(self._calm, self._hurry, timeout=patience)
        released = self._routers.core.stopped() or self._routers.abandon()
        if self._child.alive and self._configured:
            self._send_states()
            await self._child.stop(1.0 if self._hurry.is_set() else CHILD_STOP_TIMEOUT)
        self._child.kill()
        self._stopgap.shut()
        self._warden.close()
        if released:
            self._routers.put_away()
        if self._guard.alive and released:
            self._guard.release()
        # Else the guard takes our end for a death and removes what we could not.
        self._routers.close()
        self._systemd.close()
        _log.info("stopped", status=self._status)

    async def _first_of(self, *events: asyncio.Event, timeout: float) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _keep_alive(self) -> None:
        """WATCHDOG=1 from the loop that owns VRRP."""
        if not self._systemd.watchdog:
            return
        while True:
            self._systemd.alive()
            await asyncio.sleep(self._systemd.watchdog)

    # --- status -----------------------------------------------------------------------------

    def _send_states(self) -> None:
        self._child.send(RouterStates(self._states()))

    def _states(self) -> list[RouterStatus]:
        return [
            router_status(vr, self._routers, self._since)
            for vr in self._routers.core.routers.values()
        ]

    def _status_line(self) -> str:
        states = [reported_state(vr) for vr in self._routers.core.routers.values()]
        counted = [f"{states.count(s)} {s}" for s in sorted(set(states))]
        parts = [", ".join(counted), self._notice]
        return "; ".join(part for part in parts if part) or "running"

    def _minimal_status(self) -> dict[str, object]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "since": self._since,
            "host": os.uname().nodename,
            "config": {"path": self._options.config, "sha256": "", "loaded": None, "errors": []},
            "vrrp": self._states(),
            "virtuals": [],
            "syncdaemons": [],
            "table": {"in_sync": False, "foreign": [], "last_repair": None},
            "director": "down",
            "notes": ["the director process is being restarted; table and mastership stay"],
        }
